"""The fleet as it would be if files said what they say: Clusters, ClusterSets and Projects are in Git, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from hub.cli.files import fleet_of
from hub.core.model import Fleet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.cli.files import Document
    from hub.core.model import ClusterView

T = TypeVar("T")


def fleet_with(
    known: Fleet | None, documents: Sequence[Document], *, earlier: Sequence[Document] = ()
) -> Fleet:
    """What a hub knows (None: no hub) with these documents over it. `earlier` is what Git said before.

    Over a cluster that the hub knows a file says only what it says: labels that came with the join stay. What only
    the earlier documents have is taken away: a cluster so is on its way out.
    """
    said, was = fleet_of(documents), fleet_of(earlier)
    if known is None:
        return said
    clusters = dict(known.clusters)
    for document in documents:
        if document.kind == "Cluster":
            name = document.name
            before = was.clusters.get(name)
            there = known.clusters.get(name)
            view = said.clusters[name]
            clusters[name] = view if there is None else _over(there, view, before, document)
    gone = _named(earlier, "Cluster") - _named(documents, "Cluster")
    for name in gone & clusters.keys():
        clusters[name] = replace(clusters[name], removing=True)
    return Fleet(
        clusters=clusters,
        cluster_sets=_laid(known.cluster_sets, said.cluster_sets, was.cluster_sets),
        projects=_laid(known.projects, said.projects, was.projects),
    )


def _over(
    there: ClusterView, said: ClusterView, before: ClusterView | None, document: Document
) -> ClusterView:
    was = before or replace(said, labels={}, annotations={})
    return replace(
        there,
        labels=_laid(there.labels, said.labels, was.labels),
        annotations=_laid(there.annotations, said.annotations, was.annotations),
        values=said.values if "values" in document.spec else there.values,
        accepted=said.accepted if "accepted" in document.spec else there.accepted,
        windows=said.windows if "maintenanceWindows" in document.spec else there.windows,
    )


def _laid(known: Mapping[str, T], said: Mapping[str, T], was: Mapping[str, T]) -> dict[str, T]:
    return {**{key: value for key, value in known.items() if key not in was}, **said}


def _named(documents: Sequence[Document], kind: str) -> set[str]:
    return {document.name for document in documents if document.kind == kind}
