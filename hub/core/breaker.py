"""The hub's one breaker: what goes within an hour, of all sets together and by a person's word. Pure.

A budget bounds one set. A label that is taken from every cluster, or a source that answers with half a list, empties
many sets at once, each of them within its own budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hub.api.applicationset import DropRecord, HeldDeletion
from hub.core.plan import DROPPED, MAX_HELD, stamp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hub.core.model import AppKey, SetKey
    from hub.core.plan import ChildPlan

HELD_BY_BREAKER = "Breaker"
PERIOD = timedelta(hours=1)
SHARE = 0.5
FLOOR = 50


@dataclass(frozen=True, slots=True)
class Breaker:
    """How many Applications nobody has decided to delete, and how many were decided about within the hour."""

    standing: int
    recent: int = 0

    @property
    def free(self) -> int:
        """How many more may go now: a share of what there was when the hour began."""
        return max(FLOOR, int((self.standing + self.recent) * SHARE)) - self.recent

    def trips(self, count: int) -> bool:
        return count > self.free


def breaker_of(
    total: int,
    decisions: Iterable[Mapping[str, Any]],
    drops: Iterable[DropRecord | Mapping[str, Any]],
    *,
    now: datetime,
) -> Breaker:
    """`total` Applications are there, with these `status.deletion`; `drops` is what the plans of all sets remember.

    What was dropped is counted by the plans: it may be gone already. What somebody approved there was seen, and
    leaves room for others.
    """
    in_force = [each for each in decisions if each and not each.get("held")]
    named = sum(each["reason"] != DROPPED and _recent(each["decidedAt"], now) for each in in_force)
    records = map(DropRecord.model_validate, drops)
    dropped = sum(each.count - each.approved for each in records if _recent(each.at, now))
    return Breaker(total - len(in_force), named + dropped)


def held_by_breaker(
    plans: Mapping[SetKey, ChildPlan],
    before: Mapping[SetKey, Collection[AppKey]],
    breaker: Breaker,
    *,
    now: datetime,
) -> dict[SetKey, ChildPlan]:
    """The plans that are changed: where all sets together drop too much, nothing goes that nobody approved.

    `before` is what each set's last plan held: of that, only what was approved is among its drops.
    """
    fresh = {key: {drop.key for drop in plan.drop}.difference(before[key]) for key, plan in plans.items()}
    if not breaker.trips(sum(map(len, fresh.values()))):
        return {}
    return {key: _without(plan, fresh[key], now) for key, plan in plans.items() if fresh[key]}


def _without(plan: ChildPlan, keys: Collection[AppKey], now: datetime) -> ChildPlan:
    kept = tuple(drop for drop in plan.drop if drop.key not in keys)
    last = plan.drops[-1]
    rest = (last.model_copy(update={"count": len(kept)}),) if kept else ()
    more = (HeldDeletion(app=key, reason=HELD_BY_BREAKER, since=stamp(now)) for key in keys)
    held = sorted((*plan.held, *more), key=lambda each: each.app)
    return replace(plan, drop=kept, held=tuple(held[:MAX_HELD]), drops=(*plan.drops[:-1], *rest))


def _recent(moment: str, now: datetime) -> bool:
    return datetime.fromisoformat(moment) > now - PERIOD
