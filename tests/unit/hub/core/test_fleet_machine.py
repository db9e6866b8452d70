"""Random fleets of several sets: waves in each, edges across sets and clusters, conditions, soaks, relabels, deletions.

Whatever happens between, no release is made before what it waits for (I6), what an expansion drops stays within its
budget (I1), and nothing goes back in time (I7). The rules are told here once more, in words of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.contract.health import HealthState, SyncState
from hub.api.applicationset import DeletionSpec
from hub.api.dependency import Dependency
from hub.api.project import ProjectSpec
from hub.api.rollout import Rollout, WaveStatus
from hub.core.assign import assignment_spec
from hub.core.gates import WaveGate
from hub.core.graph import AppGraph
from hub.core.inversion import WaveGraph, inversions
from hub.core.model import AppNode, ClusterView, Drop, Fleet, Observed
from hub.core.outputs import Exported
from hub.core.plan import plan_children
from hub.core.rollout import blockers, decide
from hub.core.soaks import Soaks, soaks
from hub.core.waves import Judgement, approval_of, judge, members_of, waves_of
from tests.effort import effort

START = datetime(2030, 1, 1, tzinfo=UTC)
CLUSTERS = [f"k{number}" for number in range(4)]
APPS = ["db", "api", "web"]
"""Each is a set. Most edges point to an earlier one; some back, to clusters by label, which closes cycles at times."""
OF, APP = st.sampled_from(CLUSTERS), st.sampled_from(APPS)
CONDITION = "dep.health == 'Healthy' && dep.outputs.size >= 2 && dep.cluster.startsWith('k')"
SOAK = timedelta(minutes=10)


def owner(app: str) -> str:
    return f"shop/{app}"


def key(app: str, cluster: str) -> str:
    return f"shop/{app}-{cluster}"


@st.composite
def edges(draw: Any, at: int) -> tuple[Dependency, ...]:
    """What an app waits for: other sets, here, everywhere or on clusters by label."""
    found = []
    for number, other in enumerate(APPS):
        back = number >= at
        if draw(st.sampled_from([True] * 6 + [False] if back else [True, False])):
            continue
        fields: dict[str, Any] = {"applicationSet": other, "optional": draw(st.booleans())}
        fields["ready"] = draw(st.sampled_from(["Healthy", CONDITION]))
        ring = {"selector": {"matchLabels": {"ring": draw(st.sampled_from("012"))}}}
        fields["clusters"] = draw(
            st.sampled_from([ring] if back else [{"scope": "Same"}, {"scope": "All"}, ring])
        )
        if draw(st.booleans()):
            fields["soak"] = "10m"
        found.append(Dependency.model_validate(fields))
    return tuple(found)


@st.composite
def rollouts(draw: Any) -> Rollout:
    rings = draw(st.permutations(["0", "1", "2"]))
    waves = []
    for number, ring in enumerate(rings[: draw(st.integers(0, 3))]):
        wave: dict[str, Any] = {"name": f"w{number}", "selector": {"matchLabels": {"ring": ring}}}
        waves.append(wave | {"failureBudget": draw(st.integers(0, 1))})
    return Rollout.model_validate({"waves": waves})


@dataclass
class Fleetwide:
    """The core over several sets, as the operator runs it."""

    rollouts: dict[str, Rollout]
    graph: AppGraph = field(default_factory=AppGraph)
    fleet: Fleet = field(default_factory=lambda: Fleet(projects={"shop": ProjectSpec(trusted=True)}))
    now: datetime = START
    records: dict[str, dict[str, WaveStatus]] = field(default_factory=dict)
    approvals: dict[str, set[str]] = field(default_factory=dict)
    judged: dict[str, Judgement] = field(default_factory=dict)
    healthy: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Since when an app is Healthy at its target and its outputs are as the condition asks, by release."""

    def __post_init__(self) -> None:
        self.waves = WaveGraph(self.graph)
        self.graph.links.subscribe(self.waves.linked)
        self.soaks = Soaks(self.graph)
        self.gates: dict[str, WaveGate] = {}

    def gate(self, node: AppNode) -> Any:
        waves = self.gates.get(node.owner or "")
        return (waves(node) if waves is not None else None) or self.soaks.blocker(node, self.now)

    def take(self, node: AppNode) -> None:
        if node.owner in self.gates:
            self.gates[node.owner].take(node)

    def look(self) -> None:
        names = {}
        for each, rollout in self.rollouts.items():
            nodes = [node for found in self.graph.of_set(each) if (node := self.graph.get(found)) is not None]
            members = members_of(rollout, stale="Wait")
            members.keep(nodes, self.fleet, self.now)
            for node in nodes:
                index = members.wave_of.get(node.key) if rollout.waves else None
                self.waves.place(node.key, each if index is None else (each, index))
            names[each] = [wave.name for wave in waves_of(rollout)]
            if rollout.waves:
                self.judged[each] = judge(
                    rollout,
                    members,
                    records=self.records.get(each, {}),
                    fleet=self.fleet,
                    now=self.now,
                    approvals=self.approvals.get(each, ()),
                )
                self.records[each] = {wave.status.name: wave.status for wave in self.judged[each].waves}
        inverted = self.waves.inverted(names)
        afresh = inversions(
            self.graph, {each: (found.wave_of, names[each]) for each, found in self.judged.items()}
        )
        assert inverted == afresh, "what is kept of waves and edges is not what they are"
        for each, found in self.judged.items():
            self.gates[each] = WaveGate(each, found, inverted=inverted)
        for node in self.graph:
            if soaks(node):
                self.soaks.look(node, self.fleet, self.now)

    def step(self, released: Any) -> None:
        """Judge and release until nothing moves; `released` is called with each before it moves."""
        while True:
            self.look()
            found = decide(
                [node.key for node in self.graph], self.graph, self.fleet, gates=(self.gate,), taken=self.take
            )
            if not found:
                return
            for release in found:
                node = self.graph.get(release.key)
                assert node is not None
                released(node)
                self.put(
                    replace(node, released=release.digest, release=release.release, released_at=self.now)
                )

    def put(self, node: AppNode) -> None:
        self.graph.upsert(node)
        self.note(node)

    def note(self, node: AppNode) -> None:
        """The oracle's own clock of how long each app has been well where its plan wants it."""
        well = _well(node)
        known = self.healthy.get(node.key)
        if not well:
            self.healthy.pop(node.key, None)
        elif known is None or known[0] != node.release:
            self.healthy[node.key] = (node.release, self.now)


