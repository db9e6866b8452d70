"""Rules over one app's rendered objects, and a project's rules over the app. Pure.

Whether a kind is namespaced is known for Kubernetes' own kinds and for what the bundle defines by a CRD; of
other custom kinds only the spoke can tell, where the agent checks them and impersonation holds the project's
rights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.apply.errors import ObjectInvalid
from agent.apply.shape import well_formed
from agent.apply.spelling import unknown_word
from agent.contract.canonical import canonical_json
from agent.contract.manifest import GroupKind, Manifest, ObjectRef, ref_of
from agent.contract.names import HUB_NAMESPACE
from hub.core.clustersets import set_contains
from hub.core.globs import glob_matches
from hub.render.plain import ManifestError
from hub.render.scopes import CLUSTER_SCOPED, defined_scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hub.api.application import ApplicationSpec
    from hub.api.project import Destination, ProjectSpec
    from hub.core.model import ClusterSetView, ClusterView, Fleet

MAX_OBJECT = 1024 * 1024
"""Bytes of one object's JSON: etcd's own limit is near."""
MAX_OBJECTS = 5000


@dataclass(frozen=True, slots=True)
class ObjectSummary:
    """What a project's rules need to know of the objects."""

    count: int = 0
    cluster_kinds: tuple[GroupKind, ...] = ()
    """Kinds known to be cluster-scoped, sorted."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that objects name, sorted."""


def check_objects(objects: Iterable[Manifest], *, namespace: str, where: str) -> None:
    """Raise `ManifestError` for a bundle that no agent could apply.

    `namespace` is where objects without one go; `where` names the app's sources for errors.
    """
    found = list(objects)
    if len(found) > MAX_OBJECTS:
        raise ManifestError(f"{len(found)} objects; one app may have {MAX_OBJECTS}", where=where)
    try:
        well_formed(found)
    except ObjectInvalid as error:
        raise ManifestError(str(error), where=where) from error
    scopes = defined_scopes(found)
    seen: set[ObjectRef] = set()
    for manifest in found:
        ref = ref_of(manifest)
        if scopes.get(ref.group_kind, ref.group_kind in CLUSTER_SCOPED):
            if ref.namespace:
                raise ManifestError(f"{ref}: it is cluster-scoped and cannot have a namespace", where=where)
        elif not ref.namespace:
            ref = ObjectRef(ref.group, ref.kind, namespace, ref.name)
        if ref in seen:
            raise ManifestError(f"{ref}: it is there twice", where=where)
        seen.add(ref)
        wrong = unknown_word(manifest)
        if wrong:
            raise ManifestError(f"{ref}: {wrong}", where=where)
        _check_size(manifest, ref, where)


def summary_of(objects: Iterable[Manifest]) -> ObjectSummary:
    """The summary of checked objects, sealed or not."""
    found = list(objects)
    scopes = defined_scopes(found)
    namespaces: set[str] = set()
    cluster_kinds: set[GroupKind] = set()
    for ref in map(ref_of, found):
        if scopes.get(ref.group_kind, ref.group_kind in CLUSTER_SCOPED):
            cluster_kinds.add(ref.group_kind)
        elif ref.namespace:
            namespaces.add(ref.namespace)
    return ObjectSummary(len(found), tuple(sorted(cluster_kinds)), tuple(sorted(namespaces)))


def has_secrets(objects: Iterable[Manifest]) -> bool:
    """Whether any value in it must be sealed to its cluster."""
    return any(
        one.get("kind") == "Secret"
        and one.get("apiVersion") == "v1"
        and (one.get("data") or one.get("stringData"))
        for one in objects
    )


def project_violations(
    namespace: str,
    project: ProjectSpec,
    spec: ApplicationSpec,
    *,
    cluster: ClusterView,
    fleet: Fleet | None = None,
    summary: ObjectSummary | None = None,
) -> list[str]:
    """Every rule of the project that the app breaks, in sentences; without a summary those on its spec only.

    `namespace` is the project's on the hub; `fleet` gives the cluster sets that destinations name.
    """
    found: list[str] = []
    cluster_sets = fleet.cluster_sets if fleet is not None else {}
    if project.trusted and namespace != HUB_NAMESPACE:
        found.append(f"a trusted project is allowed in {HUB_NAMESPACE} only")
    found.extend(
        f"repository {url} is not among the project's sourceRepos"
        for url in sorted({one.repo_url for one in spec.read()})
        if not repository_allowed(project, url)
    )
    open_here = [one for one in project.destinations if _covers(one, cluster, cluster_sets)]
    if not open_here:
        found.append(f"cluster {cluster.name} is not among the project's destinations")
    else:
        wanted = {spec.namespace, *(summary.namespaces if summary else ())}
        found.extend(
            f"namespace {name} on cluster {cluster.name} is not among the project's destinations"
            for name in sorted(wanted)
            if not any(glob_matches(glob, name) for one in open_here for glob in one.namespaces)
        )
    found.extend(
        f"cluster-scoped kind {kind} is not among the project's clusterResources"
        for kind in (summary.cluster_kinds if summary else ())
        if not any(
            one.group in ("*", kind.group) and one.kind in ("*", kind.kind)
            for one in project.cluster_resources
        )
    )
    return found


def repository_allowed(project: ProjectSpec, url: str) -> bool:
    """Whether the project may read the repository. Sources refuse addresses with dot segments."""
    return any(glob_matches(glob, url) for glob in project.source_repos)


def _covers(
    destination: Destination, cluster: ClusterView, cluster_sets: Mapping[str, ClusterSetView]
) -> bool:
    """Whether a destination means this cluster; the hub itself only by its full name or through a set."""
    if destination.cluster_set is None:
        return any(
            glob == cluster.name if cluster.is_hub else glob_matches(glob, cluster.name)
            for glob in destination.clusters
        )
    found = cluster_sets.get(destination.cluster_set)
    if found is None:
        return False
    selector = None if found.selector is None else found.selector.to_json()
    return set_contains(selector, found.clusters, name=cluster.name, labels=cluster.labels)


def _check_size(manifest: Manifest, ref: ObjectRef, where: str) -> None:
    try:
        size = len(canonical_json(manifest))
    except ValueError as error:
        raise ManifestError(f"{ref}: {error}", where=where) from error
    if size > MAX_OBJECT:
        raise ManifestError(f"{ref}: {size} bytes; an API server takes {MAX_OBJECT}", where=where)
