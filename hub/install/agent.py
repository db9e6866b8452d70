"""The objects of one agent on its spoke. The chart `charts/axletree-agent` makes the same ones; a test compares."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import AGENT_NAMESPACE, ANNOTATION_KEEP
from hub.install.rights import NAME, Account, Extra, account_rights, agent_rights, secret_reading

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

_PART = {"app.kubernetes.io/part-of": "axletree"}
LABELS = {"app.kubernetes.io/name": NAME, **_PART}
JOIN_SECRET = "axletree-agent-join"  # noqa: S105 - its name
_CONFIG, _JOIN, _TMP = "/etc/axletree/config", "/etc/axletree/join", "/tmp"  # noqa: S108 - a volume of its own
_USER = 65532
_HEALTH_PORT = 8081
_KEEP = {ANNOTATION_KEEP: "true", "helm.sh/resource-policy": "keep"}
_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


@dataclass(frozen=True, slots=True)
class AgentInstall:
    """All that differs between one spoke and the next."""

    cluster: str
    hub_url: str
    image: str
    token: str = ""
    """Empty for an agent that has its identity already."""
    ca: str = ""
    """The hub's CA in PEM. Empty: the token's hash is enough to know it by."""
    accounts: tuple[Account, ...] = ()
    reads: tuple[Extra, ...] = ()
    create_namespaces: bool = False
    https_proxy: str = ""
    no_proxy: str = ""


def agent_objects(install: AgentInstall) -> list[Manifest]:
    """Everything, in an order in which it can be created."""
    accounts = sorted(install.accounts, key=lambda account: account.name)
    tenants = sorted({namespace for account in accounts for namespace in account.namespaces})
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    objects = [_namespace(AGENT_NAMESPACE, LABELS | restricted)]
    # Deleting these manifests must not take a tenant's namespace along with all that is in it.
    objects += [_namespace(name, _PART, annotations=_KEEP) for name in tenants]
    objects += [_account(name) for name in (NAME, *(account.name for account in accounts))]
    objects += agent_rights(
        accounts, extra=install.reads, create_namespaces=install.create_namespaces, labels=LABELS
    )
    for namespace in tenants:
        objects += secret_reading(namespace, labels=LABELS)
    for account in accounts:
        objects += account_rights(account, labels=LABELS)
    config = _config(install)
    objects.append(_named("v1", "ConfigMap", NAME) | {"data": {"agent.json": config}})
    join = {name: value for name, value in (("ca.crt", install.ca), ("token", install.token)) if value}
    if join:
        data = {name: base64.b64encode(value.encode()).decode() for name, value in join.items()}
        objects.append(_named("v1", "Secret", JOIN_SECRET) | {"type": "Opaque", "data": data})
    return [*objects, _deployment(install, config)]


def _config(install: AgentInstall) -> str:
    """JSON, since an agent that reads no YAML is smaller; letter for letter as Helm's `toJson` writes it."""
    settings = {"cluster": install.cluster, "hubUrl": install.hub_url, "tokenFile": f"{_JOIN}/token"}
    if install.ca:
        settings["caFile"] = f"{_JOIN}/ca.crt"
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False).translate(_SAFE)


def _deployment(install: AgentInstall, config: str) -> Manifest:
    proxies = {"HTTPS_PROXY": install.https_proxy, "NO_PROXY": install.no_proxy}
    container: dict[str, Any] = {
        "name": "agent",
        "image": install.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["axle-agent"],
        "args": ["run", "--config", f"{_CONFIG}/agent.json", "--health-port", str(_HEALTH_PORT)],
        "ports": [{"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"}],
        # Generous: an edge box may be busy for minutes, and a restart makes it busier.
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": "health"},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "health"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
        },
        "resources": {"requests": {"cpu": "10m", "memory": "96Mi"}, "limits": {"memory": "384Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG, "readOnly": True},
            {"name": "join", "mountPath": _JOIN, "readOnly": True},
            {"name": "tmp", "mountPath": _TMP},
        ],
    }
    env = [{"name": name, "value": value} for name, value in proxies.items() if value]
    if env:
        container["env"] = env
    pod = {
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME}},
            {"name": "join", "secret": {"secretName": JOIN_SECRET, "optional": True, "defaultMode": 0o440}},
            # A client certificate passes through a file for a moment: in memory, not on the node's disk.
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        ],
    }
    checksum = {"axletree.dev/config": hashlib.sha256(config.encode()).hexdigest()}
    return _named("apps/v1", "Deployment", NAME) | {
        "spec": {
            "replicas": 1,
            # Two agents of one cluster at once do no harm, but each would take the other for a clone.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "template": {"metadata": {"labels": dict(LABELS), "annotations": checksum}, "spec": pod},
        }
    }


def _named(api_version: str, kind: str, name: str) -> Manifest:
    metadata = {"name": name, "namespace": AGENT_NAMESPACE, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _account(name: str) -> Manifest:
    account = _named("v1", "ServiceAccount", name)
    # Accounts of Projects are impersonated: no Pod runs as them, and none needs their token.
    return account if name == NAME else account | {"automountServiceAccountToken": False}


def _namespace(name: str, labels: dict[str, str], *, annotations: dict[str, str] | None = None) -> Manifest:
    metadata: dict[str, Any] = {"name": name, "labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