def _well(node: AppNode) -> bool:
    seen = node.observed
    return (
        bool(node.target)
        and node.released == node.target
        and seen is not None
        and (seen.release, seen.sync, seen.health) == (node.release, SyncState.SYNCED, HealthState.HEALTHY)
    )


def _size(node: AppNode) -> int:
    return next((each.value for each in node.outputs if each.digest == node.released), 0)


class Fleets(RuleBasedStateMachine):
    @initialize(
        found=st.tuples(*(rollouts() for _ in APPS)),
        wants=st.tuples(*(edges(at) for at in range(len(APPS)))),
        rings=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    )
    def begin(self, found: tuple[Rollout, ...], wants: tuple[Any, ...], rings: list[int]) -> None:
        self.world = Fleetwide({owner(app): each for app, each in zip(APPS, found, strict=True)})
        self.edges = dict(zip(APPS, wants, strict=True))
        self.commits, self.seen, self.seqs = 0, dict[str, int](), dict[str, dict[str, Any]]()
        for cluster, ring in zip(CLUSTERS, rings, strict=True):
            self._cluster(cluster, labels={"ring": str(ring)})
        for cluster in CLUSTERS[:3]:
            self._join(cluster)
        self._step()

    # -- the oracle

    def _step(self) -> None:
        self.world.step(self._released)

    def _released(self, node: AppNode) -> None:
        """I6, in the moment of a release."""
        fleet = self.world.fleet
        assert not fleet.clusters[node.cluster].stale, f"{node.key} went to a cluster that is not heard"
        for edge in node.depends_on:
            meant = [each for each in self.world.graph if self._means(node, edge, each)]
            assert meant or edge.optional, f"I6: {node.key} went, and its edge means nothing"
            for each in meant:
                assert _well(each), f"I6: {node.key} went before {each.key}"
                assert not fleet.clusters[each.cluster].stale, f"I6: {each.key} is not heard"
                if edge.ready == CONDITION:
                    assert _size(each) >= 2, f"I6: what {node.key} asks of {each.key} is not true"
                if edge.soak is not None:
                    since = self.world.healthy[each.key][1]
                    assert self.world.now - since >= SOAK, f"I6: {each.key} has not soaked for {node.key}"
        self._waves(node)

    def _means(self, node: AppNode, edge: Dependency, other: AppNode) -> bool:
        if other.owner != f"shop/{edge.application_set}" or other.deleting:
            return False
        if edge.clusters.selector is not None:
            wanted = edge.clusters.selector.match_labels
            return wanted.items() <= self.world.fleet.clusters[other.cluster].labels.items()
        return edge.clusters.scope != "Same" or other.cluster == node.cluster

    def _waves(self, node: AppNode) -> None:
        judged = self.world.judged.get(node.owner or "")
        if judged is None or node.release == 0:
            return
        for each, index in judged.wave_of.items():
            other = self.world.graph.get(each)
            assert other is not None
            if index < judged.wave_of[node.key] and other.release and not other.target_problem:
                stale = self.world.fleet.clusters[other.cluster].stale
                gone = self.world.records[node.owner or ""]
                failed = any(each in wave.failures for wave in gone.values())
                waits = other.released != other.target
                assert not waits or failed or stale, f"{node.key} went while {each} of an earlier wave waits"

    # -- what happens

    def _cluster(self, name: str, **changes: Any) -> None:
        world = self.world
        view = replace(world.fleet.clusters.get(name) or ClusterView(name), **changes)
        world.fleet = replace(world.fleet, clusters={**world.fleet.clusters, name: view})
        world.graph.upsert_cluster(view)

    def _join(self, cluster: str) -> None:
        for app in APPS:
            if self.world.graph.get(key(app, cluster)) is None:
                self.world.put(
                    AppNode(
                        key(app, cluster),
                        cluster,
                        owner=owner(app),
                        target=f"t{self.commits}",
                        plan=self.commits,
                        depends_on=self.edges[app],
                        exports={"size": ()},
                    )
                )

    @rule(cluster=OF)
    def join(self, cluster: str) -> None:
        self._join(cluster)
        self._step()

    @rule(apps=st.sets(APP, min_size=1))
    def commit(self, apps: set[str]) -> None:
        """All its targets are known before its first release."""
        self.commits += 1
        for node in list(self.world.graph):
            if (node.owner or "").partition("/")[2] in apps and not node.deleting:
                self.world.put(replace(node, target=f"t{self.commits}", plan=self.commits, target_problem=""))
        self._step()

    @rule(app=APP, cluster=OF)
    def refuse(self, app: str, cluster: str) -> None:
        node = self.world.graph.get(key(app, cluster))
        if node is not None:
            self.world.put(replace(node, target="", target_problem="Render: bad"))
            self._step()

    @rule(
        app=APP,
        cluster=OF,
        health=st.sampled_from([HealthState.HEALTHY, HealthState.HEALTHY, *HealthState]),
        size=st.integers(1, 3),
    )
    def report(self, app: str, cluster: str, health: HealthState, size: int) -> None:
        node = self.world.graph.get(key(app, cluster))
        if node is not None and node.release:
            self._report(node, health, size)
            self._step()

    def _report(self, node: AppNode, health: HealthState, size: int) -> None:
        seen = Observed(node.release, node.released, sync=SyncState.SYNCED, health=health)
        outputs = (Exported("size", text=json.dumps(size), digest=node.released),)
        self.world.put(replace(node, observed=seen, outputs=outputs))

    @rule(minutes=st.sampled_from([0, 4, 6, 11]), size=st.sampled_from([1, 2, 2]))
    def all_goes_well_for_a_while(self, minutes: int, size: int) -> None:
        for node in list(self.world.graph):
            if node.release:
                self._report(node, HealthState.HEALTHY, size)
        self.world.now += timedelta(minutes=minutes)
        self._step()

    @rule(cluster=OF, ring=st.integers(0, 3))
    def relabel(self, cluster: str, ring: int) -> None:
        self._cluster(cluster, labels={"ring": str(ring)})
        self._step()

    @rule(cluster=OF, stale=st.booleans())
    def silence(self, cluster: str, stale: bool) -> None:  # noqa: FBT001
        self._cluster(cluster, stale=stale)
        self._step()

    @rule(app=st.sampled_from([0, 1, 2]), data=st.data())
    def edit_edges(self, app: int, data: st.DataObject) -> None:
        name = APPS[app]
        self.edges[name] = data.draw(edges(app))
        for node in list(self.world.graph):
            if node.owner == owner(name):
                self.world.put(replace(node, depends_on=self.edges[name]))
        self._step()

    @rule(app=APP)
    def approve(self, app: str) -> None:
        for record in self.world.records.get(owner(app), {}).values():
            self.world.approvals.setdefault(owner(app), set()).add(approval_of(record))
        self._step()

    @rule()
    def restart(self) -> None:
        """The process ends: what is kept is what statuses have."""
        world = self.world
        kept = {node.key: world.soaks.to_json(node.key) or [] for node in world.graph if soaks(node)}
        world.soaks = Soaks(world.graph)
        for each, raw in kept.items():
            world.soaks.restore(each, json.loads(json.dumps(raw)))
        for each, records in world.records.items():
            world.records[each] = {
                name: WaveStatus.model_validate(record.to_json()) for name, record in records.items()
            }
        self._step()

    @precondition(lambda self: bool(len(self.world.graph)))
    @rule(app=APP, kept=st.sets(OF))
    def i1_an_expansion_drops_within_its_budget(self, app: str, kept: set[str]) -> None:
        """What goes is decided about by name; dependents go first, on every cluster's Assignment."""
        world = self.world
        there = {
            node.key: {"metadata": {"name": node.name}, "spec": {"cluster": node.cluster}}
            for node in world.graph
            if node.owner == owner(app) and not node.deleting
        }
        wanted = {each: obj for each, obj in there.items() if obj["spec"]["cluster"] in kept}
        plan = plan_children(wanted, there, deletion=DeletionSpec(), now=world.now)
        named = {drop.key for drop in plan.drop} | {held.app for held in plan.held}
        assert named == there.keys() - wanted.keys(), "I1: each one that is gone is decided about by name"
        assert len(plan.drop) <= 2
        for drop in plan.drop:
            node = world.graph.get(drop.key)
            assert node is not None
            world.put(replace(node, deleting=True))
        self._step()

    @rule(cluster=OF)
    def deletion_goes_on(self, cluster: str) -> None:
        """I6 on deletion: a tombstone is sent once what depends on the app elsewhere is gone, where that goes, too."""
        world = self.world
        going = [node for node in world.graph if node.cluster == cluster and node.deleting]
        spec = assignment_spec(
            cluster,
            world.graph,
            blobs={node.key: f"blob-{node.released}" for node in world.graph},
            tombstones=[Drop(node.key, "Dropped", world.now) for node in going],
            previous=self.seqs.get(cluster),
            epoch=1,
            fleet=world.fleet,
            first=1,
        )
        if spec is None:
            return
        before = self.seqs.get(cluster, {"seq": 0})
        assert spec["seq"] > before["seq"], "I7: an Assignment only counts up"
        self.seqs[cluster] = spec
        for each in spec["tombstones"]:
            node = world.graph.get(each["app"])
            assert node is not None
            for dependent in world.graph.dependents(each["app"]):
                other = world.graph.get(dependent)
                waits = other is not None and other.deleting and other.released and other.cluster != cluster
                heard = other is not None and not world.fleet.clusters[other.cluster].stale
                together = world.graph.same_cycle(each["app"], dependent)
                assert not (waits and heard) or together, f"I6: {each['app']} goes before {dependent}"
        for each in spec["tombstones"]:
            node = world.graph.get(each["app"])
            if node is not None and not any(
                (other := world.graph.get(one)) is not None and other.deleting
                for one in world.graph.dependents(node.key)
            ):
                world.waves.place(node.key, None)
                world.graph.remove(node.key)
                world.soaks.forget(node.key)
                world.healthy.pop(node.key, None)
                self.seen.pop(node.key, None)
        self._step()

    # -- what always holds

    @invariant()
    def i7_releases_only_count_up(self) -> None:
        for node in self.world.graph if hasattr(self, "world") else ():
            assert node.release >= self.seen.get(node.key, 0), f"I7: {node.key} went back in time"
            self.seen[node.key] = node.release

    @invariant()
    def nothing_more_is_to_be_decided(self) -> None:
        if hasattr(self, "world"):
            self.world.step(lambda node: (_ for _ in ()).throw(AssertionError(f"{node.key} was left behind")))

    def teardown(self) -> None:
        """Once all is well, heard and approved, everything arrives, but for what waves and edges contradict."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for cluster in CLUSTERS:
            self._cluster(cluster, stale=False)
        self.commit(set(APPS))
        for _ in range(40):
            for app in APPS:
                self.approve(app)
            self.all_goes_well_for_a_while(11, 2)
        left = [node for node in world.graph if node.released != node.target and not node.deleting]
        stuck = {node.key: {each.edge for each in self._held(node)} for node in left}
        never = {"NoMatch", "Cycle", "WaveInversion"}
        assert not stuck or any(words & never for words in stuck.values()), f"it never arrives: {stuck}"

    def _held(self, node: AppNode) -> Any:
        return blockers(node.key, self.world.graph, self.world.fleet, gates=(self.world.gate,))


TestFleets = Fleets.TestCase
TestFleets.settings = effort(24, steps=25)
