"""How far each child of a rollout is. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from hub.core.model import AppNode, ClusterView


class Phase(StrEnum):
    """How far one child is on the way to its target."""

    WAITING = "Waiting"
    IN_FLIGHT = "InFlight"
    FINISHED = "Finished"
    FAILED = "Failed"
    SKIPPED = "Skipped"


def phase_of(
    node: AppNode, cluster: ClusterView | None, *, timeout: timedelta, now: datetime, stale: str
) -> Phase:
    """How far a child is. What was observed at its target stays known while its cluster is silent."""
    if cluster is None or not cluster.joined or not cluster.accepted or cluster.removing:
        return Phase.SKIPPED
    arrived = _arrived(node)
    if arrived is not None:
        return arrived
    if cluster.stale and stale != "Wait":
        return Phase.SKIPPED if stale == "Ignore" else Phase.FAILED
    if not node.target or node.released != node.target:
        return Phase.WAITING
    late = node.released_at is not None and node.released_at + timeout <= now
    return Phase.FAILED if late else Phase.IN_FLIGHT


def _arrived(node: AppNode) -> Phase | None:
    """Finished or Failed, where that is known of this very target."""
    if node.target_problem:
        return Phase.FAILED
    seen = node.observed
    if seen is None or not node.target or node.released != node.target or seen.release != node.release:
        return None
    if node.at_target and seen.health is HealthState.HEALTHY:
        return Phase.FINISHED
    failed = seen.sync is SyncState.FAILED or seen.health is HealthState.DEGRADED
    return Phase.FAILED if failed else None


def is_final(node: AppNode, phase: Phase) -> bool:
    """Whether a child stays in that phase until it or its cluster moves: time alone changes nothing."""
    return phase is not Phase.IN_FLIGHT and (phase is not Phase.FAILED or _arrived(node) is not None)
