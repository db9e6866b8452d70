"""Whether an object is where somebody waits for it to be. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.cli.kinds import APPS, SETS, field, health, sync, why

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class InvalidDuration(AxletreeError):
    reason = "InvalidDuration"


class Wanted(StrEnum):
    HEALTHY = "Healthy"
    SYNCED = "Synced"
    DEGRADED = "Degraded"
    DELETED = "Deleted"


def reached(obj: Manifest | None, wanted: Wanted) -> bool:
    """Healthy means Healthy at its target: what somebody just changed must have arrived first.

    So neither health nor sync counts while the controller has not seen this generation of the object.
    """
    if wanted is Wanted.DELETED or obj is None:
        return obj is None and wanted is Wanted.DELETED
    generation = field(obj, "status", "observedGeneration")
    if generation != obj["metadata"].get("generation", generation):
        return False
    match wanted:
        case Wanted.HEALTHY:
            return health(obj) == "Healthy" and synced(obj)
        case Wanted.SYNCED:
            return synced(obj)
        case Wanted.DEGRADED:
            return health(obj) == "Degraded"


def synced(obj: Manifest) -> bool:
    """Whether an Application runs its target; a set, once planned, when all of its children do."""
    if obj["kind"] == APPS.kind:
        return sync(obj) == "Synced"
    children = field(obj, "status", "children")
    counts = field(obj, "status", "sync") or {}
    planned = bool(field(obj, "status", "plan", "id"))
    return planned and counts.get("Synced", 0) == (children or 0)


def state(obj: Manifest | None) -> str:
    """In a few words, where it is now, and what keeps it there."""
    if obj is None:
        return "is not there"
    if obj["metadata"].get("deletionTimestamp"):
        words = ["Deleting"]
    elif obj["kind"] == APPS.kind:
        words = [sync(obj) or "not planned yet", health(obj)]
    else:
        counts = field(obj, "status", "sync") or {}
        words = [f"{counts.get('Synced', 0)}/{field(obj, 'status', 'children') or 0} Synced", health(obj)]
    said = ", ".join(word for word in words if word)
    reason = why(obj)
    return f"{said}: {reason}" if reason else said


def at_last(obj: Manifest | None) -> str:
    """`state`, for the last word on it: of a set also what is worst in it, which its counts do not name."""
    worst = field(obj, "status", "health", "worst") if obj is not None and obj["kind"] == SETS.kind else None
    return f"{state(obj)}: {'; '.join(worst)}" if worst else state(obj)


def seconds_of(text: str) -> float:
    """`90`, `90s`, `5m`, `1h30m` in seconds. Raises `InvalidDuration`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise InvalidDuration(f"{text!r} is no duration: say 90s, 5m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
