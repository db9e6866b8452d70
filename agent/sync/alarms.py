"""When drift is more than a change that was put back: what is said of it, and when to look again. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.apply.diff import NOT_THERE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agent.contract.manifest import ObjectRef
    from agent.contract.wire import DriftEntry

FIGHT, ALERT, RESIDUE, ADMISSION = "DriftFight", "DriftAlert", "ResidualDrift", "AdmissionChanged"
_MAX_NAMED = 3


def since(entry: DriftEntry, known: datetime | None, *, now: datetime) -> datetime:
    """Since when an object differs: when it was changed, as the API server says, else when we first saw it."""
    try:
        said = datetime.fromisoformat(entry.at)
    except ValueError:
        said = now
    if said.tzinfo is None:
        said = said.replace(tzinfo=UTC)
    return min(said, known or now, now)


def fight(drift: Collection[DriftEntry]) -> str:
    """What keeps being changed back, and by whom; empty where nothing is."""
    found = [entry for entry in drift if entry.fighting]
    return f"{FIGHT}: {_named(found)} again and again; corrected with growing pauses" if found else ""


def residual(drift: Collection[DriftEntry]) -> str:
    """What is live otherwise than the bundle says, though nobody changed it; empty where that is nothing."""
    found = [entry for entry in drift if entry.changes and not entry.corrected]
    stayed = [(entry, [each.path for each in entry.changes if each.wanted == NOT_THERE]) for entry in found]
    made = [(entry, [each.path for each in entry.changes if each.wanted != NOT_THERE]) for entry in found]
    said = [
        (RESIDUE, "the API server keeps", _paths(stayed), "which the bundle no longer sets"),
        (ADMISSION, "admission changes", _paths(made), "and another value than the bundle's is live"),
    ]
    return ". ".join(f"{reason}: {does} {what}, {so}" for reason, does, what, so in said if what)


def _paths(found: Collection[tuple[DriftEntry, Sequence[str]]]) -> str:
    named = [(entry, paths) for entry, paths in found if paths]
    lines = [f"{entry.ref} {', '.join(paths[:_MAX_NAMED])}" for entry, paths in named[:_MAX_NAMED]]
    more = f"; and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return "; ".join(lines) + more


def alert(
    drift: Mapping[ObjectRef, DriftEntry],
    began: Mapping[ObjectRef, datetime],
    *,
    now: datetime,
    after: float,
) -> tuple[str, float | None]:
    """What has differed for longer than `after` seconds, and in how many seconds the next one will have."""
    late, waits = [], []
    for ref, entry in drift.items():
        left = after - (now - began.get(ref, now)).total_seconds()
        if left <= 0:
            late.append(entry)
        else:
            waits.append(left)
    message = f"{ALERT}: {_named(late)}, for longer than {after:g} s" if late else ""
    return message, min(waits, default=None)


def _named(entries: Collection[DriftEntry]) -> str:
    lines = []
    for entry in list(entries)[:_MAX_NAMED]:
        what = f" {', '.join(entry.paths[:_MAX_NAMED])}" if entry.paths else ""
        who = f" by {entry.manager}" if entry.manager else ""
        lines.append(f"{entry.ref}{what} is changed{who}")
    more = len(entries) - _MAX_NAMED
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
