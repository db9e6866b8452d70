"""The controller: events wake keys, two loops serve them.

The plan loop is the slow one: Git, expansion, rendering. The release loop is the fast one: reports and gates. They
share caches and memory, and each owns what it writes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError
from agent.contract.names import (
    ANNOTATION_PIN,
    ANNOTATION_REFRESH,
    FINALIZER,
    LABEL_CREDENTIALS,
    LABEL_VALUES,
)
from hub.gateway.liveness import AgentLease
from hub.operator import views
from hub.operator.admission import refusal
from hub.operator.decisions import Decisions
from hub.operator.deletion import Deletions
from hub.operator.fleetstatus import FleetStatuses
from hub.operator.fleetview import Seen, seen
from hub.operator.objects import key_of
from hub.operator.planloop import PlanLoop
from hub.operator.planner import Planner
from hub.operator.poller import Poller
from hub.operator.releaser import Releaser
from hub.operator.rulecheck import rule_problem
from hub.operator.setadmission import set_refusal
from hub.operator.state import Target
from hub.operator.webhooks import Webhooks
from hub.render.hubvalues import SOPS

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext

log = logging.getLogger(__name__)
INTAKE_WAIT = 5.0


class Controller:
    """Runs while it leads. Made anew for each term: what it holds in memory must not outlive its Lease."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self.releaser = Releaser(hub)
        decisions = Decisions(hub, self.releaser.graph.order)
        self.planner = Planner(hub, decisions)
        binder = self.releaser.binder
        self.plans = PlanLoop(hub, self.planner, on_planned=self._planned, bind=binder.bind)
        binder.ask = self.plans.ask_inputs
        self.deletions = Deletions(hub, self.plans, decisions, on_held=self.releaser.rollups.set_dirty)
        self.fleet_statuses = FleetStatuses(hub)
        self._views: dict[str, Seen] = {}
        self._poller = Poller(hub, self.plans)
        self.webhooks = Webhooks(hub, self.plans, self._poller)
        self._intake: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue(10_000)
        self._ready = False

    # -- intake: kopf and the reflectors wake keys here

    def wake(self, plural: str, key: str, resource_version: str) -> None:
        """From kopf: something about this object changed. Its content is read from our own cache."""
        self._intake.put_nowait((plural, key, resource_version))

    async def refusal(self, obj: Manifest) -> str:
        """Why this object of ours may not be written; empty where it may."""
        problem = rule_problem(obj)
        if problem or not self._ready:
            return problem
        match obj.get("kind"):
            case "Application":
                return refusal(self.releaser.graph, obj)
            case "ApplicationSet":
                return await set_refusal(self._hub, self.releaser.graph, obj)
            case _:
                return ""

    def alive(self) -> dict[str, Any]:
        return {"synced": self._ready, "sets": len(self._hub.caches.sets)}

    def depths(self) -> dict[str, int]:
        """What waits, by queue."""
        return {
            "intake": self._intake.qsize(),
            "plan": self.plans.waiting,
            "release": self.releaser.waiting,
            "rollups": self.releaser.rollups.waiting,
            "render": self._hub.pool.waiting,
        }

    # -- life

    async def run(self) -> None:
        """Until cancelled. Starts with a pass over everything, on complete caches only."""
        caches = self._hub.caches
        await caches.wait_synced()
        self._restore()
        caches.applications.subscribe(self._application_changed)
        caches.leases.subscribe(self._lease_changed)
        caches.leases.subscribe(self.webhooks.lease_moved)
        caches.sets.subscribe(self._set_changed)
        for held in (caches.values_secrets, caches.values_config_maps, caches.credentials):
            held.subscribe(self._values_changed)
        for plural, objects in (
            ("clusters", caches.clusters),
            ("clustersets", caches.cluster_sets),
            ("projects", caches.projects),
            ("applicationsets", caches.sets),
        ):
            objects.subscribe(functools.partial(self._heard, plural))
        fleet = self._hub.fleet()
        self._views = {key: seen(fleet, key) for key in (*fleet.clusters, *fleet.cluster_sets)}
        self._ready = True
        self.plans.ask_everything()
        for key in caches.applications:
            self.releaser.wake(key)
        self.releaser.kick()
        for name in caches.clusters:
            self.releaser.wake_cluster(name)
            self.deletions.wake_cluster(name)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_intake(), name="intake")
            tasks.create_task(self.plans.run(), name="plan")
            tasks.create_task(self.releaser.run(), name="release")
            tasks.create_task(self.releaser.rollups.run(), name="rollups")
            tasks.create_task(self.fleet_statuses.run(), name="fleet-statuses")
            tasks.create_task(self.deletions.run(), name="deletions")
            tasks.create_task(self._poller.run(), name="poll")
            tasks.create_task(self.webhooks.run(), name="webhooks")
            tasks.create_task(self._full_pass(), name="full-pass")
            tasks.create_task(self._watch_silence(), name="silence")

    def _restore(self) -> None:
        """What earlier processes decided: targets from status, releases from Assignments."""
        for key, obj in self._hub.caches.applications.view().items():
            target = Target.from_status(obj)
            if target is not None:
                self._hub.state.targets[key] = target
        for key, obj in self._hub.caches.sets.view().items():
            state = self._hub.state.set(key)
            state.plan = (obj.get("status") or {}).get("plan") or {}
            state.revisions = dict(state.plan.get("revisions") or {})
            state.refresh = _refresh_of(obj)
            state.generation = int((obj.get("status") or {}).get("observedGeneration") or 0)
        self.releaser.restore()

    async def _full_pass(self) -> None:
        """A lost event costs at most this long."""
        while True:
            await asyncio.sleep(self._hub.settings.full_pass * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            self.plans.ask_everything()
            for key in self._hub.caches.applications:
                self.releaser.wake(key)

    async def _watch_silence(self) -> None:
        """A cluster may become Stale with no event at all: when the gateway that kept its Lease is gone, too."""
        stale: frozenset[str] = frozenset()
        while True:
            await asyncio.sleep(self._hub.settings.stale_after / 4 * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            now = frozenset(name for name, view in self._hub.fleet().clusters.items() if view.stale)
            for name in now ^ stale:
                self.releaser.wake_cluster(name)
            stale = now

    # -- events

    async def _serve_intake(self) -> None:
        while True:
            plural, key, version = await self._intake.get()
            reflector = self._hub.caches.reflectors[plural]
            namespace, _, name = key.rpartition("/")
            try:
                await reflector.wait_version((namespace, name), version, INTAKE_WAIT)
            except (TimeoutError, AxletreeError):
                log.debug("the cache of %s did not reach %s in time", plural, version)
            self._dispatch(plural, key)

    def _dispatch(self, plural: str, key: str) -> None:
        match plural:
            case "applicationsets":
                self._dispatch_set(key)
            case "clusters":
                self.releaser.wake_cluster(key)
                self.deletions.wake_cluster(key)
                self._fleet_changed(key)
            case "clustersets":
                self._fleet_changed(key)
            case "projects":
                namespace = key.partition("/")[0]
                self.fleet_statuses.wake()
                for key_ in self.releaser.graph.touching_namespace(namespace):
                    self.releaser.wake(key_)
                for each in [each for each in self._hub.caches.sets if each.startswith(f"{namespace}/")]:
                    self.plans.ask_set(each)
                for each, obj in self._hub.caches.applications.view().items():
                    if each.startswith(f"{namespace}/") and views.owner_of(obj) is None:
                        self.plans.ask_app(each)

    def _dispatch_set(self, key: str) -> None:
        """Our own status writes come back as events, too: only what a person changed is planned."""
        obj = self._hub.caches.sets.get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self.deletions.wake_set(key)
            return
        if FINALIZER not in (obj["metadata"].get("finalizers") or []):
            self.deletions.wake_set(key)
        state = self._hub.state.set(key)
        refresh = _refresh_of(obj)
        if refresh != state.refresh:
            self.plans.ask_set(key, fresh=True)
        elif obj["metadata"].get("generation") != state.generation or self.planner.approval_pending(obj):
            self.plans.ask_set(key)
        self.releaser.rollups.set_dirty(key)

    def _fleet_changed(self, key: str) -> None:
        """Plan anew where something moved that expansion or rendering reads; our own status writes do not."""
        self.fleet_statuses.wake()
        fleet = self._hub.fleet()
        before, now = self._views.get(key, Seen()), seen(fleet, key)
        if before == now:
            return
        self._views[key] = now
        if before.cluster_set != now.cluster_set or before.address(key) != now.address(key):
            self.plans.ask_everything()
        else:
            self.plans.ask_cluster(key)

    def _planned(self, sets: set[str], applications: set[str]) -> None:
        for key in applications:
            self.releaser.wake(key)
        for key in sets:
            self.releaser.rollups.set_dirty(key)
        self.fleet_statuses.wake()

    def _values_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """What charts take values from, or keys of encrypted files: all of that project is looked at again."""
        metadata = (new or old or {}).get("metadata") or {}
        labels = metadata.get("labels") or {}
        if LABEL_VALUES not in labels and labels.get(LABEL_CREDENTIALS) != SOPS:
            return
        namespace = metadata["namespace"]
        for key in self._hub.caches.sets:
            if key.startswith(f"{namespace}/"):
                self.plans.ask_set(key)
        for key, app in self._hub.caches.applications.view().items():
            if key.startswith(f"{namespace}/") and views.owner_of(app) is None:
                self.plans.ask_app(key)

    def _set_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is None:
            return
        if new is None or "deletionTimestamp" in new["metadata"]:
            self.deletions.wake_set(key_of(obj))
        if old is None or new is None or _asked_of(old) != _asked_of(new):
            self.releaser.waves.set_moved(key_of(obj))

    def _heard(self, plural: str, old: Manifest | None, new: Manifest | None) -> None:
        """The reflectors' own ear: kopf may miss what was deleted while it listed, or go deaf altogether."""
        obj = new or old
        if obj is not None and (old is None or new is None or _asked_of(old) != _asked_of(new)):
            self._dispatch(plural, key_of(obj))

    def _application_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is None:
            return
        key = key_of(obj)
        self.releaser.wake(key)
        if old is None and new is not None:
            self._application_appeared(key, new)
        if new is None or "deletionTimestamp" in new["metadata"] or _removed(new):
            self.deletions.wake_app(key, owner=views.owner_of(obj))
        if new is None:
            for each in self.planner.waiting_for_a_name(key.partition("/")[0]):
                self.plans.ask_set(each)
            return
        pinned = old is not None and _pin_of(old) != _pin_of(new)
        if views.owner_of(new) is not None:
            generation = new["metadata"].get("generation")
            if pinned or (old is not None and old["metadata"].get("generation") != generation):
                self.plans.ask_set(views.owner_of(new) or "")
            return
        state = self._hub.state.app(key)
        if _refresh_of(new) != state.refresh:
            self.plans.ask_app(key, fresh=True)
        elif pinned or new["metadata"].get("generation") != state.generation:
            self.plans.ask_app(key)

    def _application_appeared(self, key: str, obj: Manifest) -> None:
        self.planner.seen(views.owner_of(obj) or "", key.partition("/")[2])
        if not (obj.get("status") or {}).get("observed"):
            self.releaser.made_again(key, obj)

    def _lease_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is None:
            return
        cluster = AgentLease.cluster_of(obj)
        if cluster in self._hub.caches.clusters:
            self.releaser.wake_cluster(cluster)


def _refresh_of(obj: Manifest) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_REFRESH, ""))


def _asked_of(obj: Manifest) -> tuple[object, ...]:
    """What a person changes; of a Cluster also whether it has joined, and what it serves."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    names = ("generation", "annotations", "labels", "deletionTimestamp")
    agent = status.get("agent") or {}
    told = (agent.get("kubernetesVersion"), agent.get("apiVersions"))
    return (*(metadata.get(name) for name in names), status.get("sealingKey"), *told)


def _pin_of(obj: Manifest) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_PIN, ""))


def _removed(obj: Manifest) -> bool:
    """The agent says that everything of it is gone."""
    return bool(((obj.get("status") or {}).get("observed") or {}).get("deleted"))
