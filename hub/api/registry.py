"""Our kinds: names, scope, printer columns, and where the API server serves them. Needs no discovery."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.contract.names import API_VERSION, GROUP, VERSION
from hub.api.application import Application
from hub.api.applicationset import ApplicationSet
from hub.api.assignment import Assignment
from hub.api.cluster import Cluster, ClusterSet
from hub.api.project import PROJECT_NAME, Project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
    from hub.api.model import ApiModel

_MAX_LABEL = 63


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column. `priority` 1 shows it with `-o wide` only; a `date` is printed as an age."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One of our kinds. `rules` are CEL rules of the whole object, as (expression, message)."""

    kind: str
    plural: str
    model: type[ApiModel]
    namespaced: bool = True
    short: str = ""
    status: bool = True
    columns: tuple[Column, ...] = ()
    rules: tuple[tuple[str, str], ...] = field(default=())

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object; namespace empty means all of them."""
        parts = [f"/apis/{GROUP}/{VERSION}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def manifest(
        self,
        name: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Manifest:
        """apiVersion, kind and metadata, without empty fields: what a server-side apply starts from."""
        metadata: Manifest = {"name": name}
        if self.namespaced:
            metadata["namespace"] = namespace
        if labels:
            metadata["labels"] = dict(labels)
        if annotations:
            metadata["annotations"] = dict(annotations)
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata}


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_LABEL_SIZED = (
    f"size(self.metadata.name) <= {_MAX_LABEL}",
    f"metadata.name: at most {_MAX_LABEL} characters, since it becomes a label's value",
)

CLUSTER = Kind(
    kind="Cluster",
    plural="clusters",
    model=Cluster,
    namespaced=False,
    short="axcl",
    columns=(
        Column("Accepted", ".spec.accepted", "boolean"),
        Column("Connected", ".status.connected"),
        Column("Apps", ".status.apps", "integer"),
        Column("Health", ".status.health"),
        Column("Agent", ".status.agent.version"),
        Column("Kubernetes", ".status.agent.kubernetesVersion", priority=1),
        Column("Last Seen", ".status.lastSeen", "date", priority=1),
        _AGE,
    ),
    rules=(_LABEL_SIZED,),
)
CLUSTER_SET = Kind(
    kind="ClusterSet",
    plural="clustersets",
    model=ClusterSet,
    namespaced=False,
    short="axcs",
    columns=(
        Column("Clusters", ".status.count", "integer"),
        Column("Priority", ".spec.priority", "integer"),
        _READY,
        _AGE,
    ),
)
PROJECT = Kind(
    kind="Project",
    plural="projects",
    model=Project,
    short="axproj",
    columns=(
        Column("Service Account", ".spec.serviceAccount"),
        Column("Trusted", ".spec.trusted", "boolean"),
        Column("Applications", ".status.applications", "integer"),
        _READY,
        _AGE,
    ),
    rules=(
        (
            f"self.metadata.name == '{PROJECT_NAME}'",
            f"metadata.name: a namespace has one Project, and it is called '{PROJECT_NAME}'",
        ),
    ),
)
APPLICATION_SET = Kind(
    kind="ApplicationSet",
    plural="applicationsets",
    model=ApplicationSet,
    short="axset",
    columns=(
        Column("Health", ".status.health.state"),
        Column("Children", ".status.children", "integer"),
        Column("Plan", ".status.plan.id", "integer"),
        _READY,
        Column("Message", ".status.health.message", priority=1),
        _AGE,
    ),
    rules=(_LABEL_SIZED,),
)
APPLICATION = Kind(
    kind="Application",
    plural="applications",
    model=Application,
    short="axapp",
    columns=(
        Column("Cluster", ".spec.cluster"),
        Column("Sync", ".status.sync.state"),
        Column("Health", ".status.health.state"),
        Column("Plan", ".status.sync.plan", "integer"),
        Column("Observed", ".status.health.observedAt", "date"),
        Column("Revision", ".status.sync.revision", priority=1),
        Column("Message", ".status.health.message", priority=1),
        Column("Blocked By", ".status.blockedBy[0].root", priority=1),
        _AGE,
    ),
)
ASSIGNMENT = Kind(
    kind="Assignment",
    plural="assignments",
    model=Assignment,
    status=False,
    columns=(
        Column("Epoch", ".spec.epoch", "integer"),
        Column("Seq", ".spec.seq", "integer"),
        _AGE,
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {each.kind: each for each in (CLUSTER, CLUSTER_SET, PROJECT, APPLICATION_SET, APPLICATION, ASSIGNMENT)}
)
