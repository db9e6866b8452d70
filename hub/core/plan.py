"""What one expansion changes: which children appear, change, stay, go, or are Held.

Called only with an expansion that succeeded: an error has no list of children, and so can drop none. What
goes is bounded by the set's budget over a sliding period. What was Held stays Held until a person approves
it, however much of the budget is free again later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hub.api.application import ApplicationSpec
from hub.api.applicationset import DeletionBudget, DeletionSpec, DropRecord, HeldDeletion
from hub.core.model import AppKey, Drop

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from agent.contract.manifest import Manifest

DROPPED = "Dropped"
CLUSTER_REMOVED = "ClusterRemoved"
HELD_BY_BUDGET = "Budget"
MAX_HELD = 256
MAX_RECORDS = 64

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TERM = re.compile(r"([0-9]+)(ms|s|m|h|d)")


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """The difference between what a set wants and what is there, each in a fixed order."""

    create: dict[AppKey, Manifest]
    update: dict[AppKey, Manifest]
    unchanged: tuple[AppKey, ...]
    recreate: tuple[AppKey, ...]
    """Deleted by someone while it is wanted: let that object go (nothing on the spoke), and make it again."""
    restore: tuple[AppKey, ...]
    """Wanted again while a decision to drop it is recorded: the decision is withdrawn."""
    drop: tuple[Drop, ...]
    """New decisions, inside the budget or approved: to be recorded."""
    held: tuple[HeldDeletion, ...]
    """Beyond the budget, earlier ones included: kept running until approved. At most `MAX_HELD` named."""
    drops: tuple[DropRecord, ...]
    """The history that the next plan's budget counts, with this plan's drops."""


def plan_children(
    desired: Mapping[AppKey, Manifest],
    existing: Mapping[AppKey, Manifest],
    *,
    deletion: DeletionSpec,
    now: datetime,
    drops: Iterable[DropRecord | Mapping[str, Any]] = (),
    held: Iterable[HeldDeletion | Mapping[str, Any]] = (),
    approved: bool = False,
    removing: Collection[str] = (),
    there: int | None = None,
) -> ChildPlan:
    """Compare a successful expansion with the set's children as the hub has them.

    `drops` and `held` are what the set's last plan recorded; `approved` lets go exactly what `held` names.
    `removing` are clusters that a person removes: what becomes of their children is decided with the cluster, and
    no expansion's doing. `there` is how many children there are where `existing` is a part of them: all of those
    that are not wanted, and some of those that are. What all sets of a pass drop together is the breaker's matter
    (`hub.core.breaker`).
    """
    gone = {key for key in existing if key not in desired}
    carried = {key for key in gone if _decided(existing[key]) or _cluster(existing[key]) in removing}
    drop, still, history = _deletions(
        {key: existing[key] for key in gone - carried},
        deletion=deletion,
        now=now,
        drops=_records(drops, now=now, per=parse_duration(deletion.budget.per)),
        before={each.app: each for each in map(HeldDeletion.model_validate, held)},
        approved=approved,
        size=(len(existing) if there is None else there) - len(carried),
    )
    present = {key for key in desired if key in existing}
    recreate = {key for key in present if _terminating(existing[key])}
    restore = {key for key in present - recreate if _decided(existing[key])}
    update = {key for key in present - recreate if differs(desired[key], existing[key])}
    return ChildPlan(
        create={key: desired[key] for key in sorted(set(desired) - present)},
        update={key: desired[key] for key in sorted(update)},
        unchanged=tuple(sorted(present - recreate - update)),
        recreate=tuple(sorted(recreate)),
        restore=tuple(sorted(restore)),
        drop=drop,
        held=still,
        drops=history,
    )


def budget_limit(budget: DeletionBudget, size: int) -> int:
    """How many of `size` children may go in the budget's period. A share is rounded down."""
    return max(share_of(budget.max, size), budget.min)


