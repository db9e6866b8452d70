"""A parent's health from its children's, kept as they change.

One child's change moves one count and one place in a sorted list. A cluster that goes Stale changes nothing
here: counts are kept for each cluster, and whoever asks says which clusters are Stale now.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState, worst
from hub.api.applicationset import HealthPolicy, SetHealth
from hub.core.graph import title
from hub.core.plan import share_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hub.core.model import AppKey, AppNode, Observed

MAX_WORST = 5
_MAX_MESSAGE = 1024
STALE = "Stale"
"""Beside the health states in counts: an absence of news is not a state of the app."""

_NO_POLICY = HealthPolicy()


@dataclass(frozen=True, slots=True)
class RollupResult:
    """What a parent's status says."""

    health: SetHealth
    sync: dict[str, int]
    """Children by sync state, those that are being deleted included."""
    children: int


def child_health(node: AppNode) -> tuple[HealthState, str]:
    """What a child counts as in its parent: not at its target is Progressing, whatever the old one does."""
    seen = node.observed
    if node.target_problem:
        return HealthState.DEGRADED, node.target_problem
    if seen is not None and seen.release == node.release and node.released:
        if seen.sync is SyncState.FAILED:
            return HealthState.DEGRADED, seen.message
        if node.at_target or seen.health in (HealthState.DEGRADED, HealthState.UNKNOWN):
            return seen.health, seen.health_message
    return HealthState.PROGRESSING, (seen.message if seen is not None else "")


class SetRollup:
    """The children of one parent (a set; equally a cluster's apps), counted."""

    def __init__(self) -> None:
        self._health: dict[str, Counter[HealthState]] = {}
        self._counts: Counter[HealthState] = Counter()
        self._sync: Counter[SyncState] = Counter()
        self._bad: dict[HealthState, list[tuple[AppKey, str, str]]] = {}
        self._children = 0

    @classmethod
    def of(cls, nodes: Iterable[AppNode]) -> SetRollup:
        """Count afresh."""
        rollup = cls()
        for node in nodes:
            rollup.apply(None, node)
        return rollup

    @property
    def empty(self) -> bool:
        return self._children == 0

    @property
    def done(self) -> bool:
        """Whether every child is Healthy at its target: nothing more is to come."""
        return self._children == self._sync[SyncState.SYNCED] == self._counts[HealthState.HEALTHY]

    @property
    def calm(self) -> bool:
        """Whether every child is Healthy or on its way there: nothing that a person has to hear of."""
        return (
            self._counts.total() == self._counts[HealthState.HEALTHY] + self._counts[HealthState.PROGRESSING]
        )

    def apply(self, old: AppNode | None, new: AppNode | None) -> None:
        """Take one child's change: `old` must be what was applied before, None for nothing."""
        if old is not None:
            self._count(old, -1)
        if new is not None:
            self._count(new, 1)

    def result(self, *, stale: Collection[str] = (), policy: HealthPolicy = _NO_POLICY) -> RollupResult:
        """The parent's health while the clusters in `stale` are Stale."""
        silent = sorted(cluster for cluster in stale if cluster in self._health)
        counts = self._counts.copy()
        for cluster in silent:
            counts.subtract(self._health[cluster])
        quiet = self._counts.total() - counts.total()
        state = _state(counts, quiet, policy)
        shown = {each.value: counts[each] for each in HealthState if counts[each]}
        if quiet:
            shown[STALE] = quiet
        health = SetHealth(
            state=state.value,
            message=_message(counts, silent, state),
            counts=shown,
            worst=self._worst(set(silent)),
        )
        sync = {each.value: self._sync[each] for each in SyncState if self._sync[each]}
        return RollupResult(health, sync, self._children)

    def _count(self, node: AppNode, step: int) -> None:
        self._children += step
        self._sync[node.sync] += step
        if node.deleting:
            # On its way out by a decision: its health is nobody's concern any more, its existence is.
            return
        state, message = child_health(node)
        states = self._health.setdefault(node.cluster, Counter())
        states[state] += step
        self._counts[state] += step
        if not states.total():
            del self._health[node.cluster]
        elif not states[state]:
            del states[state]
        if state is HealthState.HEALTHY:
            return
        entry = (node.key, node.cluster, _line(node, state, message))
        entries = self._bad.setdefault(state, [])
        if step > 0:
            insort(entries, entry)
        else:
            del entries[bisect_left(entries, entry)]

    def _worst(self, silent: set[str]) -> list[str]:
        found: list[str] = []
        for state in reversed(HealthState):
            for _, cluster, line in self._bad.get(state, ()):
                if len(found) == MAX_WORST:
                    return found
                if cluster not in silent:
                    found.append(line)
        return found


def root_health(
    own: Observed | None, *, sets: Iterable[SetHealth] = (), apps: Iterable[AppNode] = ()
) -> SetHealth:
    """The health of a root Application: its own objects' report, and the sets and apps that it holds."""
    states: list[HealthState] = []
    lines: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    said: list[tuple[int, str]] = []
    if own is None:
        states.append(HealthState.MISSING)
    else:
        states.append(own.health)
        if own.health is not HealthState.HEALTHY and own.health_message:
            said.append((own.health.rank, own.health_message))
    for each in sets:
        state = HealthState(each.state) if each.state else HealthState.PROGRESSING
        states.append(state)
        counts.update(each.counts)
        if state is not HealthState.HEALTHY:
            texts = each.worst or [each.message]
            lines.extend((state.rank, text) for text in texts if text)
    for node in apps:
        if not node.deleting:
            state, message = child_health(node)
            states.append(state)
            counts[state.value] += 1
            if state is not HealthState.HEALTHY:
                lines.append((state.rank, _line(node, state, message)))
    # Its own report repeats what its sets say, in fewer words: of equal rank, the child is named first.
    lines = sorted([*sorted(lines, key=lambda line: line[1]), *said], key=lambda line: -line[0])
    named = [text for _, text in lines[:MAX_WORST]]
    overall = worst(states)
    message = "" if overall is HealthState.HEALTHY or not named else named[0]
    return SetHealth(state=overall.value, message=message, counts=dict(counts), worst=named)


def _state(counts: Counter[HealthState], quiet: int, policy: HealthPolicy) -> HealthState:
    total = counts.total() + (0 if policy.stale == "Ignore" else quiet)
    if quiet and policy.stale == "Wait":
        return HealthState.UNKNOWN
    needed = min(share_of(policy.min_healthy, total, round_up=True), total)
    if counts[HealthState.HEALTHY] >= needed:
        return HealthState.HEALTHY
    states = {state for state, count in counts.items() if count}
    if quiet and policy.stale == "Fail":
        states.add(HealthState.DEGRADED)
    return worst(states)


def _message(counts: Counter[HealthState], silent: list[str], state: HealthState) -> str:
    parts = []
    total = counts.total()
    healthy = counts[HealthState.HEALTHY]
    if healthy < total:
        rest = ", ".join(f"{counts[each]} {each}" for each in reversed(HealthState) if counts[each])
        detail = f" ({rest})" if state is not HealthState.HEALTHY else ""
        parts.append(f"{healthy} of {total} Healthy{detail}")
    if silent:
        parts.append(f"{len(silent)} cluster{'s are' if len(silent) > 1 else ' is'} Stale")
    return ", ".join(parts)


def _line(node: AppNode, state: HealthState, message: str) -> str:
    return f"{title(node)}: {message or state.value}"[:_MAX_MESSAGE]
