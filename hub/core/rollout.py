"""The release rule: what keeps a child from moving to its target, and which children may move now.

An edge asks about the dependency *at its own target in its current plan*. Health that was observed under an
earlier release says nothing about what is coming: it opens no gate unless the edge asks for that (`at: Any`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from agent.contract.health import HealthState, SyncState
from agent.contract.names import ANNOTATION_PAUSED
from hub.api.application import At, Dependency, OnStale, Ready, Scope, SyncMode
from hub.core.graph import AppGraph, ResolvedEdge, title
from hub.core.model import AppKey, AppNode, Blocker, Fleet

TERMINAL = frozenset({"Render", "Project", "Cycle", "Failed", "Invalid", "WaveInversion"})
"""Edges of blockers that do not pass by waiting: a person has to change something."""
MAX_AFTER = 256

Gate = Callable[[AppNode], Blocker | None]
"""A further condition on a release (a wave, a window, a pause)."""


@dataclass(frozen=True, slots=True)
class Release:
    """Let one child move to its target: its entry in its cluster's Assignment."""

    key: AppKey
    cluster: str
    digest: str
    release: int


def decide(
    keys: Iterable[AppKey],
    graph: AppGraph,
    fleet: Fleet,
    *,
    gates: tuple[Gate, ...] = (),
    taken: Callable[[AppNode], None] | None = None,
) -> tuple[Release, ...]:
    """Which of `keys` may move now, in a fixed order. Nothing else about them changes.

    What needs one that goes is left for the next decision: `at: Any` accepts what its dependency ran until now,
    and that is over.
    `taken` is called with each at once: a gate with a limited number of places counts them.
    """
    found: list[Release] = []
    going: set[AppKey] = set()
    for key in sorted(set(keys)):
        node = graph.get(key)
        if node is None or node.deleting or not node.target or node.target == node.released:
            continue
        if going and any(not going.isdisjoint(edge.targets) for edge in graph.edges_of(key)):
            continue
        if next(_blockers(node, graph, fleet, gates), None) is None:
            going.add(key)
            found.append(Release(key, node.cluster, node.target, node.release + 1))
            if taken is not None:
                taken(node)
    return tuple(found)


def blockers(
    key: AppKey, graph: AppGraph, fleet: Fleet, *, gates: tuple[Gate, ...] = ()
) -> tuple[Blocker, ...]:
    """Everything that holds the node, each with the root of its chain; () when nothing does."""
    node = graph.get(key)
    if node is None:
        return ()
    found = tuple(_blockers(node, graph, fleet, gates))
    return tuple(replace(each, root=_root_of(node, each, graph, fleet, gates)) for each in found)


def why_root(key: AppKey, graph: AppGraph, fleet: Fleet, *, gates: tuple[Gate, ...] = ()) -> str:
    """The end of the chain of waits: `backend@eu1 is Degraded: Deployment backend: ImagePullBackOff`."""
    node = graph.get(key)
    if node is None:
        return f"{key} does not exist"
    first = next(_blockers(node, graph, fleet, gates), None)
    return describe(node) if first is None else _root_of(node, first, graph, fleet, gates)


def after_of(key: AppKey, graph: AppGraph) -> tuple[AppKey, ...]:
    """Dependencies on the same cluster, for its agent to hold it by when the cluster is rebuilt with no hub.

    Only edges that ask for Healthy, not those that any one of several may satisfy: the agent knows one rule.
    """
    node = graph.get(key)
    if node is None or graph.cycle_of(key):
        return ()
    found = {
        target.key
        for edge in graph.edges_of(key)
        if edge.dependency.ready is Ready.HEALTHY and edge.dependency.clusters.scope is not Scope.ANY
        for target in _live(edge, graph)
        if target.cluster == node.cluster
    }
    return tuple(sorted(found)[:MAX_AFTER])


def describe(node: AppNode) -> str:  # noqa: PLR0911 - a table of states
    """What state a node is in, in words, as others see it through an edge."""
    seen = node.observed
    name = title(node)
    if node.deleting:
        return f"{name} is being deleted"
    if node.target_problem:
        return f"{name}: {node.target_problem}"
    if not node.target:
        return f"{name} has no target yet"
    if node.released != node.target:
        return f"{name} is not released to its target yet"
    if seen is None or seen.release != node.release:
        return f"{name} is Syncing"
    if seen.sync is not SyncState.SYNCED:
        return _with(f"{name} is {seen.sync}", seen.message)
    if seen.health.rank >= HealthState.MISSING.rank:
        return _with(f"{name} is {seen.health}", seen.health_message)
    return f"{name} is {seen.health}"


def _blockers(node: AppNode, graph: AppGraph, fleet: Fleet, gates: tuple[Gate, ...]) -> Iterator[Blocker]:
    """Lazily, dearest last, so that a decision stops at the first one."""
    if node.deleting:
        return
    if node.target_problem:
        reason, colon, message = node.target_problem.partition(": ")
        word = reason if colon and reason.isalpha() else "Render"
        yield Blocker(word, node.key, message if word == reason else node.target_problem)
    if graph.cycle_of(node.key):
        yield Blocker("Cycle", node.key, f"dependency cycle: {graph.cycle_text(node.key)}")
        return
    if node.target_problem or (node.target and node.target == node.released):
        return
    yield from _own(node, fleet)
    for gate in gates:
        held = gate(node)
        if held is not None:
            yield held
    for edge in graph.edges_of(node.key):
        waits = _edge(node, edge, graph, fleet)
        if waits is not None:
            yield waits


