"""What people see: status of Applications, and the rollups of sets and clusters, written only where it changed.

Counts move with each node; nothing is recomputed over a whole set or fleet. A set's status is written by one task
a controller, which takes what became dirty while it wrote: a burst of reports costs a few writes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError
from agent.contract.health import HealthState
from agent.contract.names import HUB_CLUSTER
from hub.api.application import DeletionPolicy
from hub.api.applicationset import ApplicationSetSpec, HealthPolicy, SetHealth
from hub.core.derive import Problem, application_status, set_status
from hub.core.model import AppNode, Drop
from hub.core.rollout import blockers
from hub.core.rollup import SetRollup, root_health
from hub.operator import paths, views
from hub.operator.clusterstatus import cluster_status
from hub.operator.writer import changed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from agent.contract.manifest import Manifest
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, Fleet
    from hub.operator.context import HubContext
    from hub.operator.nodes import Nodes

log = logging.getLogger(__name__)
SPACING = 0.02
"""Seconds between two rounds of set and cluster writes: a burst is a few writes, one change is written at once."""
SETTLE = 1.0
"""Seconds before a cluster's own summary is written: a release that is through by then costs it no write."""
RETRY = 1.0


class Statuses:
    def __init__(
        self, hub: HubContext, graph: AppGraph, nodes: Nodes, *, on_root: Callable[[AppKey], None]
    ) -> None:
        self._hub = hub
        self._graph = graph
        self._nodes = nodes
        self._on_root = on_root
        self._sets: dict[str, SetRollup] = {}
        self._clusters: dict[str, SetRollup] = {}
        self._dirty_sets: set[str] = set()
        self._dirty_clusters: set[str] = set()
        self._dirty_roots: set[AppKey] = set()
        self._begun = asyncio.Event()
        self._sets_wake = asyncio.Event()
        self._clusters_wake = asyncio.Event()

    # -- counting

    def moved(self, before: AppNode | None, after: AppNode | None) -> None:
        """A node changed: its set's and its cluster's counts move with it."""
        for name, rollups, dirty in (
            ("owner", self._sets, self._dirty_sets),
            ("cluster", self._clusters, self._dirty_clusters),
        ):
            old, new = getattr(before, name, None), getattr(after, name, None)
            if old == new and old is not None:
                rollups.setdefault(old, SetRollup()).apply(before, after)
                dirty.add(old)
                continue
            if old is not None:
                rollups.setdefault(old, SetRollup()).apply(before, None)
                dirty.add(old)
            if new is not None:
                rollups.setdefault(new, SetRollup()).apply(None, after)
                dirty.add(new)
        for node in (before, after):
            if node is not None and node.part_of is not None:
                self._dirty_roots.add(node.part_of)
        self._sets_wake.set()
        self._clusters_wake.set()

    def begin(self) -> None:
        """Every Application is counted: before that, a set would seem to have lost its children."""
        self._begun.set()

    def set_dirty(self, key: str) -> None:
        self._dirty_sets.add(key)
        self._sets_wake.set()

    def cluster_dirty(self, name: str) -> None:
        """Its liveness moved: its own status, and every set with children there."""
        self._dirty_clusters.add(name)
        owners = {node.owner for key in self._graph.on_cluster(name) if (node := self._graph.get(key))}
        self._dirty_sets.update(owner for owner in owners if owner is not None)
        self._sets_wake.set()
        self._clusters_wake.set()

    def dirty_roots(self) -> set[AppKey]:
        """Roots whose parts moved since the last call."""
        roots, self._dirty_roots = self._dirty_roots, set()
        return roots

    # -- Applications

    async def write(self, keys: Iterable[AppKey], fleet: Fleet) -> None:
        """The controller's part of these Applications' status, each at most one patch."""
        nodes = [node for key in sorted(set(keys)) if (node := self._graph.get(key)) is not None]
        for failure in await self._hub.writer.all(self._write(node, fleet) for node in nodes):
            raise failure

    async def _write(self, node: AppNode, fleet: Fleet) -> None:
        obj = self._hub.caches.applications.get(node.key)
        if obj is None:
            return
        current = obj.get("status") or {}
        wanted = self._application(node, obj, fleet)
        wanted["blockedBy"] = wanted.get("blockedBy")
        wanted["history"] = _history(current, node, wanted["sync"]["revision"], self._hub.now())
        patch = changed({key: current.get(key) for key in wanted if key in current}, wanted)
        if patch:
            await self._hub.writer.status(self._hub.caches.applications, paths.application(node.key), patch)

    def _application(self, node: AppNode, obj: Manifest, fleet: Fleet) -> Manifest:
        target = self._hub.state.targets.get(node.key)
        parts: SetHealth | None = None
        if node.cluster == HUB_CLUSTER:
            node, parts = self._with_parts(node)
        status = application_status(
            node,
            blockers(node.key, self._graph, fleet),
            generation=int(obj["metadata"].get("generation", 0)),
            conditions=(obj.get("status") or {}).get("conditions") or (),
            now=stamp(self._hub.now()),
            revision=target.revision if target is not None else "",
            target_blob=target.blob if target is not None else "",
            transient=target is not None and not target.permanent,
        )
        if parts is not None:
            status["health"] |= {"counts": parts.counts, "worst": parts.worst}
        return status

    def _with_parts(self, node: AppNode) -> tuple[AppNode, SetHealth | None]:
        """A root as healthy as what it holds: the sets and Applications that its manifests include."""
        seen = node.observed
        sets = [
            SetHealth.model_validate((obj.get("status") or {}).get("health") or {})
            for obj in self._hub.caches.sets.values()
            if self._nodes.root_of(obj) == node.key
        ]
        apps = [part for key in self._graph.parts_of(node.key) if (part := self._graph.get(key)) is not None]
        if seen is None or not (sets or apps):
            return node, None
        health = root_health(seen, sets=sets, apps=apps)
        observed = replace(seen, health=HealthState(health.state), health_message=health.message)
        return replace(node, observed=observed), health

    # -- sets and clusters

    async def run(self) -> None:
        """Write sets and clusters as they become dirty, until cancelled."""
        await self._begun.wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(self._dirty_sets, self._sets_wake, self._write_set, spacing=SPACING))
            tasks.create_task(
                self._keep(
                    self._dirty_clusters,
                    self._clusters_wake,
                    self._write_cluster,
                    settle=SETTLE,
                    spacing=SPACING,
                )
            )

    async def _keep(
        self,
        dirty: set[str],
        wake: asyncio.Event,
        write: Callable[[str, Fleet], Awaitable[None]],
        *,
        settle: float = 0.0,
        spacing: float,
    ) -> None:
        """One kind's writes. `settle`: seconds to wait first, where what passes by itself need not be shown."""
        while True:
            await wake.wait()
            await asyncio.sleep(settle)
            wake.clear()
            keys = sorted(dirty)
            dirty.clear()
            fleet = self._hub.fleet()
            failures = await self._hub.writer.all(write(key, fleet) for key in keys)
            for failure in failures:
                if not isinstance(failure, AxletreeError):
                    raise failure
                log.warning("a status is written again later: %s", failure)
            await asyncio.sleep(RETRY if failures else spacing)
            if failures:
                dirty.update(keys)
                wake.set()

    async def _write_set(self, key: str, fleet: Fleet) -> None:
        obj = self._hub.caches.sets.get(key)
        if obj is None:
            return
        state = self._hub.state.set(key)
        current = obj.get("status") or {}
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

    # -- recorded decisions

    def tombstones(self, cluster: str) -> list[Drop]:
        """Every recorded decision about apps of this cluster, Held ones included."""
        found = []
        for key in self._graph.on_cluster(cluster):
            obj = self._hub.caches.applications.get(key)
            deletion = ((obj or {}).get("status") or {}).get("deletion")
            if deletion:
                moment = datetime.fromisoformat(deletion["decidedAt"])
                found.append(Drop(key, deletion["reason"], moment, deletion.get("held") or ""))
        return found

    def orphans(self, cluster: str) -> list[AppKey]:
        """Apps whose objects stay on the cluster when the app goes: their own policy, or their set's."""
        return [key for key in self._graph.on_cluster(cluster) if self._orphaned(key)]

    def _orphaned(self, key: AppKey) -> bool:
        obj = self._hub.caches.applications.get(key)
        if obj is None:
            return False
        if views.application_spec(obj).deletion.policy is DeletionPolicy.ORPHAN:
            return True
        owner = self._hub.caches.sets.get(views.owner_of(obj) or "")
        policy = ((owner or {}).get("spec") or {}).get("deletion") or {}
        return bool(policy.get("policy") == DeletionPolicy.ORPHAN.value)


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _stale(fleet: Fleet) -> list[str]:
    return [name for name, view in fleet.clusters.items() if view.stale]


def _policy(obj: Manifest) -> HealthPolicy:
    try:
        return ApplicationSetSpec.model_validate(obj["spec"]).health
    except ValueError:
        return HealthPolicy()


def _problem(problem: tuple[str, str] | None, *, permanent: bool) -> Problem | None:
    return None if problem is None else Problem(problem[0], problem[1], terminal=permanent)


def _history(
    current: dict[str, Any], node: AppNode, revision: str, now: datetime
) -> list[dict[str, Any]] | None:
    """The last ten releases, newest first."""
    history: list[dict[str, Any]] = list(current.get("history") or ())
    if node.release and node.released and (not history or history[0].get("release") != node.release):
        history.insert(
            0, {"release": node.release, "digest": node.released, "revision": revision, "at": stamp(now)}
        )
    return history[:10] or None
