from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api.applicationset import DeletionSpec, DropRecord
from hub.core.model import Drop
from hub.core.plan import MAX_HELD, MAX_RECORDS, ChildPlan, parse_duration, plan_children, share_of

_NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_AT = "2026-05-01T12:00:00Z"


def child(number: int, **fields: Any) -> dict[str, Any]:
    spec = {"cluster": fields.pop("cluster", "eu1"), "sources": [{"repoURL": "https://h/x"}]}
    metadata = {"name": f"c{number:03}", "namespace": "n", "labels": {"app": "x"}}
    return {
        "metadata": metadata | fields.pop("metadata", {}),
        "spec": spec | fields.pop("spec", {}),
        **fields,
    }


def children(*numbers: int, **fields: Any) -> dict[str, Any]:
    return {f"n/c{number:03}": child(number, **fields) for number in numbers}


def plan(
    desired: dict[str, Any], existing: dict[str, Any], *, now: datetime = _NOW, **more: Any
) -> ChildPlan:
    deletion = DeletionSpec.model_validate({"budget": more.pop("budget", {})})
    return plan_children(desired, existing, deletion=deletion, now=now, **more)


def keys(drops: tuple[Drop, ...]) -> list[str]:
    return [drop.key for drop in drops]


def test_create_update_unchanged() -> None:
    existing = children(1, 2) | children(3, spec={"namespace": "other"})
    found = plan(children(2, 3, 4), existing)
    assert (list(found.create), list(found.update), found.unchanged) == (["n/c004"], ["n/c003"], ("n/c002",))
    assert found.create["n/c004"] == child(4)
    assert found.drop == (Drop("n/c001", "Dropped", _NOW),)
    assert found.drops == (DropRecord(at=_AT, count=1),)


def test_what_the_api_server_fills_in_is_no_change() -> None:
    filled = {
        "namespace": "default",
        "sources": [{"repoURL": "https://h/x", "revision": "HEAD", "path": "."}],
        "sync": {"mode": "Auto", "prune": True, "retry": {"limit": 5}},
    }
    noted = {"annotations": {"axletree.dev/refresh": "1"}, "uid": "u", "finalizers": ["f"]}
    existing = children(1, spec=filled, metadata=noted, status={"sync": {}})
    assert plan(children(1), existing).unchanged == ("n/c001",)
    changes: list[dict[str, Any]] = [{"labels": {"app": "y"}}, {"labels": {}}, {"annotations": {"a": "b"}}]
    for changed in changes:
        assert list(plan(children(1, metadata=changed), existing).update) == ["n/c001"]


def test_beyond_the_budget_is_held_by_name() -> None:
    found = plan({}, children(*range(20)), budget={"max": "20%", "min": 2})
    assert found.drop == ()
    assert [each.app for each in found.held] == [f"n/c{n:03}" for n in range(20)]
    assert {(each.reason, each.since) for each in found.held} == {("Budget", _AT)}
    assert plan({}, children(1, 2, 3), budget={"max": "20%", "min": 2}).drop == ()
    assert len(plan(children(3), children(1, 2, 3), budget={"max": "20%", "min": 2}).drop) == 2
    assert len(plan({}, children(1, 2, 3), budget={"max": 0, "min": 0}).drop) == 0


def test_a40_what_is_held_stays_held_until_approved() -> None:
    first = plan({}, children(*range(10)), budget={"max": 3, "min": 0})
    every = children(*range(10))
    later = plan(
        {}, every, now=_NOW + timedelta(days=2), drops=first.drops, held=first.held, budget={"max": 3}
    )
    assert (later.drop, later.held) == ((), first.held)
    raw = [each.to_json() for each in first.held]
    done = plan({}, every, held=raw, drops=[each.to_json() for each in first.drops], approved=True)
    assert keys(done.drop) == [each.app for each in first.held]
    assert done.held == ()
    assert sum(record.count for record in done.drops) == 10


def test_what_is_wanted_again_is_no_longer_held() -> None:
    first = plan({}, children(*range(10)), budget={"max": 3, "min": 0})
    again = plan(children(*range(10)), children(*range(10)), held=first.held, drops=first.drops)
    assert (again.held, again.drop, len(again.unchanged)) == ((), (), 10)


