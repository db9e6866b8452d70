"""One edge of the graph: what it means, whether it holds its dependent, and in which words. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hub.api.dependency import OnStale, Ready, Scope
from hub.core.graph import title
from hub.core.model import Blocker
from hub.core.readiness import unready

if TYPE_CHECKING:
    from hub.api.dependency import Dependency
    from hub.core.graph import AppGraph, ResolvedEdge
    from hub.core.model import AppNode, Fleet

TERMINAL = frozenset({"Render", "Project", "Cycle", "Failed", "Invalid", "WaveInversion", "InputsFlapping"})
"""Edges of blockers that do not pass by waiting: a person has to change something."""


def edge_blocker(node: AppNode, edge: ResolvedEdge, graph: AppGraph, fleet: Fleet) -> Blocker | None:
    dependency = edge.dependency
    targets = live(edge, graph)
    held = refused(node, dependency, fleet) or _unmatched(node, edge, targets)
    if held is not None:
        return held
    waits = [held for target in targets if (held := waits_for(node, target, dependency, fleet)) is not None]
    if not waits or (dependency.clusters.scope is Scope.ANY and len(waits) < len(targets)):
        return None
    first = next((each for each in waits if each.edge in TERMINAL), waits[0])
    more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
    return replace(first, message=first.message + more)


def _unmatched(node: AppNode, edge: ResolvedEdge, targets: list[AppNode]) -> Blocker | None:
    """Whether the edge means nothing, or nothing on one of the clusters that it names."""
    meant = words(node, edge.dependency)
    if edge.problem:
        return Blocker("Invalid", meant, f"the edge to {meant} does not read: {edge.problem}")
    if edge.dependency.optional or (targets and not edge.missing):
        return None
    where = f" on {', '.join(edge.missing)}" if edge.missing else ""
    return Blocker("NoMatch", meant, f"nothing matches {meant}{where}")


def waits_for(node: AppNode, target: AppNode, dependency: Dependency, fleet: Fleet) -> Blocker | None:
    """Whether this dependency holds the edge, and as what."""
    if dependency.ready != Ready.RELEASED:
        cluster = fleet.clusters.get(target.cluster)
        if cluster is not None and cluster.stale:
            message = f"{title(target)} is on {target.cluster}, which is Stale"
            match dependency.on_stale:
                case OnStale.IGNORE:
                    return None
                case OnStale.WAIT:
                    return Blocker("Stale", target.key, message)
                case OnStale.FAIL:
                    return Blocker("Failed", target.key, f"{message}: the edge fails on that")
    return unready(node, target, dependency)


def refused(node: AppNode, dependency: Dependency, fleet: Fleet) -> Blocker | None:
    """Edges into another namespace need that Project's leave."""
    other = dependency.namespace
    if other is None or other == node.namespace:
        return None
    project = fleet.projects.get(other)
    if project is not None and node.namespace in project.allow_edges_from:
        return None
    return Blocker("Project", other, f"the Project of {other} does not allow edges from {node.namespace}")


def live(edge: ResolvedEdge, graph: AppGraph) -> list[AppNode]:
    nodes = (graph.get(key) for key in edge.targets)
    return [node for node in nodes if node is not None and not node.deleting]


def words(node: AppNode, dependency: Dependency) -> str:
    """What an edge means, as a person would write it."""
    namespace = dependency.namespace or node.namespace
    if dependency.name:
        return f"{namespace}/{dependency.name}"
    if dependency.application_set:
        return f"applicationset {namespace}/{dependency.application_set}"
    selector = dependency.selector
    labels = (
        [] if selector is None else [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    )
    if selector is not None:
        labels += [
            f"{each.key} {each.operator} ({','.join(each.values)})" for each in selector.match_expressions
        ]
    return f"applications {','.join(labels) or 'of any label'} in {namespace}"
