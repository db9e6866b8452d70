"""Applications counted as their objects change: one comparison an event, and no walk over the fleet at a scrape."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.contract.health import HealthState, SyncState
from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from hub.telemetry.meters import Meters


class Mark(NamedTuple):
    """What an Application counts as. Every word is one of ours."""

    namespace: str
    set: str
    """The ApplicationSet's name; empty for one that was written by hand."""
    health: str
    sync: str
    blocked: str
    """The first thing that holds its release; empty for nothing."""
    held: str
    """Why its deletion waits; empty where none does."""


class Tally:
    """Give `changed` to a cache of Applications, before it is filled."""

    def __init__(self, meters: Meters, *, now: Callable[[], datetime]) -> None:
        self._meters = meters
        self._now = now
        self.marks: Counter[Mark] = Counter()

    def changed(self, old: Manifest | None, new: Manifest | None) -> None:
        before, after = (None if obj is None else mark_of(obj) for obj in (old, new))
        if before != after:
            self._count(before, -1)
            self._count(after, 1)
        if old is None or new is None:
            return
        took = release_seconds(old, new, now=self._now())
        if took is not None:
            self._meters.releases.observe(took)
        corrected = corrections(old, new)
        if corrected:
            self._meters.corrections.labels(new["metadata"]["namespace"]).inc(corrected)

    def _count(self, mark: Mark | None, step: int) -> None:
        if mark is None:
            return
        self.marks[mark] += step
        if not self.marks[mark]:
            del self.marks[mark]


def mark_of(obj: Manifest) -> Mark:
    status = obj.get("status") or {}
    blocked = status.get("blockedBy") or ()
    owner = views.owner_of(obj) or ""
    return Mark(
        namespace=obj["metadata"]["namespace"],
        set=owner.partition("/")[2],
        health=_state(status, "health", HealthState.UNKNOWN),
        sync=_state(status, "sync", SyncState.UNKNOWN),
        blocked=str(blocked[0].get("edge") or "") if blocked else "",
        held=str((status.get("deletion") or {}).get("held") or ""),
    )


def release_seconds(old: Manifest, new: Manifest, *, now: datetime) -> float | None:
    """How long the newest release took to be Healthy in full, where this change is the one that says so."""
    first, then = _newest(new), _newest(old)
    known = then.get("release") == first.get("release") and then.get("well")
    if not first.get("well") or known or not first.get("at"):
        return None
    try:
        began = datetime.fromisoformat(first["at"])
    except ValueError:
        return None
    return max(0.0, (now - began).total_seconds())


def corrections(old: Manifest, new: Manifest) -> int:
    """Objects that were put back, and of which the last report did not know."""
    reported = _corrected(new)
    return len(reported - _corrected(old)) if reported else 0


def _corrected(obj: Manifest) -> set[tuple[str, str]]:
    drift = ((obj.get("status") or {}).get("observed") or {}).get("drift") or ()
    return {(each.get("ref", ""), each.get("at", "")) for each in drift if each.get("corrected")}


def _newest(obj: Manifest) -> dict[str, Any]:
    history = (obj.get("status") or {}).get("history") or ()
    return history[0] if history else {}


def _state(status: Manifest, part: str, unknown: str) -> str:
    return str((status.get(part) or {}).get("state") or unknown)