def share_of(value: int | str, size: int, *, round_up: bool = False) -> int:
    """`3` or `20%` of `size`, as a count."""
    if isinstance(value, int):
        return value
    percent = int(value.removesuffix("%"))
    return -(-percent * size // 100) if round_up else percent * size // 100


def parse_duration(text: str) -> timedelta:
    """`90s`, `1h30m`, `7d`. Raises ValueError for anything else."""
    if not re.fullmatch(rf"({_TERM.pattern})+", text):
        raise ValueError(f"{text!r} is no duration")
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in _TERM.findall(text)))


def _deletions(
    gone: Mapping[AppKey, Manifest],
    *,
    deletion: DeletionSpec,
    now: datetime,
    drops: list[DropRecord],
    before: Mapping[AppKey, HeldDeletion],
    approved: bool,
    size: int,
) -> tuple[tuple[Drop, ...], tuple[HeldDeletion, ...], tuple[DropRecord, ...]]:
    """Decide about children that are no longer wanted: what goes, what is Held, and the new history."""
    recent = sum(record.count for record in drops)
    # A share of what the set had when the period began: its own drops must not shrink it.
    free = max(0, budget_limit(deletion.budget, size + recent) - recent)
    if len(before) >= MAX_HELD and not approved:
        free = 0  # the record of what is Held may be cut: nothing unnamed may slip through
    named = sorted(key for key in gone if key in before)
    fresh = sorted(key for key in gone if key not in before)
    inside = len(fresh) <= free  # all or none: a part of what goes together may be what the rest needs
    let_go = [*(named if approved else ()), *(fresh if inside else ())]
    held = [*((key, before[key].reason) for key in named if not approved)]
    held += [(key, HELD_BY_BUDGET) for key in fresh if not inside]
    if let_go:
        answered = len(named) if approved else 0
        drops.append(DropRecord(at=stamp(now), count=len(let_go), approved=answered))
    still = [
        before.get(key) or HeldDeletion(app=key, reason=reason, since=stamp(now))
        for key, reason in sorted(held)
    ]
    return (
        tuple(Drop(key, DROPPED, now) for key in sorted(let_go)),
        tuple(still[:MAX_HELD]),
        tuple(_bounded(drops)),
    )


def _decided(manifest: Manifest) -> bool:
    """Whether a decision about it is recorded and in force."""
    found = (manifest.get("status") or {}).get("deletion") or {}
    return bool(found) and not found.get("held")


def _terminating(manifest: Manifest) -> bool:
    return bool((manifest.get("metadata") or {}).get("deletionTimestamp"))


def _cluster(manifest: Manifest) -> str:
    return str((manifest.get("spec") or {}).get("cluster", ""))


def differs(desired: Manifest, existing: Manifest) -> bool:
    """Whether the child must be written. Defaults that the API server fills in are no difference.

    Labels are all ours (edges select by them). Annotations are people's as well: ours must be there.
    """
    want, have = desired.get("metadata") or {}, existing.get("metadata") or {}
    if (want.get("labels") or {}) != (have.get("labels") or {}):
        return True
    notes = have.get("annotations") or {}
    if any(notes.get(key) != value for key, value in (want.get("annotations") or {}).items()):
        return True
    one, other = desired.get("spec"), existing.get("spec")
    return one != other and ApplicationSpec.model_validate(one) != ApplicationSpec.model_validate(other)


def _records(
    drops: Iterable[DropRecord | Mapping[str, Any]], *, now: datetime, per: timedelta
) -> list[DropRecord]:
    records = (DropRecord.model_validate(each) for each in drops)
    return [each for each in records if datetime.fromisoformat(each.at) > now - per]


def _bounded(history: list[DropRecord]) -> list[DropRecord]:
    """At most `MAX_RECORDS`: the oldest are merged into the last of them, so that none is forgotten early."""
    if len(history) <= MAX_RECORDS:
        return history
    cut = len(history) - MAX_RECORDS + 1
    merged = DropRecord(
        at=history[cut - 1].at,
        count=sum(record.count for record in history[:cut]),
        approved=sum(record.approved for record in history[:cut]),
    )
    return [merged, *history[cut:]]


def stamp(moment: datetime) -> str:
    """As the API server writes times: whole seconds, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
