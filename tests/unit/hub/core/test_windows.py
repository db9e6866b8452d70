from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hub.api.cluster import MaintenanceWindow
from hub.core.windows import window_state


def window(start: str, duration: str = "4h", timezone: str = "UTC") -> MaintenanceWindow:
    return MaintenanceWindow(start=start, duration=duration, timezone=timezone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


SATURDAY = window("0 22 * * 6")


@pytest.mark.parametrize(
    ("now", "is_open", "changes"),
    [
        ("2030-01-05T21:59:59", False, "2030-01-05T22:00:00"),  # a Saturday
        ("2030-01-05T22:00:00", True, "2030-01-06T02:00:00"),
        ("2030-01-06T01:59:59", True, "2030-01-06T02:00:00"),
        ("2030-01-06T02:00:00", False, "2030-01-12T22:00:00"),
    ],
)
def test_a_window_opens_and_closes_on_time(now: str, is_open: bool, changes: str) -> None:  # noqa: FBT001
    state = window_state([SATURDAY], at(now))
    assert (state.open, state.changes) == (is_open, at(changes))


def test_time_zones_and_summer_time() -> None:
    berlin = window("0 22 * * *", "1h", "Europe/Berlin")
    assert window_state([berlin], at("2030-01-05T21:30:00")).open  # 22:30 in winter
    assert not window_state([berlin], at("2030-07-05T21:30:00")).open
    assert window_state([berlin], at("2030-07-05T20:30:00")).open  # 22:30 in summer


def test_any_window_of_several_lets_in_and_none_at_all_always() -> None:
    night = window("0 2 * * *", "1h")
    assert window_state([SATURDAY, night], at("2030-01-07T02:30:00")).open
    closed = window_state([SATURDAY, night], at("2030-01-07T12:00:00"))
    assert closed.message == "its maintenance window opens at 2030-01-08T02:00:00Z"
    assert window_state([], at("2030-01-07T12:00:00")).open


@pytest.mark.parametrize("broken", [window("0 25 * * *"), window("0 2 * * *", timezone="Nowhere/At/All")])
def test_what_does_not_read_is_closed_and_says_so(broken: MaintenanceWindow) -> None:
    state = window_state([broken], at("2030-01-07T12:00:00"))
    assert not state.open
    assert "does not read" in state.message
    assert window_state([broken, window("0 12 * * *")], at("2030-01-07T12:00:00")).open


def test_a_long_window_is_open_across_its_next_start() -> None:
    always = window("0 0 * * *", "2d")
    assert all(window_state([always], at("2030-01-07T00:00:00") + timedelta(hours=n)).open for n in range(50))


def test_a_day_that_never_comes_never_opens() -> None:
    never = window_state([window("0 0 30 2 *")], at("2030-01-07T12:00:00"))
    assert not never.open
