"""The hub's core alone: expansion, graph, plan and small events over fleets of 1,000, 10,000 and 100,000 children.

Each step is the hub's own, called as its plan pass and its release loop call it; only what leaves the process is
answered from memory. A fleet ten times as large may take ten times as long to plan. What happens to one cluster or
one child must not cost more in it: where it does, the run fails.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from hub.api.applicationset import DeletionSpec
from hub.core.plan import plan_children
from hub.core.rollout import decide
from hub.core.templating import TemplateEngine
from hub.operator.decisions import Decisions
from hub.operator.planloop import PlanLoop
from hub.operator.planner import Planner
from hub.operator.windows import Windows
from tests.bench.marks import BenchFailed
from tests.bench.rows import (
    ENGINE_EXPAND,
    ENGINE_GRAPH,
    ENGINE_LABEL,
    ENGINE_MEMORY,
    ENGINE_PLAN,
    ENGINE_RELABEL,
    ENGINE_RELEASE,
    ENGINE_REPORT,
    Sample,
)
from tests.bench.world import APPS, CANARIES, NAMESPACE, REGIONS, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.core.expansion import Child
    from hub.core.model import AppNode, Fleet
    from hub.operator.releaser import Releaser
    from hub.operator.state import Target
    from tests.bench.options import Options
    from tests.bench.rows import Row

T = TypeVar("T")
clock = time.process_time
"""All of it is work of this process alone: what others take of the machine meanwhile is not in the figures."""
LARGE: tuple[Row, ...] = (ENGINE_EXPAND, ENGINE_GRAPH, ENGINE_PLAN)
SMALL: tuple[Row, ...] = (ENGINE_LABEL, ENGINE_RELABEL, ENGINE_REPORT, ENGINE_RELEASE)
ROWS: tuple[Row, ...] = (*LARGE, *SMALL, ENGINE_MEMORY)
SIZES = (1_000, 10_000, 100_000)
MEASURED = 10_000
"""The size that the targets are for; the others show the growth."""
GROWN = 2.5
"""A small event that costs so many times more in a fleet a hundred times as large has grown, whatever the caches."""
_EVENTS = 61
_STRIDE = 37
_PASSES = 31


@dataclass(slots=True)
class Cost:
    """What one size came to: seconds by row, and which parts they are the sum of."""

    children: int
    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    bytes_each: float = 0.0

    @property
    def words(self) -> str:
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.parts.items())


async def run(options: Options) -> dict[str, list[Sample]]:
    """The samples of all rows; where a small event costs more in a larger fleet, its sample says so as a failure."""
    costs = []
    for size in SIZES:
        options.note(f"engine: {size} children on {size // APPS} clusters")
        costs.append(await _measure(size, memory=size == MEASURED))
        gc.collect()
    for line in growth(costs):
        options.note(line)
    return {row.id: [_sample(row, costs)] for row in ROWS}


def growth(costs: list[Cost]) -> list[str]:
    """What each row costs at each size, and how much more than at the size before."""
    lines = []
    for row in (*LARGE, *SMALL):
        found = [(cost.children, cost.seconds[row.id]) for cost in costs if row.id in cost.seconds]
        steps = [f"{children}: {seconds * 1000:.2f} ms" for children, seconds in found]
        for at in range(1, len(found)):
            steps[at] += f" (x{found[at][1] / found[at - 1][1]:.1f})"
        lines.append(f"growth of {row.id}: {', '.join(steps)}")
    return lines


def _factor(row: Row, costs: list[Cost]) -> float:
    """How many times more it costs in the largest fleet than in the smallest."""
    found = [cost.seconds[row.id] for cost in costs if row.id in cost.seconds]
    return found[-1] / found[0]


def _sample(row: Row, costs: list[Cost]) -> Sample:
    cost = next(each for each in costs if each.children == MEASURED)
    if row is ENGINE_MEMORY:
        return Sample(cost.bytes_each / 1024)
    found = [each for each in costs if row.id in each.seconds]
    factor = _factor(row, costs)
    note = f"x{factor:.1f} from {found[0].children} to {found[-1].children} children"
    if row is ENGINE_PLAN:
        note = f"{note}; {cost.words}"
    seconds = cost.seconds[row.id]
    failed = row in SMALL and factor > GROWN
    return Sample(
        seconds if row.unit == "s" else seconds * 1000,
        note=note,
        failure=f"{row.id} costs more in a larger fleet: {note}, and {GROWN:g} is the most" if failed else "",
    )


async def _measure(size: int, *, memory: bool) -> Cost:
    """One fleet: from cold to every decision of a commit that changes all, then small events in it."""
    world, cost = World(size // APPS), Cost(size)
    children = _timed(cost, "expansion", lambda: world.expand(TemplateEngine()))
    if sum(map(len, children.values())) != size:
        raise BenchFailed(f"{sum(map(len, children.values()))} children instead of {size}")
    world.settle(children)
    _timed(cost, "comparison", lambda: _compare(world, children))
    before = dict(world.hub.state.targets)
    for key in before:
        world.aim(key, f"{key} of a new commit")
    releaser = _load(world, cost)
    fleet = world.hub.fleet()
    released = _timed(
        cost,
        "decisions",
        lambda: decide(before, releaser.graph, fleet, gates=releaser.waves.gates, taken=releaser.waves.taken),
    )
    if not 0 < len(released) < size:
        raise BenchFailed(f"{len(released)} of {size} children are let go at once")
    cost.seconds[ENGINE_EXPAND.id] = cost.parts["expansion"]
    cost.seconds[ENGINE_GRAPH.id] = cost.parts["graph"]
    cost.seconds[ENGINE_PLAN.id] = sum(cost.parts.values())
    _take_back(world, releaser, before)
    gc.collect()
    gc.freeze()
    try:
        await _Events(world, releaser, cost).run()
    finally:
        gc.unfreeze()
    if memory:
        cost.bytes_each = _memory(world) / size
    return cost


def _timed(cost: Cost, name: str, work: Callable[[], T]) -> T:
    start = clock()
    found = work()
    cost.parts[name] = clock() - start
    return found


def _compare(world: World, children: dict[str, tuple[Child, ...]]) -> None:
    """Every set's children with those that are there, as a plan pass does."""
    for key, found in children.items():
        plan = plan_children(
            {f"{NAMESPACE}/{child.name}": child.manifest for child in found},
            world.hub.caches.children_of(key),
            deletion=DeletionSpec(),
            now=world.now,
        )
        if len(plan.unchanged) + len(plan.update) != len(found):
            raise BenchFailed(f"set {key}: {len(plan.unchanged)} of {len(found)} children are as they were")


