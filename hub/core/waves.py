"""Waves: which children of a set may move, by what their waves have come to. Pure; time comes in as a value.

Level-triggered: every judgement starts from the children as they are and from the few facts that must outlive a
restart (`WaveStatus`). A wave opens when the one before is Done. Only what was observed at the target of the
current plan counts, so that an old green opens nothing. The state table of `docs/rollouts.md` is this module's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.health import HealthState
from hub.api.rollout import LAST_WAVE, Approval, OnFailure, Wave, WaveState, WaveStatus
from hub.core.graph import title
from hub.core.inversion import inversions
from hub.core.members import Members, placed
from hub.core.phases import Phase
from hub.core.plan import parse_duration, share_of, stamp
from hub.core.readiness import describe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hub.api.rollout import Rollout
    from hub.core.graph import AppGraph
    from hub.core.members import WaveMembers
    from hub.core.model import AppKey, AppNode, Fleet, SetKey

MAX_FAILURES = 64
_NAMED = 3
_OPEN = frozenset({WaveState.RUNNING, WaveState.DONE})


@dataclass(frozen=True, slots=True)
class WaveView:
    """One wave as it is judged now."""

    status: WaveStatus
    members: int
    in_flight: int
    slots: int
    """How many may be in flight at once."""
    reason: str
    """Why it lets nothing go, and later waves neither; empty where it does not stand in the way."""
    expires: datetime | None = None

    @property
    def lets_go(self) -> bool:
        return self.status.state in _OPEN


@dataclass(frozen=True, slots=True)
class Judgement:
    """All waves of one set, and when to look again though nothing happens."""

    waves: tuple[WaveView, ...]
    wave_of: Mapping[AppKey, int] = field(default_factory=dict)
    look_again: datetime | None = None
    warnings: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Of the rollout as a whole: that of its first wave that is not Done."""
        first = next(
            (wave.status.state for wave in self.waves if wave.status.state is not WaveState.DONE), None
        )
        if first is None:
            return "Done"
        return first.value if first in _STOPS else "Progressing"

    def reason_for(self, index: int) -> str:
        """What keeps the children of a wave from moving, its slots aside; empty for nothing."""
        for wave in self.waves[: index + 1]:
            if not wave.lets_go or (wave.status.state is WaveState.RUNNING and wave is not self.waves[index]):
                return wave.reason
        return ""


_STOPS = frozenset({WaveState.HALTED, WaveState.AWAITING_APPROVAL})


def waves_of(rollout: Rollout) -> tuple[Wave, ...]:
    """The waves of a set, the last one for whatever no other selects included."""
    return (*rollout.waves, Wave(name=LAST_WAVE))


def judge(
    rollout: Rollout,
    members: Members | Iterable[AppNode],
    *,
    records: Mapping[str, WaveStatus],
    fleet: Fleet,
    now: datetime,
    stale: str = "Wait",
    approvals: Collection[str] = (),
) -> Judgement:
    """What each wave has come to.

    `records` is what was kept of each wave; `stale` the set's policy for clusters that are not heard;
    `approvals` what people answered: see `approval_of`. Whoever judges again and again keeps `Members`.
    """
    waves = waves_of(rollout)
    if not isinstance(members, Members):
        nodes, members = members, members_of(rollout, stale=stale)
        members.keep(nodes, fleet, now)
    views: list[WaveView] = []
    ahead: WaveView | None = None
    for index, (wave, inside) in enumerate(zip(waves, members.waves, strict=True)):
        if wave.name == LAST_WAVE and not inside.nodes:
            continue
        record = _record(records.get(wave.name), wave, inside, approvals)
        scene = _Scene(wave, rollout.on_failure, record, inside, now)
        scene.look(members, index)
        view = scene.closed(ahead) if ahead is not None else scene.view()
        views.append(view)
        if ahead is None and view.status.state is not WaveState.DONE:
            ahead = view
    moments = [view.expires for view in views if view.expires is not None]
    warnings: tuple[str, ...] = ()
    rest = members.waves[-1]
    if rollout.waves and rest.nodes:
        some = ", ".join(title(node) for node in rest.first())
        warnings = (f"{len(rest.nodes)} children are in no wave, and go last: {some}",)
    return Judgement(tuple(views), members.wave_of, min(moments, default=None), warnings)


def contradictions(graph: AppGraph, rollouts: Mapping[SetKey, Rollout], fleet: Fleet) -> dict[AppKey, str]:
    """Children whose wave contradicts what they wait for, each with the path, of all sets together."""
    waves = {}
    for key, rollout in rollouts.items():
        if rollout.waves:
            nodes = [node for each in graph.of_set(key) if (node := graph.get(each)) is not None]
            all_waves = waves_of(rollout)
            waves[key] = placed(rollout, nodes, fleet, last=all_waves[-1]), [wave.name for wave in all_waves]
    return dict(inversions(graph, waves))


def members_of(rollout: Rollout, *, stale: str) -> Members:
    """None yet, for this rollout's waves."""
    return Members(rollout, last=waves_of(rollout)[-1], stale=stale)


def approval_of(status: WaveStatus) -> str:
    """What a person answers, so that the answer means exactly this: the wave, its plan, and what has failed."""
    failed = f"/{len(status.failures)}" if status.state is WaveState.HALTED else ""
    return f"{status.name}/{status.plan}{failed}"


