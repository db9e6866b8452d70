"""The order in which releases go back: dependents first, as in a deletion. Pure.

What was let go after its dependencies goes back before them, so that nothing new ever runs on something old. The edges
themselves hold nothing on the way back: a child must not stay at a bad release because what it needs is bad, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.health import SyncState
from hub.core.model import Blocker
from hub.core.readiness import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.core.graph import AppGraph
    from hub.core.model import AppNode, Fleet

_ANSWERED = frozenset({SyncState.SYNCED, SyncState.FAILED})


def goes_back(node: AppNode) -> bool:
    """Whether its next release is an earlier one that it is pinned at."""
    return bool(node.pinned and node.released and node.target) and node.target != node.released


def is_back(node: AppNode) -> bool:
    """Whether its agent has answered for the release that it is pinned at, well or not."""
    seen = node.observed
    return (
        node.released == node.target
        and seen is not None
        and seen.release == node.release
        and seen.sync in _ANSWERED
    )


def blockers_back(node: AppNode, graph: AppGraph, fleet: Fleet) -> Iterator[Blocker]:
    """Its dependents that are pinned, too, and not back yet. Nobody waits for a cluster that is not heard."""
    for key in sorted(graph.dependents(node.key)):
        dependent = graph.get(key)
        if dependent is None or not dependent.pinned or dependent.deleting or is_back(dependent):
            continue
        cluster = fleet.clusters.get(dependent.cluster)
        if dependent.target_problem or not dependent.released or cluster is None or cluster.stale:
            continue
        yield Blocker("Dependency", key, f"{describe(dependent)}, and goes back first")