def _load(world: World, cost: Cost | None = None) -> Releaser:
    """A release loop that knows every child: what its first step does before it writes."""
    cost = cost or Cost(0)
    applications = world.hub.caches.applications.view()
    fleet = world.hub.fleet()
    releaser = world.releaser()
    nodes = _timed(
        cost, "nodes", lambda: [releaser.nodes.build(key, obj) for key, obj in applications.items()]
    )
    _timed(cost, "graph", lambda: _graph(releaser, nodes, fleet))
    _timed(cost, "waves", lambda: _count(releaser, nodes, fleet))
    return releaser


def _graph(releaser: Releaser, nodes: list[AppNode], fleet: Fleet) -> None:
    """All nodes and edges, every edge resolved, and the order."""
    for view in fleet.clusters.values():
        releaser.graph.upsert_cluster(view)
    for node in nodes:
        releaser.graph.upsert(node)
    for node in nodes:
        releaser.graph.edges_of(node.key)
    generations = len(releaser.graph.order())
    if generations != APPS:
        raise BenchFailed(f"the graph has {generations} generations instead of {APPS}")


def _count(releaser: Releaser, nodes: list[AppNode], fleet: Fleet) -> None:
    for node in nodes:
        releaser.rollups.moved(None, node)
        releaser.waves.moved(None, node)
    releaser.waves.judge(fleet)


def _take_back(world: World, releaser: Releaser, targets: dict[str, Target]) -> None:
    """As before the commit: everything Healthy at its target."""
    world.hub.state.targets |= targets
    for key, target in targets.items():
        before = releaser.graph.get(key)
        if before is None:
            raise BenchFailed(f"{key} is not in the graph")
        node = replace(before, target=target.digest, plan=target.plan)
        _moved(releaser, before, node)
    releaser.waves.judge(world.hub.fleet())


