from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.api.applicationset import DeletionSpec, DropRecord
from hub.core.breaker import FLOOR, Breaker, breaker_of, held_by_breaker
from hub.core.plan import ChildPlan, plan_children

_NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_LATER = _NOW + timedelta(minutes=61)


def there(name: str, size: int) -> dict[str, Any]:
    return {
        f"n/{name}-{at}": {"metadata": {"name": f"{name}-{at}", "namespace": "n"}, "spec": {"cluster": "eu1"}}
        for at in range(size)
    }


def emptied(sets: dict[str, int], **more: Any) -> dict[str, ChildPlan]:
    return {
        key: plan_children({}, there(key, size), deletion=DeletionSpec(), now=_NOW, **more)
        for key, size in sets.items()
    }


def nothing_held(plans: dict[str, ChildPlan]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(plans, ())


def test_the_hubs_breaker_holds_what_many_small_sets_drop_together() -> None:
    """Each set of two is within its own budget; all of the hub's three hundred would go."""
    plans = emptied({f"s{at}": 2 for at in range(150)})
    assert sum(len(plan.drop) for plan in plans.values()) == 300
    found = held_by_breaker(plans, nothing_held(plans), Breaker(300), now=_NOW)
    assert found.keys() == plans.keys()
    assert not any(plan.drop or plan.drops for plan in found.values())
    assert {(each.app, each.reason) for each in found["s7"].held} == {
        ("n/s7-0", "Breaker"),
        ("n/s7-1", "Breaker"),
    }
    few = emptied({f"s{at}": 2 for at in range(75)})
    assert held_by_breaker(few, nothing_held(few), Breaker(300), now=_NOW) == {}


def test_what_went_within_the_hour_counts_and_what_was_approved_does_not() -> None:
    records = [
        DropRecord(at="2026-05-01T11:30:00Z", count=140),
        DropRecord(at="2026-05-01T10:30:00Z", count=9),
    ]
    person = {"reason": "Deleted", "decidedAt": "2026-05-01T11:59:00Z"}
    dropped = {"reason": "Dropped", "decidedAt": "2026-05-01T11:30:00Z"}
    held = {"reason": "Deleted", "decidedAt": "2026-05-01T11:59:00Z", "held": "Breaker"}
    found = breaker_of(165, [person, dropped, held, {}], records, now=_NOW)
    assert found == Breaker(163, 141)
    assert (found.trips(11), found.trips(12)) == (False, True)
    assert breaker_of(160, [], records, now=_LATER).recent == 0
    approved = [DropRecord(at="2026-05-01T11:30:00Z", count=140, approved=140)]
    assert breaker_of(160, [], approved, now=_NOW) == Breaker(160, 0)


def test_an_approval_goes_past_the_breaker_for_what_it_names_alone() -> None:
    held = [{"app": f"n/big-{at}", "reason": "Budget", "since": "x"} for at in range(400)][:256]
    plans = emptied({"big": 256}, held=held, approved=True) | emptied({"s": 2})
    before = {"big": tuple(each["app"] for each in held), "s": ()}
    assert held_by_breaker(plans, before, Breaker(300), now=_NOW) == {}
    more = plans | emptied({f"t{at}": 2 for at in range(100)})
    found = held_by_breaker(more, nothing_held(more) | before, Breaker(300), now=_NOW)
    assert "big" not in found
    assert len(found) == 101


@given(
    st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 40), min_size=1),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_i1_no_pass_drops_more_than_the_breaker_leaves(
    sets: dict[str, int], others: int, recent: int
) -> None:
    plans = emptied(sets)
    breaker = Breaker(sum(sets.values()) + others, recent)
    after = plans | held_by_breaker(plans, nothing_held(plans), breaker, now=_NOW)
    assert sum(len(plan.drop) for plan in after.values()) <= max(0, breaker.free)
    assert breaker.free <= max(FLOOR, (breaker.standing + recent) // 2)
    for key, size in sets.items():
        named = {drop.key for drop in after[key].drop} | {each.app for each in after[key].held}
        assert named == there(key, size).keys(), "each one is decided about by name"
        assert sum(each.count for each in after[key].drops) == len(after[key].drop)
