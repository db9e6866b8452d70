"""The waves of every set between steps: judged again where a child moved, a person answered or time passed.

What must outlive a restart is in each set's `status.rollout`, which is written after the fact: all of it can only
hold children back longer when it is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.names import ANNOTATION_APPROVE_WAVE, ANNOTATION_PAUSED
from hub.api.applicationset import ApplicationSetSpec
from hub.api.rollout import Rollout, RolloutStatus, WaveStatus
from hub.core.gates import WAVE, WaveGate, paused_set
from hub.core.inversion import WaveGraph
from hub.core.model import Blocker
from hub.core.pins import BY_WAVE, last_good, pin_value, rolled_back
from hub.core.waves import Judgement, judge, members_of, waves_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.contract.manifest import Manifest
    from hub.core.graph import AppGraph
    from hub.core.members import Members
    from hub.core.model import AppKey, AppNode, Fleet, SetKey
    from hub.operator.context import HubContext

SOONEST = 0.05
_EVERYTHING = -1


@dataclass(slots=True)
class _Kept:
    """One set with waves."""

    generation: int = _EVERYTHING
    rollout: Rollout = field(default_factory=Rollout)
    stale: str = "Wait"
    records: dict[str, WaveStatus] = field(default_factory=dict)
    gate: WaveGate | None = None
    states: list[str] = field(default_factory=list)
    status: RolloutStatus | None = None
    inverted: dict[AppKey, str] = field(default_factory=dict)
    """Its children whose wave contradicts what they wait for, each with the path."""
    straightened: bool = False
    """Whether these are others than at the last judgement."""
    members: Members | None = None
    """None: every child has to be looked at."""
    timer: asyncio.TimerHandle | None = None


class Waves:
    """`on_due` is called when a set has to be judged again; `on_status` with a set whose rollout says something new."""

    def __init__(
        self,
        hub: HubContext,
        graph: AppGraph,
        *,
        on_due: Callable[[], None],
        on_status: Callable[[SetKey], None],
    ) -> None:
        self._hub = hub
        self._graph = graph
        self._on_due = on_due
        self._on_status = on_status
        self._kept: dict[SetKey, _Kept] = {}
        self._paused: set[SetKey] = set()
        self._unread: set[SetKey] = set()
        """Whose spec does not read: what its waves are is not known."""
        self._dirty: dict[SetKey, set[AppKey]] = {}
        """Sets that are to be judged, with their children that moved."""
        self._edges = WaveGraph(graph)
        graph.links.subscribe(self._edges.linked)
        self._inverted: Mapping[AppKey, str] = {}
        self.pins: dict[AppKey, str] = {}
        """Pins that are to be written."""
        hub.fleet_view.subscribe(self.cluster_moved)

    # -- what moved

    def moved(self, before: AppNode | None, after: AppNode | None) -> None:
        """A child changed: its set is judged again."""
        for node in (before, after):
            if node is not None and node.owner is not None:
                self._touch(node.owner).add(node.key)
        if after is None:
            if before is not None:
                self._edges.place(before.key, None)
        elif after.owner not in self._kept and (before is None or before.owner != after.owner):
            self._edges.place(after.key, after.owner)

    def cluster_moved(self, name: str) -> None:
        """Its labels choose waves, and its liveness counts in them."""
        for key in self._graph.on_cluster(name):
            node = self._graph.get(key)
            if node is not None and node.owner is not None:
                self._touch(node.owner).add(key)

    def set_moved(self, key: SetKey) -> None:
        """Its spec or a person's answer changed."""
        self._touch(key)
        self._on_due()

    # -- what is asked

    @property
    def gates(self) -> tuple[Callable[[AppNode], Blocker | None], ...]:
        return (self._gate,)

    def taken(self, node: AppNode) -> None:
        """The child was let go."""
        kept = self._kept.get(node.owner or "")
        if kept is not None and kept.gate is not None:
            kept.gate.take(node)

    def status(self, key: SetKey) -> Manifest | None:
        """`status.rollout` of a set; None for one without waves."""
        kept = self._kept.get(key)
        if kept is None or kept.status is None:
            return None
        return kept.status.to_json()

    def judge(self, fleet: Fleet) -> set[AppKey]:
        """Judge every set that moved. Returns the children whose gate changed by that."""
        dirty, self._dirty = self._dirty, {}
        kept = {key: self._fitting(key, self._hub.caches.sets.get(key)) for key in sorted(dirty)}
        for key, one in kept.items():
            if one is not None:
                self._gather(key, one, dirty[key], fleet)
        for key in self._straighten():
            kept.setdefault(key, self._kept[key])
        affected: set[AppKey] = set()
        for key, one in sorted(kept.items()):
            affected |= self._judge(key, one)
        return affected

    # -- the inside

    def _touch(self, key: SetKey) -> set[AppKey]:
        return self._dirty.setdefault(key, set())

    def _gate(self, node: AppNode) -> Blocker | None:
        owner = node.owner
        if owner is None:
            return None
        kept = self._kept.get(owner)
        if kept is not None and kept.gate is not None:
            return kept.gate(node)
        if owner in self._unread:
            return Blocker(WAVE, owner, f"the spec of set {owner} does not read, and so which waves it has")
        return paused_set(owner) if owner in self._paused else None

    def _judge(self, key: SetKey, kept: _Kept | None) -> set[AppKey]:
        obj = self._hub.caches.sets.get(key)
        was = key in self._paused
        notes = (obj["metadata"].get("annotations") or {}) if obj is not None else {}
        paused = notes.get(ANNOTATION_PAUSED) == "true"
        (self._paused.add if paused else self._paused.discard)(key)
        if kept is None or kept.members is None:
            return self._waiting(key) if was != paused else set()
        judged = judge(
            kept.rollout,
            kept.members,
            records=kept.records,
            fleet=self._hub.fleet(),
            now=self._hub.now(),
            stale=kept.stale,
            approvals=[each for each in notes.get(ANNOTATION_APPROVE_WAVE, "").split(",") if each],
        )
        before = kept.gate.states if kept.gate is not None else []
        kept.records = {wave.status.name: wave.status for wave in judged.waves}
        back = rolled_back(kept.rollout, judged, kept.members)
        kept.gate = WaveGate(
            key,
            judged,
            inverted=kept.inverted,
            paused=paused,
            pinning=[node.key for node in back if self._take_back(node)],
            dependents=self._graph.dependents,
        )
        self._tell(key, kept, judged, paused=paused)
        self._schedule(key, kept, judged)
        if kept.gate.states != before or kept.straightened:
            kept.straightened = False
            return self._waiting(key)
        return set()

    def _take_back(self, node: AppNode) -> bool:
        """Note a pin at its last good release, which the next step writes; False where there is none: it stays."""
        obj = self._hub.caches.applications.get(node.key)
        good = last_good(obj, instead_of=node.target) if obj is not None else None
        if good is None:
            return False
        self.pins[node.key] = pin_value(good["digest"], instead_of=node.target, by=BY_WAVE)
        return True

    def _fitting(self, key: SetKey, obj: Manifest | None) -> _Kept | None:
        """What is kept of the set, read anew where its spec changed; None for one without waves."""
        kept = self._kept.get(key)
        generation = int(obj["metadata"].get("generation", 0)) if obj is not None else 0
        if kept is None or kept.generation != generation:
            rules = _rules(obj)
            (self._unread.discard if rules is not None else self._unread.add)(key)
            if rules is None:
                return kept  # as it read last
            rollout, stale = rules
            if not rollout.waves:
                gone = self._kept.pop(key, None)
                if gone is not None:
                    self._let_be(key, gone)
                return None
            if kept is None:
                kept = self._kept[key] = _Kept(records=_recorded(obj))
            kept.generation, kept.rollout, kept.stale = generation, rollout, stale
            kept.members = None
        return kept

    def _let_be(self, key: SetKey, gone: _Kept) -> None:
        """The set has no waves any more."""
        if gone.timer is not None:
            gone.timer.cancel()
        for each in self._graph.of_set(key):
            self._edges.place(each, key)

    def _gather(self, key: SetKey, kept: _Kept, touched: set[AppKey], fleet: Fleet) -> None:
        """The set's children as they are now: those that moved, or all where nothing is known of them."""
        now = self._hub.now()
        members = kept.members
        if members is None:
            members = kept.members = members_of(kept.rollout, stale=kept.stale)
            touched = touched | self._graph.of_set(key)
        for each in touched:
            node = self._graph.get(each)
            if node is None or node.owner != key:
                members.drop(each)
                continue
            members.put(node, fleet, now)
            index = members.wave_of.get(each)
            self._edges.place(each, key if index is None else (key, index))

    def _straighten(self) -> set[SetKey]:
        """Look for waves that contradict edges, of one set or of several. Returns sets of which that has moved."""
        names = {key: [wave.name for wave in waves_of(kept.rollout)] for key, kept in self._kept.items()}
        found = self._edges.inverted(names)
        if found is self._inverted:
            return set()
        self._inverted = found
        by_set: dict[SetKey, dict[AppKey, str]] = {}
        for app, words in found.items():
            node = self._graph.get(app)
            if node is not None and node.owner is not None:
                by_set.setdefault(node.owner, {})[app] = words
        moved = {key for key, kept in self._kept.items() if kept.inverted != by_set.get(key, {})}
        for key in moved:
            self._kept[key].inverted, self._kept[key].straightened = by_set.get(key, {}), True
        return moved

    def _tell(self, key: SetKey, kept: _Kept, judged: Judgement, *, paused: bool) -> None:
        stops = next((wave.reason for wave in judged.waves if wave.reason), "")
        status = RolloutStatus(
            state="Paused" if paused else judged.state,
            message=stops,
            waves=[wave.status for wave in judged.waves],
            warnings=list(judged.warnings) + sorted(set(kept.inverted.values()))[:4],
        )
        if status != kept.status:
            kept.status = status
            self._on_status(key)

    def _schedule(self, key: SetKey, kept: _Kept, judged: Judgement) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        if judged.look_again is not None:
            delay = max(SOONEST, (judged.look_again - self._hub.now()).total_seconds() + SOONEST)
            kept.timer = asyncio.get_running_loop().call_later(delay, self.set_moved, key)

    def _waiting(self, key: SetKey) -> set[AppKey]:
        """The set's children that are not where they are to be."""
        return {
            each
            for each in self._graph.of_set(key)
            if (node := self._graph.get(each)) is not None and node.released != node.target
        }


def _rules(obj: Manifest | None) -> tuple[Rollout, str] | None:
    """None for a spec that does not read: one without waves would let everything go."""
    if obj is None:
        return Rollout(), "Wait"
    try:
        spec = ApplicationSetSpec.model_validate(obj["spec"])
    except ValueError:
        return None
    return spec.rollout, spec.health.stale


def _recorded(obj: Manifest | None) -> dict[str, WaveStatus]:
    """What an earlier process kept."""
    raw = ((obj or {}).get("status") or {}).get("rollout") or {}
    try:
        waves = RolloutStatus.model_validate(raw).waves
    except ValueError:
        return {}  # written by another version: begun anew, which holds children back at most
    return {wave.name: wave for wave in waves}
