"""Maintenance windows: when releases may go to a cluster. Pure; the moment comes in as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from hub.core.model import Blocker
from hub.core.plan import parse_duration, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.api.cluster import MaintenanceWindow

LONGEST = timedelta(days=31)
WINDOW = "Window"


@dataclass(frozen=True, slots=True)
class WindowState:
    """Whether a cluster may be changed now, and when that is otherwise."""

    open: bool
    changes: datetime | None = None
    """None: never, as far as can be said."""
    problem: str = ""

    @property
    def message(self) -> str:
        """Why not now; empty while it is open."""
        if self.open:
            return ""
        if self.problem:
            return f"its maintenance window does not read: {self.problem}"
        return f"its maintenance window opens at {stamp(self.changes)}" if self.changes else "it never opens"


OPEN = WindowState(open=True)


def window_state(windows: Iterable[MaintenanceWindow], now: datetime) -> WindowState:
    """None at all is always open. A window that does not read is closed, and says so: it was meant to restrict."""
    found = [_state(window, now) for window in windows]
    if not found:
        return OPEN
    inside = [each for each in found if each.open]
    if inside:
        return max(inside, key=lambda each: each.changes or now)
    moments = [each.changes for each in found if each.changes is not None]
    problems = "; ".join(each.problem for each in found if each.problem)
    return WindowState(open=False, changes=min(moments, default=None), problem="" if moments else problems)


def window_blocker(cluster: str, state: WindowState) -> Blocker | None:
    """What keeps releases from a cluster outside its windows; None inside."""
    return None if state.open else Blocker(WINDOW, cluster, f"cluster {cluster}: {state.message}")


def _state(window: MaintenanceWindow, now: datetime) -> WindowState:
    return _at(window.start, window.duration, window.timezone, now.replace(second=0, microsecond=0), now)


@lru_cache(maxsize=8192)
def _minutes(start: str, timezone: str, minute: datetime) -> tuple[datetime | None, datetime | None, str]:
    """The last start until this minute, and the next after it: found once a minute for all clusters alike."""
    try:
        local = minute.astimezone(ZoneInfo(timezone))
        before = next(CronSim(start, local + timedelta(minutes=1), reverse=True), None)
        after = next(CronSim(start, local), None)
    except (CronSimError, ZoneInfoNotFoundError, ValueError) as error:
        return None, None, f"{start!r} in {timezone}: {error}"
    return _utc(before), _utc(after), ""


def _at(start: str, duration: str, timezone: str, minute: datetime, now: datetime) -> WindowState:
    before, after, problem = _minutes(start, timezone, minute)
    if problem:
        return WindowState(open=False, problem=problem)
    length = min(parse_duration(duration), LONGEST)
    if before is not None and before <= now < before + length:
        return WindowState(open=True, changes=before + length)
    return WindowState(open=False, changes=after)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
