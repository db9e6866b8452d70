"""The children of one rollout by wave, counted as they move: a judgement costs what moved and what is under way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING

from agent.kube.selectors import Selector, SelectorError, parse_selector
from hub.core.clustersets import selects
from hub.core.phases import Phase, is_final, phase_of
from hub.core.pins import BY_WAVE
from hub.core.plan import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from hub.api.rollout import Rollout, Wave
    from hub.core.model import AppKey, AppNode, ClusterView, Fleet

_NAMED = 3


@dataclass(slots=True)
class WaveMembers:
    """The children of one wave. A phase is counted once it is final; what time may change is asked each time."""

    nodes: dict[AppKey, AppNode] = field(default_factory=dict)
    final: Counter[Phase] = field(default_factory=Counter)
    failed: set[AppKey] = field(default_factory=set)
    """Of those that are final."""
    open: dict[AppKey, ClusterView | None] = field(default_factory=dict)
    plans: Counter[int] = field(default_factory=Counter)
    """By the plan that last changed a running child."""
    back: int = 0
    """How many a wave has taken back."""
    _first: tuple[AppNode, ...] | None = None

    @property
    def changed_by(self) -> int:
        """The plan that last changed a running child; 0 while all run, or wait for, their first release.

        A child that appears is no change of its wave: what soaks goes on soaking, what is spent stays spent.
        """
        return max(self.plans, default=0)

    def first(self) -> tuple[AppNode, ...]:
        """A few, the first by key."""
        if self._first is None:
            self._first = tuple(self.nodes[key] for key in nsmallest(_NAMED, self.nodes))
        return self._first

    def add(self, node: AppNode, cluster: ClusterView | None, phase: Phase, *, final: bool) -> None:
        self.nodes[node.key] = node
        self._first = None
        self.plans[_changed_by(node)] += 1
        self.back += node.pinned == BY_WAVE
        if not final:
            self.open[node.key] = cluster
            return
        self.final[phase] += 1
        if phase is Phase.FAILED:
            self.failed.add(node.key)

    def take(self, key: AppKey, phase: Phase) -> None:
        """Forget one; `phase` is what it was added as."""
        node = self.nodes.pop(key)
        self._first = None
        plan = _changed_by(node)
        self.plans[plan] -= 1
        if not self.plans[plan]:
            del self.plans[plan]
        self.back -= node.pinned == BY_WAVE
        if key in self.open:
            del self.open[key]
            return
        self.final[phase] -= 1
        self.failed.discard(key)


class Members:
    """All children of a rollout. Whoever keeps one puts every child that moved, or whose cluster did.

    A cluster is in the first wave that selects it. `stale` is the set's policy for clusters that are not heard.
    """

    def __init__(self, rollout: Rollout, *, last: Wave, stale: str) -> None:
        waves = (*rollout.waves, last)
        self._selectors = [_selector(wave) for wave in rollout.waves]
        self._timeouts = [parse_duration(wave.timeout) for wave in waves]
        self._stale = stale
        self._known: dict[AppKey, tuple[AppNode, ClusterView | None, Phase]] = {}
        self.waves = tuple(WaveMembers() for _ in waves)
        self.wave_of: dict[AppKey, int] = {}

    def __iter__(self) -> Iterator[AppNode]:
        return (known[0] for known in self._known.values())

    def keep(self, nodes: Iterable[AppNode], fleet: Fleet, now: datetime) -> None:
        """Exactly these."""
        wanted = {node.key: node for node in nodes}
        for key in [key for key in self._known if key not in wanted]:
            self.drop(key)
        for node in wanted.values():
            self.put(node, fleet, now)

    def put(self, node: AppNode, fleet: Fleet, now: datetime) -> None:
        """Take a child as it and its cluster are now; one that is being deleted is none any more."""
        if node.deleting:
            self.drop(node.key)
            return
        cluster = fleet.clusters.get(node.cluster)
        known = self._known.get(node.key)
        if known is not None and known[0] is node and known[1] is cluster:
            return
        index = self.wave(node.cluster, cluster)
        if known is not None:
            self.waves[self.wave_of[node.key]].take(node.key, known[2])
        self.wave_of[node.key] = index
        phase = self.phase(index, node, cluster, now)
        self._known[node.key] = (node, cluster, phase)
        self.waves[index].add(node, cluster, phase, final=is_final(node, phase))

    def drop(self, key: AppKey) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self.waves[self.wave_of.pop(key)].take(key, known[2])

    def phase(self, index: int, node: AppNode, cluster: ClusterView | None, now: datetime) -> Phase:
        return phase_of(node, cluster, timeout=self._timeouts[index], now=now, stale=self._stale)

    def wave(self, name: str, cluster: ClusterView | None) -> int:
        """The wave's index; the number of waves for a cluster that none selects."""
        labels = cluster.labels if cluster is not None else {}
        chosen = (index for index, each in enumerate(self._selectors) if _selects(each, name, labels))
        return next(chosen, len(self._selectors))


def placed(rollout: Rollout, nodes: Iterable[AppNode], fleet: Fleet, *, last: Wave) -> dict[AppKey, int]:
    """The wave of each, by its index; what is being deleted is in none."""
    members = Members(rollout, last=last, stale="")
    return {
        node.key: members.wave(node.cluster, fleet.clusters.get(node.cluster))
        for node in nodes
        if not node.deleting
    }


def _changed_by(node: AppNode) -> int:
    moved = node.release > 1 or (node.release and node.released != node.target)
    return node.plan if moved else 0


def _selector(wave: Wave) -> Selector | bool:
    """True: every cluster. False: none, for a selector that the API server would refuse."""
    if wave.selector is None:
        return True
    try:
        return parse_selector(wave.selector.to_json())
    except SelectorError:
        return False


def _selects(selector: Selector | bool, name: str, labels: Mapping[str, str]) -> bool:  # noqa: FBT001 - a wave's
    return selector if isinstance(selector, bool) else selects(selector, name, labels)
