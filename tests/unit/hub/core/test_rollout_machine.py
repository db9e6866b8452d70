"""Random fleets, reports, failures and edits: no order is ever broken, whatever happens between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.contract.health import HealthState, SyncState
from hub.api.applicationset import DeletionSpec
from hub.api.dependency import Dependency
from hub.api.rollout import Approval, OnFailure, Rollout, WaveState
from hub.core.phases import Phase, phase_of
from hub.core.plan import parse_duration, plan_children, share_of
from hub.core.waves import waves_of
from tests.effort import effort
from tests.unit.hub.core.rollout_sim import Sim, name_of

if TYPE_CHECKING:
    from hub.core.model import AppNode

CLUSTERS = [f"k{number}" for number in range(6)]
APPS = ["db", "api", "web"]
OF = st.sampled_from(CLUSTERS)
APP = st.sampled_from(APPS)


def on(app: str) -> Dependency:
    return Dependency.model_validate({"selector": {"matchLabels": {"app": app}}})


@st.composite
def rollouts(draw: Any) -> Rollout:
    waves = []
    for ring in range(draw(st.integers(1, 3))):
        wave: dict[str, Any] = {"name": f"w{ring}", "selector": {"matchLabels": {"ring": str(ring)}}}
        wave["failureBudget"] = draw(st.integers(0, 2) | st.sampled_from(["0%", "10%", "34%", "100%"]))
        if draw(st.booleans()):
            wave["maxConcurrent"] = draw(st.integers(1, 3) | st.sampled_from(["1%", "25%", "50%"]))
        if draw(st.booleans()):
            wave["soak"] = "10m"
        if draw(st.booleans()):
            wave["approval"] = "Manual"
        waves.append(wave)
    return Rollout.model_validate(
        {"waves": waves, "onFailure": draw(st.sampled_from(["Halt", "Continue", "Rollback"]))}
    )


class Watched(Sim):
    """Checks each release in the moment in which it is made, with words of its own for the rules."""

    arrived: set[tuple[str, int]]
    answered: set[tuple[str, int]]
    """Waves and plans that somebody approved."""

    def approve(self, wave: str) -> None:
        super().approve(wave)
        self.answered.add((wave, self.records[wave].plan))

    def report(self, child: str, health: HealthState, sync: SyncState = SyncState.SYNCED) -> None:
        super().report(child, health, sync)
        node = self.node(child)
        if (health, sync) == (HealthState.HEALTHY, SyncState.SYNCED):
            self.arrived.add((node.key, node.release))

    def released(self, node: AppNode) -> None:
        super().released(node)
        assert not self.paused, "a paused set lets nothing go"
        cluster = self.fleet.clusters[node.cluster]
        assert not cluster.stale
        if node.pinned:
            self._goes_back_last(node)
            return
        for edge in node.depends_on:
            assert edge.selector is not None
            wanted = edge.selector.match_labels["app"]
            meant = [
                each
                for each in self.graph
                if each.cluster == node.cluster and each.labels["app"] == wanted and not each.deleting
            ]
            assert meant, f"I6: {node.key} went and nothing is meant by its edge"
            for each in meant:
                seen = each.observed
                assert each.released == each.target, f"I6: {node.key} went before {each.key}"
                assert seen is not None
                assert (seen.release, seen.health) == (each.release, HealthState.HEALTHY), f"I6: {each.key}"
        self._wave_is_open(node)

    def _goes_back_last(self, node: AppNode) -> None:
        """What depends on it and goes back, too, has been applied before it."""
        app = node.labels["app"]
        for each in self.graph:
            meant = any(
                edge.selector and edge.selector.match_labels["app"] == app for edge in each.depends_on
            )
            if not meant or each.cluster != node.cluster or not each.pinned or each.deleting:
                continue
            seen = each.observed
            assert each.released == each.target, f"I6: {node.key} went back before {each.key}"
            assert seen is not None
            assert seen.release == each.release, f"I6: {node.key} went back before {each.key} had answered"

    def _wave_is_open(self, node: AppNode) -> None:
        waves = waves_of(self.rollout)
        index = self.judged.wave_of[node.key]
        under_way = 0
        for each in self.graph:
            phase = phase_of(
                each,
                self.fleet.clusters.get(each.cluster),
                timeout=parse_duration(waves[0].timeout),
                now=self.now,
                stale=self.stale_policy,
            )
            other = self.judged.wave_of.get(each.key, -1)
            arrived = (each.key, each.release) in self.arrived
            under_change = phase is Phase.WAITING or (phase is Phase.IN_FLIGHT and not arrived)
            if 0 <= other < index and each.release > 1 and under_change:
                raise AssertionError(
                    f"{node.key} of wave {index} went while {each.key} of wave {other} is not there"
                )
            under_way += other == index and phase is Phase.IN_FLIGHT
        limit = waves[index].max_concurrent
        size = sum(other == index for other in self.judged.wave_of.values())
        if limit is not None:
            assert under_way < max(1, share_of(limit, size)), f"{node.key} had no slot"
        self._nobody_is_asked(node, index)
        self._budgets_are_kept(node, index)

    def _members(self, index: int) -> list[AppNode]:
        return [each for each in self.graph if self.judged.wave_of.get(each.key) == index]

    def _nobody_is_asked(self, node: AppNode, index: int) -> None:
        """A wave that asks lets nothing go until it was answered for the plan that changed its running children."""
        wave = waves_of(self.rollout)[index]
        plan = max((each.plan for each in self._members(index) if each.release > 1), default=0)
        record = self.records.get(wave.name)
        done = record is not None and record.state is WaveState.DONE
        if wave.approval is Approval.MANUAL and not done:
            known = {number for name, number in self.answered if name == wave.name}
            assert any(number >= plan for number in known), (
                f"{node.key} went and nobody had approved {wave.name}"
            )

    def _budgets_are_kept(self, node: AppNode, index: int) -> None:
        """Whoever failed at the target of this plan, in its wave or one before, is within what may fail."""
        if self.rollout.on_failure is OnFailure.CONTINUE:
            return
        waves = waves_of(self.rollout)
        for at in range(index + 1):
            record = self.records.get(waves[at].name)
            if record is None or record.state is WaveState.DONE:
                continue
            inside = self._members(at)
            failed = sum(
                phase_of(
                    each,
                    self.fleet.clusters.get(each.cluster),
                    timeout=parse_duration(waves[at].timeout),
                    now=self.now,
                    stale=self.stale_policy,
                )
                is Phase.FAILED
                for each in inside
            )
            allowed = share_of(waves[at].failure_budget, len(inside)) + record.forgiven
            assert failed <= allowed, f"{node.key} went with {failed} failures in wave {waves[at].name}"


class Rollouts(RuleBasedStateMachine):
    sim: Watched

    @initialize(rollout=rollouts(), stale=st.sampled_from(["Wait", "Ignore", "Fail"]), rings=st.data())
    def begin(self, rollout: Rollout, stale: str, rings: st.DataObject) -> None:
        self.sim = Watched(rollout, stale_policy=stale)
        self.sim.arrived = set()
        self.sim.answered = set()
        self.commits = 0
        self.seen: dict[str, int] = {}
        for number, cluster in enumerate(CLUSTERS):
            self.sim.cluster(cluster, labels={"ring": str(rings.draw(st.integers(0, 3)))})
            if number < 3:
                self._join(cluster)
        self.sim.step()

    def _join(self, cluster: str) -> None:
        edges = {"db": (), "api": (on("db"),), "web": (on("api"),)}
        for app in APPS:
            child = f"{app}-{cluster}"
            if self.sim.graph.get(f"shop/{child}") is None:
                self.sim.join(child, cluster, f"t{self.commits}", labels={"app": app}, depends_on=edges[app])

    def _there(self, app: str, cluster: str) -> str:
        child = f"{app}-{cluster}"
        return child if self.sim.graph.get(f"shop/{child}") is not None else ""

    @rule(cluster=OF)
    def join(self, cluster: str) -> None:
        self._join(cluster)
        self.sim.step()

    @rule(children=st.lists(st.tuples(APP, OF), max_size=4))
    def commit(self, children: list[tuple[str, str]]) -> None:
        self.commits += 1
        there = [name for pair in children if (name := self._there(*pair))]
        self.sim.commit(f"t{self.commits}", there or None)
        self.sim.step()

    @rule(app=APP, cluster=OF)
    def revert(self, app: str, cluster: str) -> None:
        child = self._there(app, cluster)
        if child and self.sim.node(child).released:
            self.sim.commit(self.sim.node(child).released, [child])
            self.sim.step()

    @rule(app=APP, cluster=OF)
    def refuse(self, app: str, cluster: str) -> None:
        child = self._there(app, cluster)
        if child:
            self.sim.refuse(child, "Render: bad")
            self.sim.step()

    @rule(app=APP, cluster=OF, health=st.sampled_from(list(HealthState)), synced=st.booleans())
    def report(self, app: str, cluster: str, health: HealthState, synced: bool) -> None:  # noqa: FBT001
        child = self._there(app, cluster)
        if child and self.sim.node(child).release:
            self.sim.report(child, health, SyncState.SYNCED if synced else SyncState.SYNCING)
            self.sim.step()

    @rule(cluster=OF)
    def everything_there_is_well(self, cluster: str) -> None:
        for app in APPS:
            child = self._there(app, cluster)
            if child and self.sim.node(child).release:
                self.sim.report(child, HealthState.HEALTHY)
        self.sim.step()

    @rule(rounds=st.integers(1, 6))
    def all_goes_well_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            for name in list(self.sim.records):
                self.sim.approve(name)
            for node in list(self.sim.graph):
                if node.release:
                    self.sim.report(name_of(node), HealthState.HEALTHY)
            self.sim.wait(timedelta(minutes=10))
            self.sim.step()

    @rule(cluster=OF, stale=st.booleans())
    def silence(self, cluster: str, stale: bool) -> None:  # noqa: FBT001
        self.sim.cluster(cluster, stale=stale)
        self.sim.step()

    @rule(cluster=OF, ring=st.integers(0, 3))
    def relabel(self, cluster: str, ring: int) -> None:
        self.sim.cluster(cluster, labels={"ring": str(ring)})
        self.sim.step()

    @rule(minutes=st.sampled_from([1, 9, 10, 30]))
    def wait(self, minutes: int) -> None:
        self.sim.wait(timedelta(minutes=minutes))
        self.sim.step()

    @rule(wave=st.integers(0, 2))
    def approve(self, wave: int) -> None:
        if f"w{wave}" in self.sim.records:
            self.sim.approve(f"w{wave}")
            self.sim.step()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:  # noqa: FBT001
        self.sim.paused = paused
        self.sim.step()

    @rule()
    def restart(self) -> None:
        self.sim.restart()
        self.sim.step()

    @precondition(lambda self: bool(len(self.sim.graph)))
    @rule(keep=st.sets(st.tuples(APP, OF)))
    def i1_a_smaller_expansion_only_drops_what_its_budget_allows(self, keep: set[tuple[str, str]]) -> None:
        there = {
            node.key: {"metadata": {"name": name_of(node)}, "spec": {"cluster": node.cluster}}
            for node in self.sim.graph
        }
        kept = {key for pair in keep if (key := f"shop/{self._there(*pair)}") in there}
        plan = plan_children(
            {key: there[key] for key in kept},
            there,
            deletion=DeletionSpec(),
            now=self.sim.now,
        )
        named = {drop.key for drop in plan.drop} | {held.app for held in plan.held}
        assert named == there.keys() - kept, "I1: each one that is gone is decided about by name"
        assert len(plan.drop) <= max(2, len(there) // 5), "I1: beyond the budget nothing goes"

    @invariant()
    def i7_releases_only_count_up(self) -> None:
        for node in getattr(self, "sim", Sim(Rollout())).graph:
            assert node.release >= self.seen.get(node.key, 0), f"I7: {node.key} went back in time"
            self.seen[node.key] = node.release

    @invariant()
    def nothing_more_is_to_be_decided(self) -> None:
        if hasattr(self, "sim"):
            before = list(self.sim.let_go)
            self.sim.step()
            assert self.sim.let_go == before, "deciding again on the same state decides nothing"

    def teardown(self) -> None:
        """However it stands: once all is well, heard and approved, everything arrives."""
        if not hasattr(self, "sim"):
            return
        sim = self.sim
        sim.paused = False
        for cluster in CLUSTERS:
            sim.cluster(cluster, stale=False)
        self.commits += 1
        sim.commit(f"t{self.commits}")
        for _ in range(100):
            sim.step()
            for name in list(sim.records):
                sim.approve(name)
            sim.wait(timedelta(minutes=10))
            for node in list(sim.graph):
                if node.release:
                    sim.report(name_of(node), HealthState.HEALTHY)
        stuck = {name_of(node): sim.held(name_of(node)) for node in sim.graph if node.released != node.target}
        assert stuck == {}
        assert {replace(node).target for node in sim.graph} <= {f"t{self.commits}"}


TestRollouts = Rollouts.TestCase
TestRollouts.settings = effort(40, steps=40)