def test_approval_lets_go_what_it_names_and_no_more() -> None:
    first = plan({}, children(1, 2, 3), budget={"max": 1, "min": 0})
    more = plan(
        {},
        children(1, 2, 3, 4, 5),
        held=first.held,
        drops=first.drops,
        approved=True,
        budget={"max": 1, "min": 0},
    )
    assert keys(more.drop) == ["n/c001", "n/c002", "n/c003"]
    assert [each.app for each in more.held] == ["n/c004", "n/c005"]


def test_nothing_slips_through_when_not_all_that_is_held_can_be_named() -> None:
    many = children(*range(MAX_HELD + 50))
    first = plan({}, many, budget={"max": 0, "min": 0})
    assert len(first.held) == MAX_HELD
    later = plan({}, many, now=_NOW + timedelta(days=1), held=first.held, budget={"max": "100%"})
    assert later.drop == ()


def test_a_restart_does_not_refill_the_budget() -> None:
    record = DropRecord(at=_AT, count=3)
    existing, wanted = children(*range(7)), children(*range(3, 7))
    soon, later = _NOW + timedelta(minutes=59), _NOW + timedelta(minutes=61)
    assert plan(wanted, existing, now=soon, drops=[record], budget={"max": 3, "min": 0}).drop == ()
    assert len(plan(wanted, existing, now=later, drops=[record], budget={"max": 3, "min": 0}).drop) == 3


def test_decisions_in_force_are_not_made_twice() -> None:
    going = children(1, status={"deletion": {"reason": "Dropped", "decidedAt": _AT}})
    found = plan({}, going)
    assert (found.drop, found.held, found.drops) == ((), (), ())
    assert plan(children(1), going).restore == ("n/c001",)


def test_a_child_that_someone_deleted_is_made_again() -> None:
    found = plan(children(1), children(1, metadata={"deletionTimestamp": _AT}))
    assert found.recreate == ("n/c001",)
    assert (found.create, found.update, found.unchanged, found.drop) == ({}, {}, (), ())


def test_the_children_of_a_cluster_that_is_removed_are_not_decided_about_here() -> None:
    """The cluster's own removal decides, within the hub's breaker: a plan that decided, too, would be its way round."""
    existing = children(*range(5), cluster="old") | children(*range(5, 9))
    found = plan({}, existing, removing={"old"}, budget={"max": 1, "min": 0})
    assert found.drop == ()
    assert [each.app for each in found.held] == ["n/c005", "n/c006", "n/c007", "n/c008"]
    assert found.drops == ()


def test_the_history_is_bounded_and_forgets_nothing_early() -> None:
    records = [DropRecord(at=(_NOW - timedelta(seconds=n)).isoformat(), count=1) for n in range(100, 0, -1)]
    found = plan({}, children(1), drops=records, budget={"max": 1000})
    assert len(found.drops) == MAX_RECORDS
    assert sum(record.count for record in found.drops) == 101


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("7d", 604800), ("5ms", 0.005)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "5", "m5", "1h 2m", "1w"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


def test_shares() -> None:
    assert (share_of("20%", 9), share_of("20%", 9, round_up=True), share_of(3, 9)) == (1, 2, 3)


@given(
    wanted=st.lists(st.sets(st.integers(0, 29)), min_size=1, max_size=6),
    share=st.integers(0, 100),
    least=st.integers(0, 5),
)
def test_i1_no_series_of_expansions_drops_more_than_the_budget(
    wanted: list[set[int]], share: int, least: int
) -> None:
    """Within one period, whatever the expansions say, and however soon what was dropped is really gone."""
    existing = children(*range(30))
    drops: Any = ()
    held: Any = ()
    dropped = 0
    for number, numbers in enumerate(wanted):
        found = plan(
            children(*numbers)
            and {key: value for key, value in children(*numbers).items() if key in existing},
            existing,
            now=_NOW + timedelta(minutes=number),
            drops=drops,
            held=held,
            budget={"max": f"{share}%", "min": least},
        )
        drops, held = found.drops, found.held
        dropped += len(found.drop)
        for drop in found.drop:
            del existing[drop.key]
        gone = {each.app for each in found.held} | set(keys(found.drop))
        assert gone.isdisjoint(children(*numbers))
        assert {each.app for each in held} <= existing.keys()
    assert dropped <= max(30 * share // 100, least)