def _moved(releaser: Releaser, before: AppNode, node: AppNode) -> None:
    releaser.rollups.moved(before, node)
    releaser.waves.moved(before, node)
    releaser.graph.upsert(node)


def _memory(world: World) -> float:
    """Bytes of all nodes, the graph, the counts and the waves: what the core keeps beside the objects themselves."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        releaser = _load(world)
        gc.collect()
        found = tracemalloc.get_traced_memory()[0] - before
        del releaser
    finally:
        tracemalloc.stop()
    return float(found)


@dataclass(slots=True)
class _Events:
    """Small events in one fleet, each through the release loop's own step; the median of many counts."""

    world: World
    releaser: Releaser
    cost: Cost

    async def run(self) -> None:
        await self._relabelled(0)  # what is kept for later calls is filled by the first
        await self._reported(0)
        await self._released(0)
        for row, event in (
            (ENGINE_LABEL, self._relabelled),
            (ENGINE_REPORT, self._reported),
            (ENGINE_RELEASE, self._released),
        ):
            found = [await event(at) for at in range(1, _EVENTS + 1)]
            self.cost.seconds[row.id] = statistics.median(found)
        planner = Planner(self.world.hub, Decisions(self.world.hub, self.releaser.graph.order))
        loop = PlanLoop(self.world.hub, planner, on_planned=lambda _sets, _apps: None)
        await loop.once(set(self.world.hub.caches.sets), set())
        found = [await self._replanned(at, loop) for at in range(_PASSES)]
        self.cost.seconds[ENGINE_RELABEL.id] = statistics.median(found[1:])

    def _place(self, at: int) -> int:
        """One of the clusters, another each time; none of the canaries."""
        return CANARIES + at * _STRIDE % (self.world.clusters - CANARIES)

    async def _relabelled(self, at: int) -> float:
        """A person labels a cluster: the fleet, the graph, waves and gates, and what its children's statuses say."""
        start = clock()
        name = self.world.cluster(self._place(at), team=f"team{at}")
        await self.releaser.step(set(), {name})
        return clock() - start

    async def _replanned(self, at: int, loop: PlanLoop) -> float:
        """Its region changes, which its children's templates read: they are planned anew, and all that follows."""
        region = f"r{(self._place(at) + 1) % REGIONS}"
        start = clock()
        name = self.world.cluster(self._place(at), region=region)
        await self.releaser.step(set(), {name})
        done = await loop.once(set(), set(), clusters=frozenset({name}))
        await self.releaser.step(done.touched, set())
        passed = clock() - start
        if len(done.touched) != APPS:
            raise BenchFailed(f"{len(done.touched)} children of {name} are planned instead of {APPS}")
        return passed

    async def _reported(self, at: int) -> float:
        """A child is not well any more, and well again a moment later: the dearer of the two."""
        key = self.world.key(at % APPS, self._place(at))
        times = []
        for health, message in (("Degraded", "Deployment web: ImagePullBackOff"), ("Healthy", "")):
            start = clock()
            self.world.report(key, health=health, healthMessage=message)
            await self.releaser.step({key}, set())
            times.append(clock() - start)
        return max(times)

    async def _released(self, at: int) -> float:
        """The decision about one child whose target moved; then all that follows, which is not counted."""
        world, releaser = self.world, self.releaser
        key = world.key(at % APPS, self._place(at))
        before, obj = releaser.graph.get(key), world.hub.caches.applications.get(key)
        if before is None or obj is None:
            raise BenchFailed(f"{key} is not there")
        world.aim(key, f"{key} once more, {at}")
        node = releaser.nodes.build(key, obj)
        _moved(releaser, before, node)
        fleet = world.hub.fleet()
        releaser.waves.judge(fleet)
        gates = (Windows(world.hub, on_open=releaser.wake_cluster).gate, *releaser.waves.gates)
        start = clock()
        found = decide({key}, releaser.graph, fleet, gates=gates, taken=releaser.waves.taken)
        passed = clock() - start
        if not found:
            raise BenchFailed(f"{key} is not let go")
        await releaser.step({key}, set())
        world.report(key, release=node.release + 1, digest=node.target, health="Healthy")
        await releaser.step({key}, set())
        return passed
