"""What others depend on of a node: where either differs, they are looked at again, and else not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.health import HealthState

if TYPE_CHECKING:
    from hub.core.model import AppNode


def identity(node: AppNode) -> tuple[object, ...]:
    """What dependencies can find it by, and whether it counts as there."""
    return node.cluster, node.owner, node.labels


def gate_view(node: AppNode) -> tuple[object, ...]:
    """What others can see of it through an edge. Messages only where something is wrong: progress is not."""
    seen = node.observed
    state: tuple[object, ...] = ()
    if seen is not None:
        bad = seen.health.rank >= HealthState.MISSING.rank
        message = (seen.message, seen.health_message) if bad else ()
        state = (seen.release, seen.digest, seen.sync, seen.health, seen.deleted, message)
    exports = node.labels, node.exports, node.outputs
    return node.deleting, node.target_problem, node.target, node.released, node.release, exports, state
