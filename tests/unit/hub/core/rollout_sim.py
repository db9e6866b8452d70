"""A set of one hub in memory: the core decides, and this applies its decisions as the operator does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState, SyncState
from hub.api.project import ProjectSpec
from hub.api.rollout import Rollout, WaveStatus
from hub.core.gates import WaveGate
from hub.core.graph import AppGraph
from hub.core.inversion import inversions
from hub.core.model import AppNode, ClusterView, Fleet, Observed
from hub.core.pins import BY_WAVE, rolled_back
from hub.core.rollout import blockers, decide
from hub.core.waves import Judgement, approval_of, judge, members_of, waves_of

if TYPE_CHECKING:
    from hub.core.members import Members

START = datetime(2030, 1, 1, tzinfo=UTC)
OWNER = "shop/shop"


@dataclass
class Sim:
    """Children are called by their key's last part; a child's cluster is `cluster_of[child]`."""

    rollout: Rollout
    stale_policy: str = "Wait"
    now: datetime = START
    graph: AppGraph = field(default_factory=AppGraph)
    fleet: Fleet = field(default_factory=lambda: Fleet(projects={"shop": ProjectSpec(trusted=True)}))
    records: dict[str, WaveStatus] = field(default_factory=dict)
    approvals: set[str] = field(default_factory=set)
    paused: bool = False
    plan: int = 0
    judged: Judgement = field(default_factory=lambda: Judgement(()))
    good: dict[str, list[str]] = field(default_factory=dict)
    """The releases of each child that were well."""
    members: Members = field(init=False)
    let_go: list[str] = field(default_factory=list)
    """Children in the order in which they were released, since the last `clear`."""

    def __post_init__(self) -> None:
        self.members = members_of(self.rollout, stale=self.stale_policy)

    # -- the world

    def cluster(self, name: str, **changes: Any) -> None:
        view = self.fleet.clusters.get(name) or ClusterView(name)
        view = replace(view, **changes)
        self.fleet = replace(self.fleet, clusters={**self.fleet.clusters, name: view})
        self.graph.upsert_cluster(view)

    def join(self, child: str, cluster: str, target: str, **fields: Any) -> None:
        """A child appears, in a plan of its own."""
        self.plan += 1
        fields.setdefault("labels", {"app": child})
        key = f"shop/{child}"
        self.graph.upsert(AppNode(key, cluster, owner=OWNER, target=target, plan=self.plan, **fields))

    def commit(self, target: str, children: list[str] | None = None) -> None:
        """A plan gives these children (all, where none is named) a new target."""
        self.plan += 1
        for node in list(self.graph):
            if (children is None or name_of(node) in children) and node.target != target:
                self.graph.upsert(replace(node, target=target, plan=self.plan, target_problem="", pinned=""))

    def refuse(self, child: str, problem: str) -> None:
        """Its new target cannot be rendered."""
        self.plan += 1
        self.graph.upsert(replace(self.node(child), target="", target_problem=problem, plan=self.plan))

    def report(self, child: str, health: HealthState, sync: SyncState = SyncState.SYNCED) -> None:
        """Its agent reports on what was released to it last."""
        node = self.node(child)
        seen = Observed(release=node.release, digest=node.released, sync=sync, health=health)
        self.graph.upsert(replace(node, observed=seen))
        if (health, sync) == (HealthState.HEALTHY, SyncState.SYNCED):
            self.good.setdefault(node.key, []).append(node.released)

    def wait(self, duration: timedelta) -> None:
        self.now += duration

    def approve(self, wave: str) -> None:
        self.approvals.add(approval_of(self.records[wave]))

    def restart(self) -> None:
        """The hub's process ends: what is kept is what is in status."""
        self.records = {
            name: WaveStatus.model_validate(record.to_json()) for name, record in self.records.items()
        }

    # -- the hub

    def step(self) -> None:
        """Judge and release until nothing moves."""
        while True:
            gate = self.gate()
            self.take_back()
            releases = decide(
                [node.key for node in self.graph], self.graph, self.fleet, gates=(gate,), taken=gate.take
            )
            if not releases:
                return
            for release in releases:
                node = self.graph.get(release.key)
                assert node is not None
                self.released(node)
                self.graph.upsert(
                    replace(node, released=release.digest, release=release.release, released_at=self.now)
                )

    def gate(self) -> WaveGate:
        self.members.keep(self.graph, self.fleet, self.now)
        self.judged = self._judge(self.members)
        afresh = self._judge(list(self.graph))
        assert self.judged == afresh, "what was kept of the members is not what they are"
        self.records = {wave.status.name: wave.status for wave in self.judged.waves}
        names = [wave.name for wave in waves_of(self.rollout)]
        inverted = inversions(self.graph, {OWNER: (self.judged.wave_of, names)})
        return WaveGate(OWNER, self.judged, inverted=inverted, paused=self.paused)

    def _judge(self, members: Members | list[AppNode]) -> Judgement:
        return judge(
            self.rollout,
            members,
            records=self.records,
            fleet=self.fleet,
            now=self.now,
            stale=self.stale_policy,
            approvals=self.approvals,
        )

    def take_back(self) -> None:
        """As the operator pins, and plans again."""
        back = {
            node.key: (node, good[-1])
            for node in rolled_back(self.rollout, self.judged, list(self.graph))
            if (good := [each for each in self.good.get(node.key, ()) if each != node.target])
        }
        self.plan += bool(back)
        for node, digest in back.values():
            self.graph.upsert(replace(node, target=digest, plan=self.plan, pinned=BY_WAVE))

    def released(self, node: AppNode) -> None:
        """For whoever watches; called before the child moves."""
        self.let_go.append(name_of(node))

    # -- questions

    def node(self, child: str) -> AppNode:
        node = self.graph.get(f"shop/{child}")
        assert node is not None, child
        return node

    def states(self) -> dict[str, str]:
        return {wave.status.name: wave.status.state.value for wave in self.judged.waves}

    def held(self, child: str) -> str:
        found = blockers(f"shop/{child}", self.graph, self.fleet, gates=(self.gate(),))
        return f"{found[0].edge}: {found[0].message}" if found else ""


def name_of(node: AppNode) -> str:
    return node.key.partition("/")[2]
