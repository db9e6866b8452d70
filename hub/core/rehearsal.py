"""What would be let go, in which order, if every child became Healthy: the release rule run ahead. Pure.

The same functions decide that the controller calls, so that a plan shows what then happens, waves and edges
solved together; what they would hold is Held here by the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState
from hub.api.rollout import WaveState
from hub.core.gates import WaveGate, inversions
from hub.core.model import Observed
from hub.core.rollout import blockers, decide
from hub.core.waves import approval_of, judge, waves_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hub.api.rollout import Rollout, WaveStatus
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Blocker, Fleet, SetKey
    from hub.core.waves import Judgement

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
    wave_of: Mapping[AppKey, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Stage:
    graph: AppGraph
    rollouts: Mapping[SetKey, tuple[Rollout, str]]
    fleet: Fleet
    now: datetime
    records: dict[SetKey, dict[str, WaveStatus]] = field(default_factory=dict)
    approvals: dict[SetKey, set[str]] = field(default_factory=dict)
    judged: dict[SetKey, Judgement] = field(default_factory=dict)
    inverted: dict[SetKey, Mapping[AppKey, str]] = field(default_factory=dict)
    gates: dict[SetKey, WaveGate] = field(default_factory=dict)

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
            if key not in self.inverted:
                names = [wave.name for wave in waves_of(rollout)]
                self.inverted[key] = inversions(self.graph, judged.wave_of, names)
            self.judged[key] = judged
            self.records[key] = {wave.status.name: wave.status for wave in judged.waves}
            self.gates[key] = WaveGate(key, judged, inverted=self.inverted[key])

    def gate(self, node: AppNode) -> Blocker | None:
        own = self.gates.get(node.owner or "")
        return None if own is None else own(node)

    def take(self, node: AppNode) -> None:
        own = self.gates.get(node.owner or "")
        if own is not None:
            own.take(node)

    def open(self) -> str:
        """Do the one thing that a person or the clock would do next; what that was, or empty for nothing."""
        for key, judged in sorted(self.judged.items()):
            for wave in judged.waves:
                if wave.status.state is WaveState.AWAITING_APPROVAL:
                    self.approvals.setdefault(key, set()).add(approval_of(wave.status))
                    return f"approval of wave {wave.status.name} of {key}"
        soaks = [
            (wave.expires, wave.status.name, key)
            for key, judged in self.judged.items()
            for wave in judged.waves
            if wave.status.state is WaveState.SOAKING and wave.expires is not None
        ]
        if not soaks:
            return ""
        moment, name, key = min(soaks)
        self.now = max(self.now, moment)
        return f"soak of wave {name} of {key}"


def rehearse(
    graph: AppGraph, *, rollouts: Mapping[SetKey, tuple[Rollout, str]], fleet: Fleet, now: datetime
) -> Rehearsal:
    """Let everything go that may, in steps; `graph` is used up. `rollouts` are each set's with its `health.stale`."""
    stage = _Stage(graph, {key: each for key, each in rollouts.items() if each[0].waves}, fleet, now)
    pending = {node.key for node in graph if node.released != node.target or node.target_problem}
    steps: list[Step] = []
    notes: list[str] = []
    for _ in range(_MAX_STEPS):
        stage.judge()
        releases = decide(pending, graph, fleet, gates=(stage.gate,), taken=stage.take)
        if releases:
            steps.append(Step(tuple(release.key for release in releases), tuple(notes)))
            notes.clear()
            for release in releases:
                pending.discard(release.key)
                node = graph.get(release.key)
                if node is not None:
                    graph.upsert(_healthy(replace(node, release=release.release), stage.now))
            continue
        opened = stage.open() if pending else ""
        if not opened:
            break
        notes.append(opened)
    held = {key: blockers(key, graph, fleet, gates=(stage.gate,)) for key in sorted(pending)}
    names = {
        app: judged.waves[min(index, len(judged.waves) - 1)].status.name
        for judged in stage.judged.values()
        for app, index in judged.wave_of.items()
    }
    return Rehearsal(tuple(steps), held, names)


def _healthy(node: AppNode, now: datetime) -> AppNode:
    seen = Observed(
        release=node.release, digest=node.target, sync=SyncState.SYNCED, health=HealthState.HEALTHY
    )
    return replace(node, released=node.target, released_at=now, observed=seen)
