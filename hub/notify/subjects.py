"""What is told of: Applications, ApplicationSets and Clusters, and whose rules concern each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.contract.names import HUB_NAMESPACE
from hub.api.project import PROJECT_NAME
from hub.core.clustersets import set_contains
from hub.notify.rules import nearest, rules_of
from hub.operator import views
from hub.operator.objects import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest
    from hub.notify.rules import Rule
    from hub.operator.caches import Caches
    from hub.operator.objects import Objects

CLUSTER = "Cluster"


class Subject(NamedTuple):
    kind: str
    key: str


class Mark(Protocol):
    def __call__(self, subject: Subject, *, quiet: bool = False) -> None:
        """Look at it again; quietly where only a rule or a sink is new."""
        ...


class Subjects:
    """The caches' objects."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._kinds: dict[str, Objects] = {
            "Application": caches.applications,
            "ApplicationSet": caches.sets,
            CLUSTER: caches.clusters,
        }

    def get(self, subject: Subject) -> Manifest | None:
        return self._kinds[subject.kind].get(subject.key)

    def all(self) -> Iterator[Subject]:
        for kind, objects in self._kinds.items():
            for key in objects:
                yield Subject(kind, key)

    def rules(self, obj: Manifest) -> tuple[Rule, ...]:
        """One for each sink."""
        if obj["kind"] == CLUSTER:
            return nearest(self._sets_of(obj))
        owner = self._caches.sets.get(views.owner_of(obj) or "") if obj["kind"] == "Application" else None
        project = self._caches.projects.get(f"{obj['metadata']['namespace']}/{PROJECT_NAME}")
        return rules_of(obj, owner=owner, project=project)

    def subscribe(self, mark: Mark) -> None:
        """Hear of every change of them and of what has rules for them."""

        def changed(old: Manifest | None, new: Manifest | None) -> None:
            obj = new or old
            if obj is not None:
                mark(Subject(obj["kind"], key_of(obj)))

        def ruled(old: Manifest | None, new: Manifest | None) -> None:
            obj = new or old
            if obj is None or _said(old) == _said(new):
                return
            namespace = obj["metadata"].get("namespace")
            for subject in self.all():
                mine = subject.key.startswith(f"{namespace}/") if namespace else subject.kind == CLUSTER
                if mine:
                    mark(subject, quiet=True)

        for objects in self._kinds.values():
            objects.subscribe(changed)
        for ruling in (self._caches.projects, self._caches.sets, self._caches.cluster_sets):
            ruling.subscribe(ruled)

    def _sets_of(self, obj: Manifest) -> list[Manifest]:
        """The ClusterSets that have rules and this cluster in them, the highest priority first."""
        metadata = obj["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        found = []
        for each in self._caches.cluster_sets.view().values():
            spec = each.get("spec") or {}
            names = spec.get("clusters") or ()
            if spec.get("notifications") and set_contains(
                spec.get("selector"), names, name=name, labels=labels
            ):
                found.append(each)
        return sorted(
            found, key=lambda one: (-int(one["spec"].get("priority") or 0), one["metadata"]["name"])
        )


def scope_of(obj: Manifest) -> str:
    """As whom it asks for a sink: clusters are the hub's own matter."""
    return str(obj["metadata"].get("namespace") or HUB_NAMESPACE)


def _said(obj: Manifest | None) -> tuple[object, ...]:
    """What of an object decides who is told; a ClusterSet's members do, too."""
    spec = (obj or {}).get("spec") or {}
    if (obj or {}).get("kind") != "ClusterSet":
        return (spec.get("notifications"),)
    return tuple(spec.get(name) for name in ("notifications", "selector", "clusters", "priority"))