def _own(node: AppNode, fleet: Fleet) -> Iterator[Blocker]:
    """What does not depend on other apps."""
    if not node.target:
        yield Blocker("Render", node.key, "not rendered yet")
    if node.namespace not in fleet.projects:
        yield Blocker("Project", node.namespace, f"namespace {node.namespace} has no Project")
    held = _by_cluster(node.cluster, fleet)
    if held is not None:
        yield held
    if node.paused:
        yield Blocker("Paused", node.key, "it is paused")
    if node.mode is SyncMode.MANUAL:
        yield Blocker("Manual", node.key, "its sync mode is Manual, and nobody has asked for this release")


def _by_cluster(name: str, fleet: Fleet) -> Blocker | None:
    """What holds everything on one cluster."""
    cluster = fleet.clusters.get(name)
    problem, word = "", "Join"
    if cluster is None:
        problem = "does not exist"
    elif cluster.removing:
        problem = "is being removed"
    elif not cluster.accepted:
        problem = "is not accepted"
    elif not cluster.joined:
        problem = "has not joined yet"
    elif cluster.stale:
        problem, word = "is Stale", "Stale"
    elif cluster.annotations.get(ANNOTATION_PAUSED) == "true":
        problem, word = "is paused", "Paused"
    return Blocker(word, name, f"cluster {name} {problem}") if problem else None


def _edge(node: AppNode, edge: ResolvedEdge, graph: AppGraph, fleet: Fleet) -> Blocker | None:
    dependency = edge.dependency
    targets = _live(edge, graph)
    refused = _refused(node, dependency, fleet) or _unmatched(node, edge, targets)
    if refused is not None:
        return refused
    waits = [held for target in targets if (held := _waits_for(target, dependency, fleet)) is not None]
    if not waits or (dependency.clusters.scope is Scope.ANY and len(waits) < len(targets)):
        return None
    first = next((each for each in waits if each.edge in TERMINAL), waits[0])
    more = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
    return replace(first, message=first.message + more)


def _unmatched(node: AppNode, edge: ResolvedEdge, targets: list[AppNode]) -> Blocker | None:
    """Whether the edge means nothing, or nothing on one of the clusters that it names."""
    meant = _words(node, edge.dependency)
    if edge.problem:
        return Blocker("Invalid", meant, f"the edge to {meant} does not read: {edge.problem}")
    if edge.dependency.optional or (targets and not edge.missing):
        return None
    where = f" on {', '.join(edge.missing)}" if edge.missing else ""
    return Blocker("NoMatch", meant, f"nothing matches {meant}{where}")


def _waits_for(target: AppNode, dependency: Dependency, fleet: Fleet) -> Blocker | None:
    """Whether this dependency holds the edge, and as what."""
    if dependency.ready is not Ready.RELEASED:
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
    return None if _ready(target, dependency) else Blocker("Dependency", target.key, describe(target))


def _ready(target: AppNode, dependency: Dependency) -> bool:
    seen = target.observed
    if dependency.at is At.TARGET:
        if target.target_problem:
            return False
        released, there = bool(target.target) and target.released == target.target, target.at_target
    else:
        released = bool(target.released)
        there = (
            released
            and seen is not None
            and seen.release == target.release
            and seen.digest == target.released
            and seen.sync is SyncState.SYNCED
        )
    match dependency.ready:
        case Ready.RELEASED:
            return released
        case Ready.SYNCED:
            return there
        case Ready.HEALTHY:
            return there and seen is not None and seen.health is HealthState.HEALTHY


def _refused(node: AppNode, dependency: Dependency, fleet: Fleet) -> Blocker | None:
    """Edges into another namespace need that Project's leave."""
    other = dependency.namespace
    if other is None or other == node.namespace:
        return None
    project = fleet.projects.get(other)
    if project is not None and node.namespace in project.allow_edges_from:
        return None
    return Blocker("Project", other, f"the Project of {other} does not allow edges from {node.namespace}")


def _live(edge: ResolvedEdge, graph: AppGraph) -> list[AppNode]:
    nodes = (graph.get(key) for key in edge.targets)
    return [node for node in nodes if node is not None and not node.deleting]


def _words(node: AppNode, dependency: Dependency) -> str:
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


def _root_of(node: AppNode, first: Blocker, graph: AppGraph, fleet: Fleet, gates: tuple[Gate, ...]) -> str:
    """Follow the first blocker of each node on the way, until something does not wait for another app."""
    seen = {node.key}
    blocker = first
    while blocker.edge == "Dependency" and blocker.on not in seen:
        seen.add(blocker.on)
        target = graph.get(blocker.on)
        if target is None:
            break
        node = target
        further = next(_blockers(node, graph, fleet, gates), None)
        if further is None:
            return describe(node)
        blocker = further
    return f"{title(node)}: {blocker.message}"


def _with(text: str, message: str) -> str:
    return f"{text}: {message}" if message else text
