"""The release rule: what keeps a child from moving to its target, and which children may move now.

An edge asks about the dependency *at its own target in its current plan*. Health that was observed under an
earlier release says nothing about what is coming: it opens no gate unless the edge asks for that (`at: Any`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from agent.contract.health import HealthState
from agent.contract.names import ANNOTATION_PAUSED
from hub.api.application import SyncMode
from hub.api.dependency import Ready, Scope
from hub.core.backward import blockers_back, goes_back, is_back
from hub.core.edges import edge_blocker, live
from hub.core.graph import AppGraph, ResolvedEdge, title
from hub.core.inputs import FLAPPING, MISSING, bind, lost
from hub.core.model import AppKey, AppNode, Blocker, Fleet
from hub.core.readiness import describe

MAX_AFTER = 256
PASSABLE = frozenset(
    {
        "Dependency",
        "NoMatch",
        "Failed",
        "Stale",
        "Wave",
        "WaveInversion",
        "Window",
        "Paused",
        "Manual",
        "InputsFlapping",
        "Soak",
        "Condition",
    }
)
"""Edges of blockers that a person may pass by force. At the others there is nothing to let go, or nowhere."""
_CHAINED = frozenset({"Dependency", MISSING})
"""Edges of blockers that may wait for another app."""

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


def passed(
    node: AppNode, graph: AppGraph, fleet: Fleet, *, gates: tuple[Gate, ...] = ()
) -> tuple[Blocker, ...]:
    """What would hold a node that somebody lets go by force."""
    return tuple(_blockers(replace(node, forced=""), graph, fleet, gates))


def why_root(key: AppKey, graph: AppGraph, fleet: Fleet, *, gates: tuple[Gate, ...] = ()) -> str:
    """The end of the chain of waits: `backend@eu1 is Degraded: Deployment backend: ImagePullBackOff`."""
    node = graph.get(key)
    if node is None:
        return f"{key} does not exist"
    first = next(_blockers(node, graph, fleet, gates), None)
    return describe(node) if first is None else _root_of(node, first, graph, fleet, gates)


def after_of(key: AppKey, graph: AppGraph) -> tuple[AppKey, ...]:
    """Dependencies on the same cluster, for its agent to hold it by when the cluster is rebuilt with no hub.

    Only edges that ask for Healthy, not those that any one of several may satisfy: the agent knows one rule. None on
    the way back, nor of what somebody lets go by force, until the agent has answered for it.
    """
    node = graph.get(key)
    if node is None or graph.cycle_of(key) or ((node.pinned or node.forced) and not is_back(node)):
        return ()
    found = {
        target.key
        for edge in graph.edges_of(key)
        if edge.dependency.ready == Ready.HEALTHY and edge.dependency.clusters.scope is not Scope.ANY
        for target in live(edge, graph)
        if target.cluster == node.cluster
    }
    return tuple(sorted(found)[:MAX_AFTER])


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
    if node.target_problem:
        return
    if node.target and node.target == node.released:
        if node.flapping:
            yield Blocker(FLAPPING, node.key, node.flapping)
        yield from lost(node, graph, fleet)
        return
    yield from _unbound(node, graph, fleet)
    yield from _own(node, fleet)
    if node.forced:
        return
    yield from filter(None, (gate(node) for gate in gates))
    if goes_back(node):
        yield from blockers_back(node, graph, fleet)
        return
    edges = (edge_blocker(node, edge, graph, fleet) for edge in _edges(node, graph))
    yield from filter(None, edges)


def _unbound(node: AppNode, graph: AppGraph, fleet: Fleet) -> Iterator[Blocker]:
    """What the inputs wait for of an app that has no target before they are there."""
    if node.inputs and not node.target:
        values = bind(node, graph, fleet)
        yield from values if isinstance(values, tuple) else ()


def _edges(node: AppNode, graph: AppGraph) -> tuple[ResolvedEdge, ...]:
    edges = graph.edges_of(node.key)
    return edges if node.target else edges[: len(edges) - len(node.inputs)]


def _own(node: AppNode, fleet: Fleet) -> Iterator[Blocker]:
    """What does not depend on other apps."""
    if not node.target and not node.inputs:
        yield Blocker("Render", node.key, "not rendered yet")
    if node.namespace not in fleet.projects:
        yield Blocker("Project", node.namespace, f"namespace {node.namespace} has no Project")
    held = _by_cluster(node.cluster, fleet)
    if held is not None and not (node.forced and held.edge in PASSABLE):
        yield held
    if node.forced:
        return
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
    elif cluster.behind:
        problem, word = "holds more than this hub gave it: the hub went back in time", "Behind"
    elif cluster.stale:
        problem, word = "is Stale", "Stale"
    elif cluster.annotations.get(ANNOTATION_PAUSED) == "true":
        problem, word = "is paused", "Paused"
    return Blocker(word, name, f"cluster {name} {problem}") if problem else None


def _root_of(node: AppNode, first: Blocker, graph: AppGraph, fleet: Fleet, gates: tuple[Gate, ...]) -> str:
    """Follow the first blocker of each node on the way, until something does not wait for another app."""
    seen = {node.key}
    blocker = first
    while blocker.edge in _CHAINED and blocker.on not in seen:
        seen.add(blocker.on)
        target = graph.get(blocker.on)
        if target is None:
            break
        further = next((each for each in _blockers(target, graph, fleet, gates) if not each.ahead), None)
        if further is None and _well(target):
            break  # nothing is the matter with it: what it does not give is
        node = target
        if further is None:
            return describe(node)
        blocker = further
    return f"{title(node)}: {blocker.message}"


def _well(node: AppNode) -> bool:
    return node.at_target and node.observed is not None and node.observed.health is HealthState.HEALTHY