def _record(
    last: WaveStatus | None, wave: Wave, inside: WaveMembers, approvals: Collection[str]
) -> WaveStatus:
    """What is kept of the wave, begun anew where a plan changed its children; with what people answered.

    One that was Done because it had no children yet has seen nothing.
    """
    plan = inside.changed_by
    empty = last is not None and last.state is WaveState.DONE and not last.counts
    if last is None or empty or plan > last.plan:
        last = WaveStatus(name=wave.name, plan=plan)
    record = last
    for answer in approvals:
        name, _, rest = answer.partition("/")
        number, _, failures = rest.partition("/")
        if name != wave.name or number != str(record.plan):
            continue
        record = record.model_copy(update={"approved": True})
        if failures.isdigit() and int(failures) > record.forgiven:
            record = record.model_copy(update={"forgiven": int(failures)})
    return record


@dataclass(slots=True)
class _Scene:
    """One wave with everything that decides about it."""

    wave: Wave
    on_failure: OnFailure
    record: WaveStatus
    inside: WaveMembers
    now: datetime
    counts: Counter[Phase] = field(default_factory=Counter)
    failed: list[AppKey] = field(default_factory=list)
    moving: list[AppNode] = field(default_factory=list)

    def look(self, members: Members, index: int) -> None:
        """Count the phases as they are at this moment."""
        self.counts.update(self.inside.final)
        failed = list(self.inside.failed)
        for key, cluster in self.inside.open.items():
            node = self.inside.nodes[key]
            phase = members.phase(index, node, cluster, self.now)
            self.counts[phase] += 1
            if phase is Phase.FAILED:
                failed.append(key)
            elif phase is Phase.IN_FLIGHT:
                self.moving.append(node)
        self.failed = sorted(failed)

    def closed(self, ahead: WaveView) -> WaveView:
        """While an earlier wave is not Done. What was Done stays so, and takes who comes late."""
        if self.record.state is WaveState.DONE and self.inside.nodes:
            return self._view(WaveState.DONE)
        return self._view(WaveState.WAITING, reason=ahead.reason)

    def view(self) -> WaveView:
        """While every earlier wave is Done."""
        name, over = self.wave.name, self._over()
        back = self.inside.back
        if not self.inside.nodes or (self.record.state is WaveState.DONE and not back):
            return self._view(WaveState.DONE)
        if back:
            reason = (
                f"wave {name} was rolled back: {back} of its children are held at their last good release"
            )
            return self._view(WaveState.HALTED, reason=reason)
        if over and self.on_failure is not OnFailure.CONTINUE:
            return self._view(WaveState.HALTED, reason=f"held by wave {name}: {over}", again=self._deadline())
        waiting, moving = self.counts[Phase.WAITING], self.counts[Phase.IN_FLIGHT]
        if waiting and self.wave.approval is Approval.MANUAL and not self.record.approved:
            reason = f"wave {name} waits for approval (`axle approve SET --wave {name}`)"
            return self._view(WaveState.AWAITING_APPROVAL, reason=reason, again=self._deadline())
        if waiting or moving:
            begun = self.record.started_at or stamp(self.now)
            reason = f"waits for wave {name} to be done"
            return self._view(WaveState.RUNNING, reason=reason, started_at=begun, again=self._deadline())
        return self._settled()

    def _settled(self) -> WaveView:
        """All have arrived, or failed within the budget."""
        if self.record.started_at and self.wave.soak:
            kept = self.record.soak_until
            until = _moment(kept) if kept else self.now + parse_duration(self.wave.soak)
            if self.now < until:
                text = stamp(until)
                reason = f"wave {self.wave.name} soaks until {text}"
                return self._view(WaveState.SOAKING, reason=reason, soak_until=text, again=_moment(text))
        return self._view(WaveState.DONE)

    def _over(self) -> str:
        """The failures in words where they are more than the budget and what was forgiven."""
        spent = self.counts[Phase.FAILED]
        budget = share_of(self.wave.failure_budget, len(self.inside.nodes)) + self.record.forgiven
        if spent <= budget:
            return ""
        named = "; ".join(self._failure(self.inside.nodes[key]) for key in self.failed[:_NAMED])
        more = f"; and {spent - _NAMED} more" if spent > _NAMED else ""
        return (
            f"{spent} of its {len(self.inside.nodes)} children failed, its budget is {budget}: {named}{more}"
        )

    def _failure(self, node: AppNode) -> str:
        words = describe(node)
        if node.observed is not None and node.observed.health is HealthState.PROGRESSING:
            words += f", and was to be Healthy within {self.wave.timeout}"
        return words

    def _deadline(self) -> datetime | None:
        """When the first child that is under way will have taken too long."""
        timeout = parse_duration(self.wave.timeout)
        moments = [node.released_at + timeout for node in self.moving if node.released_at is not None]
        return min(moments, default=None)

    def _view(
        self,
        state: WaveState,
        *,
        reason: str = "",
        started_at: str | None = None,
        soak_until: str = "",
        again: datetime | None = None,
    ) -> WaveView:
        status = self.record.model_copy(
            update={
                "state": state,
                "message": reason,
                "started_at": self.record.started_at if started_at is None else started_at,
                "soak_until": soak_until,
                "failures": self.failed[:MAX_FAILURES],
                "counts": {phase.value: count for phase, count in sorted(self.counts.items()) if count},
            }
        )
        size = len(self.inside.nodes)
        limit = self.wave.max_concurrent
        slots = size if limit is None else max(1, share_of(limit, size))
        return WaveView(status, size, self.counts[Phase.IN_FLIGHT], slots, reason, again)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
