"""What an agent may do on its spoke, and what the accounts of Projects may: the least that works. Pure.

The agent writes nothing as itself but its own Secrets: every object of an app is written as the Project's account,
which it may impersonate by name, and no other. It reads the kinds that apps are made of. Secrets it reads only where
an account that it may impersonate could read them anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import AGENT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest

NAME = "axletree-agent"
READS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "",
        (
            "configmaps",
            "events",
            "limitranges",
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "replicationcontrollers",
            "resourcequotas",
            "serviceaccounts",
            "services",
        ),
    ),
    (
        "admissionregistration.k8s.io",
        (
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ),
    ),
    ("apiextensions.k8s.io", ("customresourcedefinitions",)),
    ("apiregistration.k8s.io", ("apiservices",)),
    ("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("cronjobs", "jobs")),
    ("networking.k8s.io", ("ingressclasses", "ingresses", "networkpolicies")),
    ("policy", ("poddisruptionbudgets",)),
    ("rbac.authorization.k8s.io", ("clusterrolebindings", "clusterroles", "rolebindings", "roles")),
    ("scheduling.k8s.io", ("priorityclasses",)),
    ("storage.k8s.io", ("storageclasses",)),
)
"""(group, resources) that apps are commonly made of. Others are named when the agent is installed."""

_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]


@dataclass(frozen=True, slots=True)
class Account:
    """A Project's ServiceAccount. Without namespaces, its role holds in all of them."""

    name: str
    namespaces: tuple[str, ...] = ()
    role: str = "edit"
    """A ClusterRole, bound in each of the namespaces."""


@dataclass(frozen=True, slots=True)
class Extra:
    """Further kinds that the agent may read: one API group and its plural resource names."""

    group: str
    resources: tuple[str, ...]


def everywhere(accounts: Sequence[Account]) -> bool:
    """Whether some account is bound to no namespace in particular."""
    return any(not account.namespaces for account in accounts)


def agent_rights(
    accounts: Sequence[Account],
    *,
    extra: Sequence[Extra],
    create_namespaces: bool,
    labels: dict[str, str],
) -> list[Manifest]:
    """Roles of the agent itself, and their bindings."""
    own: list[dict[str, Any]] = [
        _rule("", ["secrets"], ["get", "list", "watch", "create", "update", "patch", "delete"]),
        _rule("", ["serviceaccounts"], ["get"]),
    ]
    if accounts:
        names = sorted(account.name for account in accounts)
        own.append(_rule("", ["serviceaccounts"], ["impersonate"]) | {"resourceNames": names})
    reads = [_rule(group, list(resources), _READ) for group, resources in READS]
    reads += [_rule(each.group, list(each.resources), _READ) for each in extra]
    if everywhere(accounts):
        reads.append(_rule("", ["secrets"], _READ))
    if create_namespaces or everywhere(accounts):
        reads.append(_rule("", ["namespaces"], ["create"]))
    agent = _subject(NAME)
    return [
        _role("ClusterRole", NAME, "", reads, labels),
        _binding("ClusterRoleBinding", NAME, "", ("ClusterRole", NAME), agent, labels),
        _role("Role", NAME, AGENT_NAMESPACE, own, labels),
        _binding("RoleBinding", NAME, AGENT_NAMESPACE, ("Role", NAME), agent, labels),
    ]


def account_rights(account: Account, *, labels: dict[str, str]) -> list[Manifest]:
    """Where the account's role is bound."""
    name, role = f"axletree-{account.name}", ("ClusterRole", account.role)
    subject = _subject(account.name)
    if not account.namespaces:
        return [_binding("ClusterRoleBinding", name, "", role, subject, labels)]
    return [
        _binding("RoleBinding", name, namespace, role, subject, labels)
        for namespace in sorted(account.namespaces)
    ]


def secret_reading(namespace: str, *, labels: dict[str, str]) -> list[Manifest]:
    """In a Project's namespace, the agent reads Secrets: it compares them with what is wanted."""
    return [
        _role("Role", NAME, namespace, [_rule("", ["secrets"], _READ)], labels),
        _binding("RoleBinding", NAME, namespace, ("Role", NAME), _subject(NAME), labels),
    ]


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def _subject(name: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": name, "namespace": AGENT_NAMESPACE}


def _metadata(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)}


def _role(
    kind: str, name: str, namespace: str, rules: list[dict[str, Any]], labels: dict[str, str]
) -> Manifest:
    metadata = _metadata(name, namespace, labels)
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _binding(  # noqa: PLR0917 - a table's row
    kind: str,
    name: str,
    namespace: str,
    role: tuple[str, str],
    subject: dict[str, str],
    labels: dict[str, str],
) -> Manifest:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace, labels),
        "roleRef": {"apiGroup": _RBAC, "kind": role[0], "name": role[1]},
        "subjects": [subject],
    }
