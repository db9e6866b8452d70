"""Tools that apply objects, by the field managers and marks that they leave: pure.

Managers: https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers
Helm's marks: https://helm.sh/docs/howto/charts_tips_and_tricks/
Argo CD's: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
Flux's: https://fluxcd.io/flux/components/kustomize/kustomizations/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.apply.prepare import LAST_APPLIED
from agent.apply.takeover import PREDECESSOR
from agent.contract.names import APPLYSET_PART_OF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest

OTHER_HUB = "another hub's agent"
_OURS = "axletree-"
_NOT_AGENTS = frozenset({"axletree-agent", "axletree-controller", "axletree-gateway"})
ANNOTATIONS, LABELS = "annotations", "labels"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that applies objects, by the field managers and marks that it leaves."""

    name: str
    managers: frozenset[str]
    annotations: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    values: frozenset[tuple[str, str]] = frozenset()
    """Labels that many set, and that are the tool's mark only with this value."""


TOOLS: tuple[Tool, ...] = (
    Tool(
        "Argo CD",
        frozenset({"argocd-controller", "argocd-application-controller", "argocd"}),
        annotations=frozenset({"argocd.argoproj.io/tracking-id", "argocd.argoproj.io/installation-id"}),
        labels=frozenset({"argocd.argoproj.io/instance"}),
    ),
    Tool(
        "Flux",
        frozenset({"kustomize-controller", "helm-controller"}),
        labels=frozenset(
            {
                "kustomize.toolkit.fluxcd.io/name",
                "kustomize.toolkit.fluxcd.io/namespace",
                "helm.toolkit.fluxcd.io/name",
                "helm.toolkit.fluxcd.io/namespace",
            }
        ),
    ),
    Tool(
        "Helm",
        frozenset({"helm", "Helm"}),
        annotations=frozenset({"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}),
        values=frozenset({("app.kubernetes.io/managed-by", "Helm")}),
    ),
    Tool(
        "kubectl",
        frozenset({PREDECESSOR, "kubectl", "kubectl-create", "kubectl-replace", "before-first-apply"}),
        annotations=frozenset({LAST_APPLIED}),
    ),
    Tool(
        "Rancher Fleet",
        frozenset({"fleetagent", "fleet-agent"}),
        annotations=frozenset({"objectset.rio.cattle.io/id"}),
    ),
    Tool("Open Cluster Management", frozenset({"work-agent"})),
    Tool("kapp", frozenset({"kapp"}), labels=frozenset({"kapp.k14s.io/app", "kapp.k14s.io/association"})),
    Tool("Terraform", frozenset({"Terraform", "HashiCorp"})),
)
_ARGO_LABEL = "app.kubernetes.io/instance"
"""Argo CD's mark where it tracks by label. Charts set it, too: only what Argo CD's manager owns is meant."""


def entries_of(live: Manifest) -> Iterator[dict[str, Any]]:
    """Of managedFields, those that are not about a subresource."""
    for entry in live["metadata"].get("managedFields") or ():
        if not entry.get("subresource"):
            yield entry


def tool_of(entry: dict[str, Any], manager: str) -> str:
    """Whose entry it is; empty for ours, and for whoever is no tool that applies bundles."""
    name = str(entry.get("manager", ""))
    if name == manager or entry.get("subresource"):
        return ""
    if name.startswith(_OURS) and name not in _NOT_AGENTS and entry.get("operation") == "Apply":
        return OTHER_HUB
    return next((tool.name for tool in TOOLS if name in tool.managers), "")


def marks(live: Manifest, tool: Tool) -> bool:
    """Whether the object has a mark that is this tool's alone."""
    metadata = live["metadata"]
    annotations, labels = metadata.get(ANNOTATIONS) or {}, metadata.get(LABELS) or {}
    return bool(annotations.keys() & tool.annotations or labels.keys() & tool.labels)


def marked(live: Manifest, part: str, manager: str) -> set[str]:
    """Labels or annotations that are a tool's mark on this object."""
    there = live["metadata"].get(part) or {}
    if part == ANNOTATIONS:
        return {name for tool in TOOLS for name in tool.annotations if name in there}
    found = {name for tool in TOOLS for name in tool.labels if name in there}
    found |= {name for tool in TOOLS for name, value in tool.values if there.get(name) == value}
    for entry in entries_of(live):
        if tool_of(entry, manager) == "Argo CD":
            owned = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels") or {}
            if f"f:{_ARGO_LABEL}" in owned and _ARGO_LABEL in there:
                found.add(_ARGO_LABEL)
    return found - {APPLYSET_PART_OF}


def is_mark(path: str) -> bool:
    """Whether a path is a mark: those go, and are not told among what stays."""
    names = {name for tool in TOOLS for name in tool.annotations | tool.labels}
    names |= {name for tool in TOOLS for name, _ in tool.values} | {_ARGO_LABEL, APPLYSET_PART_OF}
    return path.startswith(".metadata.") and any(path.endswith(f"[{name}]") for name in names)
