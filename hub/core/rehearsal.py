"""What would be let go, in which order, if every child became Healthy: the release rule run ahead. Pure.

The same functions decide that the controller calls, so that a plan shows what then happens, waves and edges
solved together; what they would hold is Held here by the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState
from hub.api.rollout import WaveState
from hub.core.gates import WAVE, WaveGate, paused_set
from hub.core.model import Blocker, Observed
from hub.core.pins import rolled_back
from hub.core.plan import stamp
from hub.core.rollout import blockers, decide
from hub.core.soaks import Soaks, soaks
from hub.core.waves import approval_of, contradictions, judge
from hub.core.windows import window_blocker, window_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from hub.api.rollout import Rollout, WaveStatus
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Fleet, SetKey
    from hub.core.rollout import Gate
    from hub.core.waves import Judgement
    from hub.core.windows import WindowState

_MAX_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Step:
    """Children that go at the same time, and what has to happen before them beyond Healthy dependencies."""

    apps: tuple[AppKey, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    steps: tuple[Step, ...]
    held: Mapping[AppKey, tuple[Blocker, ...]]
    """What never goes, however long one waits."""
    waits: Mapping[AppKey, Blocker] = field(default_factory=dict)
    """What goes once a person has approved, or a window has opened, with the first such rule."""
    back: Mapping[AppKey, Blocker] = field(default_factory=dict)
    """What goes, and is taken back: its wave fails over its budget by what is known already."""
    wave_of: Mapping[AppKey, str] = field(default_factory=dict)
    inverted: Mapping[AppKey, str] = field(default_factory=dict)
    """Whose wave contradicts what it waits for, with the path."""


@dataclass(slots=True)
class _Stage:
    graph: AppGraph
    rollouts: Mapping[SetKey, tuple[Rollout, str]]
    fleet: Fleet
    now: datetime
    paused: Collection[str] = ()
    records: dict[SetKey, dict[str, WaveStatus]] = field(default_factory=dict)
    approvals: dict[SetKey, set[str]] = field(default_factory=dict)
    judged: dict[SetKey, Judgement] = field(default_factory=dict)
    inverted: Mapping[AppKey, str] | None = None
    gates: dict[SetKey, WaveGate] = field(default_factory=dict)
    soaking: Soaks = field(init=False)

    def __post_init__(self) -> None:
        self.soaking = Soaks(self.graph)

    def judge(self) -> None:
        for key, (rollout, stale) in self.rollouts.items():
            members = [node for each in self.graph.of_set(key) if (node := self.graph.get(each)) is not None]
            judged = judge(
                rollout,
                members,
                records=self.records.get(key, {}),
                fleet=self.fleet,
                now=self.now,
                stale=stale,
                approvals=self.approvals.get(key, ()),
            )
            self.judged[key] = judged
            self.records[key] = {wave.status.name: wave.status for wave in judged.waves}
        if self.inverted is None:
            rollouts = {key: rollout for key, (rollout, _) in self.rollouts.items()}
            self.inverted = contradictions(self.graph, rollouts, self.fleet)
        for key, judged in self.judged.items():
            self.gates[key] = WaveGate(key, judged, inverted=self.inverted, paused=key in self.paused)

    def gate(self, node: AppNode) -> Blocker | None:
        own = self.gates.get(node.owner or "")
        if own is not None:
            return own(node)
        return paused_set(node.owner) if node.owner in self.paused and node.owner is not None else None

    def window(self, node: AppNode) -> Blocker | None:
        return window_blocker(node.cluster, self.window_of(node.cluster))

    def window_of(self, cluster: str) -> WindowState:
        view = self.fleet.clusters.get(cluster)
        return window_state(view.windows if view is not None else (), self.now)

    def soak(self, pending: Collection[AppKey]) -> None:
        """Take note of the edges that hold by now, and have to soak."""
        for key in pending:
            node = self.graph.get(key)
            if node is not None and soaks(node):
                self.soaking.look(node, self.fleet, self.now)

    def soaked(self, node: AppNode) -> Blocker | None:
        return self.soaking.blocker(node, self.now)

    @property
    def rules(self) -> tuple[Gate, ...]:
        return (self.window, self.gate, self.soaked)

    def take(self, node: AppNode) -> None:
        own = self.gates.get(node.owner or "")
        if own is not None:
            own.take(node)

    def waiting(self, pending: Collection[AppKey]) -> dict[AppKey, Blocker]:
        """Those that a window holds, or a wave that someone has to approve."""
        found = {}
        for key in pending:
            node = self.graph.get(key)
            if node is not None and (held := self.window(node) or self._unapproved(node)) is not None:
                found[key] = held
        return found

    def back(self) -> dict[AppKey, Blocker]:
        """Those that went, and that a wave which fails takes back."""
        found = {}
        for key, judged in self.judged.items():
            members = [node for each in self.graph.of_set(key) if (node := self.graph.get(each)) is not None]
            taken = rolled_back(self.rollouts[key][0], judged, members)
            halted = [wave for wave in judged.waves if wave.status.state is WaveState.HALTED]
            for node in taken:
                words = f"it goes, and then back to its last good release: {halted[0].reason}"
                found[node.key] = Blocker(WAVE, f"{key}/{halted[0].status.name}", words)
        return found

    def _unapproved(self, node: AppNode) -> Blocker | None:
        judged = self.judged.get(node.owner or "")
        index = judged.wave_of.get(node.key) if judged is not None else None
        if judged is None or index is None or index >= len(judged.waves):
            return None
        asks = judged.waves[index].status.state is WaveState.AWAITING_APPROVAL
        return self.gate(node) if asks else None

    def open(self, pending: Collection[AppKey]) -> str:
        """Do the one thing that a person or the clock would do next; what that was, or empty for nothing."""
        for key, judged in sorted(self.judged.items()):
            for wave in judged.waves:
                if wave.status.state is WaveState.AWAITING_APPROVAL:
                    self.approvals.setdefault(key, set()).add(approval_of(wave.status))
                    return f"approval of wave {wave.status.name} of {key}"
        moments = [
            (wave.expires, f"soak of wave {wave.status.name} of {key}")
            for key, judged in self.judged.items()
            for wave in judged.waves
            if wave.status.state is WaveState.SOAKING and wave.expires is not None
        ]
        for name in {node.cluster for key in pending if (node := self.graph.get(key)) is not None}:
            state = self.window_of(name)
            if not state.open and state.changes is not None:
                moments.append((state.changes, f"the maintenance window of {name} at {stamp(state.changes)}"))
        for key in pending:
            node = self.graph.get(key)
            until = self.soaking.until(node, self.now) if node is not None and soaks(node) else None
            if until is not None:
                moments.append((until, f"soak of what {key} waits for"))
        if not moments:
            return ""
        moment, words = min(moments)
        self.now = max(self.now, moment)
        return words


def rehearse(
    graph: AppGraph,
    *,
    rollouts: Mapping[SetKey, tuple[Rollout, str]],
    fleet: Fleet,
    now: datetime,
    paused: Collection[str] = (),
) -> Rehearsal:
    """Let everything go that may, in steps; `graph` is used up. `rollouts` are each set's with its `health.stale`."""
    stage = _Stage(graph, {key: each for key, each in rollouts.items() if each[0].waves}, fleet, now, paused)
    pending = {node.key for node in graph if node.released != node.target or node.target_problem}
    steps: list[Step] = []
    notes: list[str] = []
    waits: dict[AppKey, Blocker] = {}
    for _ in range(_MAX_STEPS):
        stage.judge()
        stage.soak(pending)
        releases = decide(pending, graph, fleet, gates=stage.rules, taken=stage.take)
        if releases:
            steps.append(Step(tuple(release.key for release in releases), tuple(notes)))
            notes.clear()
            for release in releases:
                pending.discard(release.key)
                node = graph.get(release.key)
                if node is not None:
                    graph.upsert(_healthy(replace(node, release=release.release), stage.now))
            continue
        waits |= {key: each for key, each in stage.waiting(pending).items() if key not in waits}
        opened = stage.open(pending) if pending else ""
        if not opened:
            break
        notes.append(opened)
    held = {key: blockers(key, graph, fleet, gates=stage.rules) for key in sorted(pending)}
    names = {
        app: judged.waves[min(index, len(judged.waves) - 1)].status.name
        for judged in stage.judged.values()
        for app, index in judged.wave_of.items()
    }
    open_later = {key: each for key, each in waits.items() if key not in held}
    return Rehearsal(tuple(steps), held, open_later, stage.back(), names, stage.inverted or {})


def _healthy(node: AppNode, now: datetime) -> AppNode:
    seen = Observed(
        release=node.release, digest=node.target, sync=SyncState.SYNCED, health=HealthState.HEALTHY
    )
    return replace(node, released=node.target, released_at=now, observed=seen, healthy_since=now)
