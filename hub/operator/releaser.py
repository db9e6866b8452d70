"""The release loop: reports and targets come in, the graph decides, Assignments go out.

One task owns the graph. A step takes every key that was touched since the last one, updates their nodes, asks the
core what may be released now, and writes: first the targets, then one Assignment a cluster, then what people see.
A small event touches its own neighbourhood only.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_PIN, API_VERSION, HUB_NAMESPACE
from hub.core.assign import assignment_spec
from hub.core.graph import AppGraph
from hub.core.rollout import decide, passed
from hub.core.sealed import producers_of, recipients
from hub.operator import paths
from hub.operator.binder import Binder
from hub.operator.nodes import Nodes
from hub.operator.requests import adoptions, object_syncs, purges
from hub.operator.rollups import Rollups
from hub.operator.soaks import Soaking
from hub.operator.statuses import Statuses
from hub.operator.waves import Waves
from hub.operator.windows import Windows
from hub.operator.writer import CONFLICT, NOT_FOUND

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.core.model import AppKey, AppNode, Fleet
    from hub.operator.context import HubContext

log = logging.getLogger(__name__)
RETRY = 0.3


class Releaser:
    """Wake it with keys; `run` steps until cancelled."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self.graph = AppGraph()
        self.nodes = Nodes(hub)
        self.waves = Waves(hub, self.graph, on_due=self.kick, on_status=self._rollout_changed)
        self.binder = Binder(hub, self.graph, wake=self.wake)
        self._soaking = Soaking(hub, self.graph, on_due=self.wake)
        self._gates = (
            Windows(hub, on_open=self.wake_cluster).gate,
            *self.waves.gates,
            self._soaking.gate,
        )
        self.statuses = Statuses(hub, self.graph, self.nodes, gates=self._gates, soaks=self._soaking.status)
        self.rollups = Rollups(hub, self.graph, self.nodes, on_root=self.wake, rollout=self.waves.status)
        self._dirty: set[AppKey] = set()
        self._clusters: set[str] = set()
        self._resend: set[str] = set()
        self._in_flight: set[AppKey] = set()
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()

    def wake(self, key: AppKey) -> None:
        self._dirty.add(key)
        self.idle.clear()
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Applications and clusters that are to be looked at."""
        return len(self._dirty) + len(self._clusters)

    def kick(self) -> None:
        """Take a step even where no key was touched: a first one, for which statuses wait, or one for waves."""
        self.idle.clear()
        self._wake.set()

    def _rollout_changed(self, key: str) -> None:
        self.rollups.set_dirty(key)

    def wake_cluster(self, name: str) -> None:
        """Its liveness, acceptance or labels changed: every gate on it may have, too."""
        self._clusters.add(name)
        self.idle.clear()
        self._wake.set()

    def made_again(self, key: AppKey, obj: Manifest) -> None:
        """An Application that runs already, and of which the hub lost what was observed."""
        cluster = obj["spec"]["cluster"]
        if self.nodes.release_of(cluster, key)[0]:
            self._resend.add(cluster)
            self.wake_cluster(cluster)

    def restore(self) -> None:
        """After the caches have synced: what is assigned is what was released."""
        for obj in self._hub.caches.assignments.values():
            self.nodes.assigned(obj["metadata"]["name"], obj["spec"])

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys, self._dirty = self._dirty, set()
            clusters, self._clusters = self._clusters, set()
            try:
                with self._hub.meters.step("release"):
                    await self.step(keys, clusters)
            except ApiError as error:
                if not error.transient and error.status not in (NOT_FOUND, CONFLICT):
                    raise
                # Somebody wrote in between, the gateway mostly: that is how it is meant to be found out.
                log.log(
                    logging.DEBUG if error.status == CONFLICT else logging.WARNING,
                    "the step is tried again: %s",
                    error,
                )
                self.restore()
                await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                self._dirty |= keys | self._in_flight
                self._clusters |= clusters
                self._wake.set()
            if not self._wake.is_set():
                self.idle.set()

    async def step(self, keys: set[AppKey], clusters: set[str]) -> None:
        """One round over what was touched. Repeating it changes nothing."""
        fleet = self._hub.fleet()
        affected = set(keys) | self.rollups.dirty_roots()
        for name in clusters:
            affected |= self._refresh_cluster(name, fleet)
        gone: dict[AppKey, str] = {}
        for key in keys:
            affected |= self._refresh(key, gone)
        affected |= self.waves.judge(fleet)
        released = self._release(affected, fleet)
        self._in_flight = affected
        self.binder.look(affected | gone.keys(), fleet)
        await self._pin()
        self.rollups.begin()
        touched = {node.cluster for key in affected if (node := self.graph.get(key)) is not None}
        touched |= set(gone.values()) | clusters
        for key in affected:
            givers = (self.graph.get(each) for each in producers_of(key, self.graph))
            touched |= {node.cluster for node in givers if node is not None}
        moved = {key for key in affected if self._target_moved(key)} | set(released)
        await self.statuses.write(moved, fleet)
        rest = affected - moved
        for failure in await self._hub.writer.all(
            (self._assign(touched, fleet), self.statuses.write(rest, fleet))
        ):
            raise failure

    async def _pin(self) -> None:
        """Hold what a failed wave takes back: its plan gives it its last good release as a target."""
        pins, self.waves.pins = self.waves.pins, {}
        for failure in await self._hub.writer.all(
            self._hub.writer.merge(
                self._hub.caches.applications,
                paths.application(key),
                {"metadata": {"annotations": {ANNOTATION_PIN: value}}},
            )
            for key, value in pins.items()
        ):
            raise failure

    def _target_moved(self, key: AppKey) -> bool:
        """Whether its object does not say yet what its plan wants: targets are written before releases."""
        node, obj = self.graph.get(key), self._hub.caches.applications.get(key)
        if node is None or obj is None:
            return False
        return (((obj.get("status") or {}).get("sync") or {}).get("target") or "") != node.target

    def _refresh_cluster(self, name: str, fleet: Fleet) -> set[AppKey]:
        """Its labels are what edges select by; its liveness is what gates ask for."""
        view = fleet.clusters.get(name)
        moved = self.graph.remove_cluster(name) if view is None else self.graph.upsert_cluster(view)
        self.rollups.cluster_dirty(name)
        self.waves.cluster_moved(name)
        return moved | self.graph.touching_cluster(name)

    def _refresh(self, key: AppKey, gone: dict[AppKey, str]) -> set[AppKey]:
        """The node as the caches have it now; returns whose gates may have moved."""
        obj = self._hub.caches.applications.get(key)
        before = self.graph.get(key)
        if obj is None:
            if before is None:
                return set()
            gone[key] = before.cluster
            self._moved(before, None)
            return self.graph.remove(key)
        node = self.nodes.build(key, obj)
        self._moved(before, node)
        return self.graph.upsert(node)

    def _moved(self, before: AppNode | None, after: AppNode | None) -> None:
        self.rollups.moved(before, after)
        self.waves.moved(before, after)

    def _release(self, affected: set[AppKey], fleet: Fleet) -> dict[AppKey, AppNode]:
        """Let go of all that may go, and of what that opens in turn; returns the released nodes."""
        released: dict[AppKey, AppNode] = {}
        pending = set(affected)
        while pending:
            self._soaking.look(pending, fleet)
            releases = decide(pending, self.graph, fleet, gates=self._gates, taken=self.waves.taken)
            pending = set()
            for release in releases:
                before = self.graph.get(release.key)
                if before is None:
                    continue
                if before.forced:
                    self._audit(before, fleet)
                node = self.nodes.release(before, release)
                who = {"application": node.key, "applicationset": node.owner or "", "cluster": node.cluster}
                log.info("release %d goes out: %s", node.release, node.released[:12], extra=who)
                self._moved(before, node)
                pending |= self.graph.upsert(node)
                released[node.key] = node
            pending |= self.waves.judge(fleet)
            affected |= pending
        return released

    def _audit(self, node: AppNode, fleet: Fleet) -> None:
        """A release by force is told with what it passes; that it was one stays in the app's history."""
        gates = passed(node, self.graph, fleet, gates=self._gates)
        past = "; ".join(f"{each.edge}: {each.message}" for each in gates) or "nothing"
        who = {"application": node.key, "applicationset": node.owner or "", "cluster": node.cluster}
        log.warning(
            "%s lets %s go to %s by force, past %s", node.forced, node.key, node.target[:12], past, extra=who
        )

    async def _assign(self, clusters: set[str], fleet: Fleet) -> None:
        """One write a cluster, and only where the content differs."""
        writes = []
        for name in sorted(clusters):
            view = fleet.clusters.get(name)
            if view is None or (view.removing and not self.graph.on_cluster(name)):
                continue  # it is gone, or going with nothing left on it
            if view.behind:
                continue  # neither a release nor a deletion before a person has recovered this hub
            current = self._hub.caches.assignments.get(f"{HUB_NAMESPACE}/{name}")
            here, app = self.graph.on_cluster(name), self._hub.caches.applications.get
            spec = assignment_spec(
                name,
                self.graph,
                blobs=self.nodes.blobs(name),
                tombstones=self.statuses.tombstones(name),
                previous=(current or {}).get("spec"),
                epoch=self._hub.epoch,
                orphan=self.statuses.orphans(name),
                fleet=fleet,
                first=self._hub.fleet_view.next_seq(name),
                resend=name in self._resend,
                leaving=view.removing,
                recipients=recipients(name, self.graph, fleet),
                adoptions=adoptions(here, app, self._hub.state.targets),
                object_syncs=object_syncs(here, app),
                purges=purges(self._hub.caches.clusters.get(name)),
            )
            if spec is None:
                continue
            writes.append(self._write_assignment(name, current, spec))
        for failure in await self._hub.writer.all(writes):
            raise failure

    async def _write_assignment(self, name: str, current: Manifest | None, spec: dict[str, Any]) -> None:
        metadata: dict[str, Any] = {"name": name, "namespace": HUB_NAMESPACE}
        if current is not None:
            metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
        manifest = {"apiVersion": API_VERSION, "kind": "Assignment", "metadata": metadata, "spec": spec}
        try:
            await self._hub.writer.assignment(manifest)
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):
                await self._reread(name, current)
            raise
        self._resend.discard(name)
        self.nodes.assigned(name, spec)

    async def _reread(self, name: str, current: Manifest | None) -> None:
        """Someone wrote or deleted it since: the next try starts from what is there."""
        live = await self._hub.writer.get(f"{paths.ASSIGNMENTS}/{name}")
        if live is None:
            self._hub.caches.assignments.observe(current, None)
            self.nodes.assigned(name, {})
        else:
            self._hub.caches.assignments.observe(None, live)
