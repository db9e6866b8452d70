"""Files of Argo CD as objects of ours: ApplicationSets, Applications, AppProjects, cluster Secrets.

Argo CD binds an app to a project by a field; here a project is a namespace. What names a literal project goes to
the namespace of that name, unless the caller names one for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.contract.names import API_VERSION
from agent.kube.yaml import YamlError, load_value
from hub.api.application import ApplicationSpec
from hub.api.applicationset import ApplicationSetSpec
from hub.api.hosts import GENERATORS, MIN_REQUEUE
from hub.api.project import PROJECT_NAME, ProjectSpec
from hub.core.clustersets import ANNOTATION_SERVER
from hub.core.params import overlay
from hub.importers.application import DEFAULTS, Clusters, application_spec
from hub.importers.applicationset import project_of, set_spec
from hub.importers.fit import fitted
from hub.importers.notes import Note, Notes
from hub.importers.project import cluster, is_cluster_secret, project_spec
from hub.importers.waves import ordered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest

Sourced: TypeAlias = "tuple[str, Manifest]"
"""An object, and the file that it stands in."""
ARGO_GROUP = "argoproj.io"
_FINALIZER = "resources-finalizer.argocd.argoproj.io"
_DROPPED = ("kubectl.kubernetes.io/last-applied-configuration", "argocd.argoproj.io/refresh")


@dataclass(frozen=True, slots=True)
class Imported:
    """Ours, in the order of theirs, each with the file that it came from; and what there is to say."""

    objects: tuple[Sourced, ...]
    notes: tuple[Note, ...] = ()


@dataclass(slots=True)
class _Import:
    namespace: str
    clusters: Clusters
    notes: Notes = field(default_factory=Notes)

    def object(self, obj: Manifest) -> Manifest | None:
        kind, metadata = str(obj.get("kind")), obj.get("metadata") or {}
        notes = self.notes.of(f"{kind} {metadata.get('name')}")
        if is_cluster_secret(obj):
            return {"apiVersion": API_VERSION, "kind": "Cluster", **cluster(obj, notes)}
        if not is_argo(obj):
            return None
        notes.lost_keys(obj, ("apiVersion", "kind", "metadata", "spec", "status"), "")
        spec = obj.get("spec") or {}
        match kind:
            case "ApplicationSet":
                return self._set(metadata, spec, notes)
            case "Application":
                return self._application(metadata, spec, notes)
            case "AppProject":
                converted = fitted(project_spec(spec, notes, self.clusters), ProjectSpec, notes, path="spec")
                namespace = self.namespace or str(metadata["name"])
                return _object("Project", {"name": PROJECT_NAME}, namespace, converted)
        notes.lost("", f"the kind {kind}")
        return None

    def _set(self, metadata: Mapping[str, Any], spec: Mapping[str, Any], notes: Notes) -> Manifest:
        converted = set_spec(spec, notes, self.clusters)
        converted["template"]["spec"] = fitted(
            converted["template"]["spec"], ApplicationSpec, notes, path="spec.template.spec"
        )
        for at, one in enumerate(converted["generators"]):
            if (one.get("template") or {}).get("spec"):
                path = f"spec.generators[{at}].template.spec"
                one["template"]["spec"] = fitted(one["template"]["spec"], ApplicationSpec, notes, path=path)
        _fit_hosts(converted["generators"], notes, path="spec.generators")
        converted = fitted(converted, ApplicationSetSpec, notes, path="spec")
        project = project_of(spec)
        if "{{" in project and not self.namespace:
            notes.differs(
                "spec.template.spec.project", "it is a template; a set and its children are in one project"
            )
        literal = "" if "{{" in project else project
        return _object("ApplicationSet", metadata, self._namespace(metadata, literal), converted)

    def _application(self, metadata: Mapping[str, Any], spec: Mapping[str, Any], notes: Notes) -> Manifest:
        converted = overlay(dict(DEFAULTS), application_spec(spec, notes, self.clusters))
        if "://" in str(converted.get("cluster", "")):
            notes.lost(
                "spec.destination.server",
                f"no Cluster is known at {converted['cluster']}; give its Secret along, or --server URL=NAME",
            )
        for at, one in enumerate(converted.get("sources") or []):
            values = (one.get("helm") or {}).get("values")
            if isinstance(values, str):
                one["helm"]["values"] = _parsed(values, notes, path=f"spec.sources[{at}].helm.values")
        if not any(str(one).startswith(_FINALIZER) for one in metadata.get("finalizers") or []):
            converted["deletion"] = {"policy": "Orphan"}
        converted = fitted(converted, ApplicationSpec, notes, path="spec")
        return _object(
            "Application", metadata, self._namespace(metadata, str(spec.get("project") or "")), converted
        )

    def _namespace(self, metadata: Mapping[str, Any], project: str) -> str:
        return self.namespace or project or str(metadata.get("namespace") or "default")


def is_argo(obj: Mapping[str, Any]) -> bool:
    return str(obj.get("apiVersion", "")).startswith(f"{ARGO_GROUP}/")


def convert(
    objects: Sequence[Sourced], *, namespace: str = "", servers: Mapping[str, str] | None = None
) -> Imported:
    """Ours. `servers` names clusters by their address, beside the Secrets among the objects."""
    notes = Notes()
    found = [_known_cluster(obj) for _, obj in objects if is_cluster_secret(obj)]
    addresses = {address: name for name, address in found if address}
    clusters = Clusters({**addresses, **(servers or {})}, frozenset(name for name, _ in found))
    importing = _Import(namespace, clusters, notes)
    done = [
        (source, converted) for source, obj in objects if (converted := importing.object(obj)) is not None
    ]
    ordered([obj for _, obj in done if obj["kind"] == "Application"], notes)
    return Imported(tuple(done), tuple(notes.found))


def _fit_hosts(generators: list[Any], notes: Notes, *, path: str) -> None:
    """Those that ask somebody, at any depth: deeper ones are loose in the set's own model."""
    for at, one in enumerate(generators):
        for kind, spec in one.items():
            where = f"{path}[{at}].{kind}"
            if kind in ("matrix", "merge"):
                _fit_hosts(spec["generators"], notes, path=f"{where}.generators")
            elif kind in GENERATORS:
                one[kind] = fitted(spec, GENERATORS[kind], notes, path=where)
                seconds = one[kind].get("requeueAfterSeconds")
                if isinstance(seconds, int) and seconds < MIN_REQUEUE:
                    one[kind]["requeueAfterSeconds"] = MIN_REQUEUE
                    notes.differs(f"{where}.requeueAfterSeconds", f"{seconds} becomes {MIN_REQUEUE}")
                if "Ref" in str(spec) and kind != "clusterDecisionResource":
                    label = "axletree.dev/credentials: generator"
                    notes.differs(where, f"its Secrets need the label {label}, in the set's namespace")


def _known_cluster(secret: Manifest) -> tuple[str, str]:
    metadata = cluster(secret, Notes())["metadata"]
    return metadata["name"], (metadata.get("annotations") or {}).get(ANNOTATION_SERVER, "")


def _object(kind: str, metadata: Mapping[str, Any], namespace: str, spec: Manifest) -> Manifest:
    kept: Manifest = {"name": metadata["name"], "namespace": namespace}
    if metadata.get("labels"):
        kept["labels"] = dict(metadata["labels"])
    annotations = {
        key: one for key, one in (metadata.get("annotations") or {}).items() if key not in _DROPPED
    }
    if annotations:
        kept["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": kept, "spec": spec}


def _parsed(text: str, notes: Notes, *, path: str) -> Any:
    try:
        return load_value(text, source=path) or {}
    except YamlError as error:
        notes.lost(path, f"it does not read: {error.problem}")
        return {}
