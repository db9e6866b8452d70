"""Rollups of sets and clusters, counted as their Applications move and written at a pace.

Nothing is recomputed over a whole set or fleet. A burst of reports costs a set a few writes: its first, one now and
then, and the one that says that all is well, which does not wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.api.applicationset import ApplicationSetSpec, HealthPolicy
from hub.core.derive import Problem, set_status
from hub.core.plan import stamp
from hub.core.rollup import SetRollup
from hub.core.sinks import with_sinks
from hub.operator import paths
from hub.operator.clusterstatus import cluster_status
from hub.operator.pace import Pace
from hub.operator.writer import changed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.contract.manifest import Manifest
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Fleet
    from hub.operator.context import HubContext
    from hub.operator.nodes import Nodes

log = logging.getLogger(__name__)
GAP = 0.25
"""Seconds between two writes of one object while it moves."""
_ATTEMPTED = 64
SPACING = 0.01
SET_SETTLE = 0.15
"""Seconds before a set says what is wrong with it."""
SET_UNDER_WAY = 1.0
"""Seconds before it says how far it is: the plan's own write says that it moves."""
UNDER_WAY = 3
"""So many times as long a Cluster waits while apps there only move on: a release that is through by then costs it no
write."""
RETRY = 1.0


class Rollups:
    """`on_root` is called with a root whose set has a new status; `rollout` says what a set's waves have come to."""

    def __init__(
        self,
        hub: HubContext,
        graph: AppGraph,
        nodes: Nodes,
        *,
        on_root: Callable[[AppKey], None],
        rollout: Callable[[str], Manifest | None],
    ) -> None:
        self._hub = hub
        self._settle = hub.settings.settle
        self._rollout = rollout
        self._graph = graph
        self._nodes = nodes
        self._on_root = on_root
        self._sets: dict[str, SetRollup] = {}
        self._clusters: dict[str, SetRollup] = {}
        self._roots: set[AppKey] = set()
        self._begun = asyncio.Event()
        self._set_pace = Pace(clock=time.monotonic, gap=GAP)
        self._cluster_pace = Pace(clock=time.monotonic, gap=GAP)

    def moved(self, before: AppNode | None, after: AppNode | None) -> None:
        """A node changed: its set's and its cluster's counts move with it."""
        for owner in _count(self._sets, "owner", before, after):
            counts = self._sets[owner]
            pause = SET_UNDER_WAY if counts.calm else SET_SETTLE
            self._set_pace.mark(owner, urgent=counts.done, after=pause)
        for cluster in _count(self._clusters, "cluster", before, after):
            counts = self._clusters[cluster]
            under_way = counts.calm and not counts.done
            self._cluster_pace.mark(cluster, after=self._settle * (UNDER_WAY if under_way else 1))
        for node in (before, after):
            if node is not None and node.part_of is not None:
                self._roots.add(node.part_of)

    def begin(self) -> None:
        """Every Application is counted: before that, a set would seem to have lost its children."""
        self._begun.set()

    def set_dirty(self, key: str) -> None:
        self._set_pace.mark(key)

    def cluster_dirty(self, name: str) -> None:
        """Its liveness moved: its own status, and every set with children there."""
        self._cluster_pace.mark(name)
        owners = {node.owner for key in self._graph.on_cluster(name) if (node := self._graph.get(key))}
        for owner in owners:
            if owner is not None:
                self._set_pace.mark(owner)

    @property
    def waiting(self) -> int:
        """Sets and clusters that are to be written."""
        return self._set_pace.waiting + self._cluster_pace.waiting

    def dirty_roots(self) -> set[AppKey]:
        """Roots whose parts moved since the last call."""
        roots, self._roots = self._roots, set()
        return roots

    async def run(self) -> None:
        """Write sets and clusters as they become due, until cancelled."""
        await self._begun.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(self._set_pace, self._write_set))
            tasks.create_task(self._keep(self._cluster_pace, self._write_cluster))

    async def _keep(self, pace: Pace, write: Callable[[str, Fleet], Awaitable[None]]) -> None:
        while True:
            keys = await pace.take()
            fleet = self._hub.fleet()
            failures = await self._hub.writer.all(write(key, fleet) for key in keys)
            for failure in failures:
                if not isinstance(failure, AxletreeError):
                    raise failure
                log.warning("a status is written again later: %s", failure)
            if failures:
                for key in keys:
                    pace.mark(key, after=RETRY)
            await asyncio.sleep(SPACING)

    async def _write_set(self, key: str, fleet: Fleet) -> None:
        obj = self._hub.caches.sets.get(key)
        if obj is None:
            self._set_pace.forget(key)
            return
        state = self._hub.state.set(key)
        current = obj.get("status") or {}
        if not (current or state.plan or state.problem):
            return  # new: its first plan is about to be written
        generation = int(obj["metadata"].get("generation", 0))
        rollup = self._sets.get(key) or SetRollup()
        wanted = set_status(
            rollup.result(stale=_stale(fleet), policy=_policy(obj)),
            generation=generation,
            planned=bool(state.plan) and (state.problem is not None or state.generation == generation),
            problem=_problem(state.problem, permanent=state.permanent),
            held=len(state.plan.get("held") or ()),
            conditions=current.get("conditions") or (),
            now=stamp(self._hub.now()),
        )
        with_sinks(wanted, obj, self._hub.caches.credentials.get, now=stamp(self._hub.now()))
        wanted["rollout"] = self._rollout(key)
        wanted["attempted"] = dict(list(state.attempted.items())[:_ATTEMPTED]) or None
        if state.generation != generation:
            # What it says is of the plan for an older spec: observedGeneration must not claim the new one.
            wanted["observedGeneration"] = state.generation or None
        patch = changed({name: current.get(name) for name in wanted if name in current}, wanted)
        if patch and await self._hub.writer.status(self._hub.caches.sets, paths.application_set(key), patch):
            root = self._nodes.root_of(obj)
            if root is not None:
                self._on_root(root)

    async def _write_cluster(self, name: str, fleet: Fleet) -> None:
        obj = self._hub.caches.clusters.get(name)
        view = fleet.clusters.get(name)
        if obj is None or view is None:
            self._cluster_pace.forget(name)
            return
        current = obj.get("status") or {}
        rollup = self._clusters.get(name) or SetRollup()
        wanted = cluster_status(
            obj,
            view,
            rollup.result(),
            lease=self._hub.lease(name),
            conditions=current.get("conditions") or (),
            now=stamp(self._hub.now()),
        )
        patch = changed({each: current.get(each) for each in wanted if each in current}, wanted)
        if patch:
            await self._hub.writer.status(self._hub.caches.clusters, f"{paths.CLUSTERS}/{name}", patch)


def _count(
    rollups: dict[str, SetRollup], name: str, before: AppNode | None, after: AppNode | None
) -> set[str]:
    """Move one node's count between parents, which `name` says; returns those concerned."""
    old, new = getattr(before, name, None), getattr(after, name, None)
    if old == new and old is not None:
        rollups.setdefault(old, SetRollup()).apply(before, after)
        return {old}
    if old is not None:
        rollups.setdefault(old, SetRollup()).apply(before, None)
    if new is not None:
        rollups.setdefault(new, SetRollup()).apply(None, after)
    return {each for each in (old, new) if each is not None}


def _stale(fleet: Fleet) -> list[str]:
    return [name for name, view in fleet.clusters.items() if view.stale]


def _policy(obj: Manifest) -> HealthPolicy:
    try:
        return ApplicationSetSpec.model_validate(obj["spec"]).health
    except ValueError:
        return HealthPolicy()


def _problem(problem: tuple[str, str] | None, *, permanent: bool) -> Problem | None:
    return None if problem is None else Problem(problem[0], problem[1], terminal=permanent)
