"""Health and sync words, and their order."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HealthState(StrEnum):
    """From best to worst: a group is as healthy as its worst member."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def rank(self) -> int:
        return _RANK[self]


_RANK = {state: index for index, state in enumerate(HealthState)}


class SyncState(StrEnum):
    """Where a child stands between what is wanted and what runs."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    """Live differs from the bundle (drift that is not corrected), or the target is not released."""
    SYNCING = "Syncing"
    """Released; the agent has not finished applying it."""
    BLOCKED = "Blocked"
    """An edge, a wave, a window, a missing input or a project's rule holds it."""
    FAILED = "Failed"
    """The agent could not apply it, or it could not be rendered."""
    DELETING = "Deleting"
    UNKNOWN = "Unknown"


class DriftMode(StrEnum):
    CORRECT = "Correct"
    ALERT = "Alert"
    IGNORE = "Ignore"


def worst(states: Iterable[HealthState]) -> HealthState:
    """The worst of many; Healthy for none, since nothing is wrong with nothing."""
    return max(states, key=lambda state: state.rank, default=HealthState.HEALTHY)
