"""What an event means for the loops: it wakes keys, and nothing else follows from it.

kopf and our own reflectors both tell, of Applications and Clusters the latter alone; any event may be lost or
repeated. Our own writes come back as events, too: those must not wake what wrote them.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from agent.contract.names import (
    ANNOTATION_PIN,
    ANNOTATION_REFRESH,
    FINALIZER,
    LABEL_CREDENTIALS,
    LABEL_VALUES,
)
from hub.core.sinks import is_sink
from hub.gateway.liveness import AgentLease
from hub.operator import views
from hub.operator.clusterstatus import ROLLED_UP
from hub.operator.fleetview import Seen, seen
from hub.operator.objects import key_of
from hub.render.hubvalues import SOPS

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext
    from hub.operator.deletion import Deletions
    from hub.operator.fleetstatus import FleetStatuses
    from hub.operator.planloop import PlanLoop
    from hub.operator.planner import Planner
    from hub.operator.releaser import Releaser
    from hub.operator.state import SetState

log = logging.getLogger(__name__)
INTAKE_WAIT = 5.0
_WAITING = 10_000


@dataclass(slots=True)
class Events:
    """`listen` once the caches are whole, then `run` until cancelled."""

    hub: HubContext
    releaser: Releaser
    planner: Planner
    plans: PlanLoop
    deletions: Deletions
    fleet_statuses: FleetStatuses
    _views: dict[str, Seen] = field(default_factory=dict)
    _intake: asyncio.Queue[tuple[str, str, str]] = field(default_factory=lambda: asyncio.Queue(_WAITING))

    @property
    def waiting(self) -> int:
        """Keys that kopf named and whose state has not arrived yet."""
        return self._intake.qsize()

    def wake(self, plural: str, key: str, resource_version: str) -> None:
        """From kopf: something about this object changed. Its content is read from our own cache."""
        self._intake.put_nowait((plural, key, resource_version))

    def listen(self) -> None:
        """Hear of every change from here on."""
        caches = self.hub.caches
        caches.applications.subscribe(self._application_changed)
        caches.leases.subscribe(self._lease_changed)
        caches.sets.subscribe(self._set_changed)
        for held in (caches.values_secrets, caches.values_config_maps, caches.credentials):
            held.subscribe(self._values_changed)
        caches.credentials.subscribe(self._sink_changed)
        caches.clusters.subscribe(self._cluster_changed)
        for plural, objects in (
            ("clustersets", caches.cluster_sets),
            ("projects", caches.projects),
            ("applicationsets", caches.sets),
        ):
            objects.subscribe(functools.partial(self._heard, plural))
        fleet = self.hub.fleet()
        self._views = {key: seen(fleet, key) for key in (*fleet.clusters, *fleet.cluster_sets)}

    async def run(self) -> None:
        """Serve what kopf names, until cancelled."""
        while True:
            plural, key, version = await self._intake.get()
            reflector = self.hub.caches.reflectors[plural]
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
            case "clustersets":
                self._fleet_changed(key)
            case "projects":
                namespace = key.partition("/")[0]
                self.fleet_statuses.wake()
                for key_ in self.releaser.graph.touching_namespace(namespace):
                    self.releaser.wake(key_)
                for each in [each for each in self.hub.caches.sets if each.startswith(f"{namespace}/")]:
                    self.plans.ask_set(each)
                for each, obj in self.hub.caches.applications.view().items():
                    if each.startswith(f"{namespace}/") and views.owner_of(obj) is None:
                        self.plans.ask_app(each)

    def _cluster_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Whatever others say of a cluster; what the rollups write of it wakes nothing."""
        obj = new or old
        if obj is None or (old is not None and new is not None and _told_of(old) == _told_of(new)):
            return
        name = key_of(obj)
        self.releaser.wake_cluster(name)
        self.deletions.wake_cluster(name)
        self._fleet_changed(name)

    def _dispatch_set(self, key: str) -> None:
        """Our own status writes come back as events, too: only what a person changed is planned."""
        obj = self.hub.caches.sets.get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self.deletions.wake_set(key)
            return
        if FINALIZER not in (obj["metadata"].get("finalizers") or []):
            self.deletions.wake_set(key)
        state = self.hub.state.set(key)
        if _news_to(state, obj):
            self.plans.ask_set(key, fresh=refresh_of(obj) != state.refresh)
        elif self.planner.approval_pending(obj):
            self.plans.ask_set(key)
        self.releaser.rollups.set_dirty(key)

    def _fleet_changed(self, key: str) -> None:
        """Plan anew where something moved that expansion or rendering reads; our own status writes do not."""
        self.fleet_statuses.wake()
        fleet = self.hub.fleet()
        before, now = self._views.get(key, Seen()), seen(fleet, key)
        if before == now:
            return
        self._views[key] = now
        if before.cluster_set != now.cluster_set or before.address(key) != now.address(key):
            self.plans.ask_everything()
        else:
            self.plans.ask_cluster(key)

    def _values_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """What charts take values from, or keys of encrypted files: all of that project is looked at again."""
        metadata = (new or old or {}).get("metadata") or {}
        labels = metadata.get("labels") or {}
        if LABEL_VALUES not in labels and labels.get(LABEL_CREDENTIALS) != SOPS:
            return
        namespace = metadata["namespace"]
        for key in self.hub.caches.sets:
            if key.startswith(f"{namespace}/"):
                self.plans.ask_set(key)
        for key, app in self.hub.caches.applications.view().items():
            if key.startswith(f"{namespace}/") and views.owner_of(app) is None:
                self.plans.ask_app(key)

    def _sink_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Whether a sink is there is told where it is named."""
        if not any(obj is not None and is_sink(obj) for obj in (old, new)):
            return
        self.fleet_statuses.wake()
        for key, obj in self.hub.caches.sets.view().items():
            if (obj.get("spec") or {}).get("notifications"):
                self.releaser.rollups.set_dirty(key)
        for key, obj in self.hub.caches.applications.view().items():
            if (obj.get("spec") or {}).get("notifications"):
                self.releaser.wake(key)

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
        # One that was made again may be seen before the old one is seen to be gone.
        if new is not None and (old is None or old["metadata"].get("uid") != new["metadata"].get("uid")):
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
        state = self.hub.state.app(key)
        if _news_to(state, new):
            self.plans.ask_app(key, fresh=refresh_of(new) != state.refresh)
        elif pinned:
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
        if cluster in self.hub.caches.clusters:
            self.releaser.wake_cluster(cluster)


def _news_to(state: SetState, obj: Manifest) -> bool:
    """Whether a person changed what no pass was asked for yet. A pass that fails is tried again by who made it."""
    metadata, refresh = obj["metadata"], refresh_of(obj)
    generation = int(metadata.get("generation", 0))
    asked = (str(metadata.get("uid", "")), generation, refresh)
    if (generation, refresh) == (state.generation, state.refresh) or asked == state.asked:
        return False
    state.asked = asked
    return True


def refresh_of(obj: Manifest) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_REFRESH, ""))


def _asked_of(obj: Manifest) -> tuple[object, ...]:
    """What a person changes."""
    metadata = obj["metadata"]
    return tuple(metadata.get(name) for name in ("generation", "annotations", "labels", "deletionTimestamp"))


def _told_of(cluster: Manifest) -> tuple[object, ...]:
    """What a person changes of a Cluster, and what the gateway and deletions say of it."""
    status = cluster.get("status") or {}
    said = {name: value for name, value in status.items() if name not in ROLLED_UP}
    metadata = cluster["metadata"]
    return (*_asked_of(cluster), metadata.get("finalizers"), metadata.get("uid"), said)


def _pin_of(obj: Manifest) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_PIN, ""))


def _removed(obj: Manifest) -> bool:
    """The agent says that everything of it is gone."""
    return bool(((obj.get("status") or {}).get("observed") or {}).get("deleted"))
