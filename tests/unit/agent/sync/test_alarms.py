from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.apply.diff import Change
from agent.contract.health import SyncState
from agent.contract.manifest import ObjectRef
from agent.sync.alarms import alert, fight, since
from agent.sync.fight import FORGET, FREE, Fight
from agent.sync.status import MAX_CHANGES, Standing, drift_entry, report_of

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def ref(name: str) -> ObjectRef:
    return ObjectRef("", "ConfigMap", "shop", name)


def test_a11_a_fight_is_told_with_the_fields_and_who_fights() -> None:
    war = drift_entry(ref("a"), (".data.x",), manager="hook", corrected=True, fighting=True)
    once = drift_entry(ref("b"), (".data.x",), corrected=True)
    assert fight([once]) == ""
    assert fight([once, war]).startswith(
        "DriftFight: ConfigMap shop/a .data.x is changed by hook again and again"
    )


def test_a_fight_is_more_corrections_than_are_free_and_ends_with_peace() -> None:
    war = Fight()
    for second in range(FREE + 1):
        assert not war.fighting(second)
        war.corrected(second)
    assert war.fighting(FREE)
    assert not war.fighting(FREE + FORGET + 1)


def test_drift_is_an_alert_after_its_time_and_not_before() -> None:
    entries = {ref("a"): drift_entry(ref("a"), (".data.x",), manager="kubectl-edit")}
    began = {ref("a"): NOW - timedelta(seconds=50)}
    assert alert(entries, began, now=NOW, after=60) == ("", 10)
    message, again = alert(entries, began, now=NOW + timedelta(seconds=10), after=60)
    assert message == (
        "DriftAlert: ConfigMap shop/a .data.x is changed by kubectl-edit, for longer than 60 s"
    )
    assert again is None


def test_drift_begins_when_it_was_made_as_far_as_that_is_known() -> None:
    entry = drift_entry(ref("a"), (".data.x",), at="2026-01-01T11:00:00Z")
    assert since(entry, None, now=NOW) == NOW - timedelta(hours=1)
    unknown = drift_entry(ref("a"), (".data.x",))
    assert since(unknown, None, now=NOW) == NOW
    assert since(unknown, NOW - timedelta(minutes=5), now=NOW) == NOW - timedelta(minutes=5)
    future = drift_entry(ref("a"), (".data.x",), at="2027-01-01T11:00:00Z")
    assert since(future, None, now=NOW) == NOW


def test_a_report_holds_so_many_values_in_all() -> None:
    told = [Change(f".data.{number}", "1", "2") for number in range(20)]
    drift = tuple(drift_entry(ref(str(number)), (".data",), changes=told) for number in range(10))
    report = report_of(Standing("shop/web", 1, SyncState.OUT_OF_SYNC, drift=drift), {}, now=NOW)
    assert sum(len(entry.changes) for entry in report.drift) == MAX_CHANGES
    assert len(report.drift) == 10
