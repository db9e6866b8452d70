"""Deletion: a tombstone exists only by a decision that is recorded here or by an expansion that succeeded.

A deletionTimestamp alone decides nothing: a terminating namespace, a removed CRD or a garbage collector sets it,
too. So a live read first shows that only this object was meant; everything else is Held, and stays where it runs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from agent.contract.errors import ApiError
from agent.contract.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE_REMOVE,
    API_VERSION,
    FINALIZER,
    GROUP,
    HUB_NAMESPACE,
)
from hub.core.breaker import HELD_BY_BREAKER
from hub.core.plan import stamp
from hub.gateway.liveness import lease_name
from hub.operator import paths, views
from hub.operator.decisions import breaker_now
from hub.operator.finalizers import Finalizers
from hub.operator.objects import key_of
from hub.telemetry.logs import about

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext
    from hub.operator.decisions import Decisions

log = logging.getLogger(__name__)
_NAMES = {"set": "applicationset", "app": "application", "cluster": "cluster"}
"""What a line of the log calls each."""


class Plans(Protocol):
    def ask_set(self, key: str, *, fresh: bool = False) -> None: ...

    def ask_everything(self) -> None: ...


class Deletions:
    """Serves keys one after the other; each step can be repeated."""

    def __init__(
        self, hub: HubContext, plans: Plans, decisions: Decisions, *, on_held: Callable[[str], None]
    ) -> None:
        """`on_held` gets a set whose status has to tell that its deletion, or its children's, is Held."""
        self._hub = hub
        self._plans = plans
        self._decisions = decisions
        self._on_held = on_held
        self._finalizers = Finalizers(hub.writer)
        self._queue: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()

    def wake_set(self, key: str) -> None:
        self._add("set", key)

    def wake_app(self, key: str, *, owner: str | None) -> None:
        self._add("app", key)
        if owner is not None:
            self._add("set", owner)

    def wake_cluster(self, name: str) -> None:
        self._add("cluster", name)

    def wake_going(self) -> None:
        """Everything whose deletion has begun: nobody tells what moved while no controller was there."""
        for key, obj in self._hub.caches.applications.view().items():
            if "deletionTimestamp" in obj["metadata"] or _decision(obj):
                self.wake_app(key, owner=views.owner_of(obj))
        for key, obj in self._hub.caches.sets.view().items():
            if "deletionTimestamp" in obj["metadata"]:
                self.wake_set(key)
        for name, obj in self._hub.caches.clusters.view().items():
            if "deletionTimestamp" in obj["metadata"]:
                self.wake_cluster(name)

    def _add(self, kind: str, key: str) -> None:
        self._queue[kind, key] = None
        self._wake.set()

    async def run(self) -> None:
        serve = {"set": self._set, "app": self._app, "cluster": self._cluster}
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, {}
            for failed in await self._hub.writer.all(
                self._serve(serve[kind], kind, key) for kind, key in batch
            ):
                raise failed

    async def _serve(self, step: Callable[[str], Any], kind: str, key: str) -> None:
        with about(**{_NAMES[kind]: key}):
            try:
                await step(key)
            except ApiError as error:
                log.warning("deletion of %s %s is tried again: %s", kind, key, error)
                asyncio.get_running_loop().call_later(1.0, self._add, kind, key)

    # -- sets

    async def _set(self, key: str) -> None:
        obj = self._hub.caches.sets.get(key)
        children = list(self._hub.caches.children_of(key).values())
        if obj is None:
            self._hub.state.sets.pop(key, None)
            return
        if "deletionTimestamp" not in obj["metadata"]:
            await self._finalizers.add(self._hub.caches.sets, paths.application_set(key), obj)
            if any("deletionTimestamp" in each["metadata"] for each in children):
                return
            if len(children) != (self._hub.state.set(key).plan.get("counts") or {}).get("children"):
                self._plans.ask_set(key)  # a child is gone: it is made again, or its deletion is done
            return
        if not children:
            await self._finalizers.drop(self._hub.caches.sets, paths.application_set(key), obj)
            return
        problem = await self._not_meant(obj, "applicationsets")
        if problem:
            self._hold(key, problem)
            return
        for each in children:
            self._add("app", key_of(each))
        await self._decide([each for each in children if not _decision(each)], "Deleted")

    # -- applications

    async def _app(self, key: str) -> None:
        obj = self._hub.caches.applications.get(key)
        if obj is None:
            self._hub.state.targets.pop(key, None)
            self._hub.state.apps.pop(key, None)
            return
        decision = _decision(obj)
        if "deletionTimestamp" in obj["metadata"] and _never_released(obj) and not self._runs(key, obj):
            await self._finalizers.drop(self._hub.caches.applications, paths.application(key), obj)
            return
        if decision.get("held") and self._approved(obj):
            await self._record([obj], decision["reason"], held="")
            return
        if decision and not decision.get("held"):
            observed = (obj.get("status") or {}).get("observed") or {}
            if observed.get("deleted") or not self._runs(key, obj):
                await self._finish(key, obj)
            return
        if "deletionTimestamp" in obj["metadata"] and not decision:
            await self._terminating(key, obj)

    async def _terminating(self, key: str, obj: Manifest) -> None:
        """Someone or something deleted it, and nothing is decided yet."""
        owner = views.owner_of(obj)
        problem = await self._not_meant(obj, "applications")
        lost = owner is not None and owner not in self._hub.caches.sets
        if lost and not problem:
            problem = await self._not_meant(obj, "applicationsets")
        if problem:
            # It stays: a set that had lost its children this way would look like one that has none to lose.
            if owner in self._hub.caches.sets:
                self._hold(str(owner), problem)
            log.warning("deletion of %s is held: %s", key, problem)
            await self._record([obj], "Deleted", held=problem)
            return
        if owner is None or (lost and await self._hub.writer.get(paths.application_set(str(owner))) is None):
            # A set goes after its children: one that is gone before was taken away by force, and wants nothing.
            await self._decide([obj], "Deleted")
        elif not lost:
            # Nobody decided that it goes: the set still wants it, and it is made again as it was.
            await self._finalizers.drop(self._hub.caches.applications, paths.application(key), obj)

    def _hold(self, key: str, problem: str) -> None:
        """A set, or a child that it wants, is going without anybody's decision: it stays, and says so."""
        state = self._hub.state.set(key)
        if state.problem != ("DeletionHeld", problem):
            log.warning("deletion in set %s is held: %s", key, problem)
        state.problem, state.permanent = ("DeletionHeld", problem), True
        self._on_held(key)

    def _approved(self, obj: Manifest) -> bool:
        """Whether a person approved this very decision: an older answer says nothing about a later question.

        `deletions` without a number, on a set that is being deleted, is for programs: whatever will be Held of it.
        """
        answer = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE, "")
        if answer == f"deletion/{_decision(obj)['decidedAt']}":
            return True
        owner = self._hub.caches.sets.get(views.owner_of(obj) or "")
        if owner is None or "deletionTimestamp" not in owner["metadata"]:
            return False
        return bool((owner["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE) == "deletions")

    def _runs(self, key: str, obj: Manifest) -> bool:
        """Whether its cluster's agent was ever told of it: only then must it answer."""
        cluster = obj["spec"]["cluster"]
        known = self._hub.caches.clusters.get(cluster)
        if known is None or not (known.get("status") or {}).get("sealingKey"):
            return False
        assignment = self._hub.caches.assignments.get(f"{HUB_NAMESPACE}/{cluster}")
        if assignment is None:
            return False
        spec = assignment["spec"]
        return any(entry["app"] == key for entry in (*spec.get("apps", ()), *spec.get("tombstones", ())))

    async def _finish(self, key: str, obj: Manifest) -> None:
        """Nothing of it is left on its cluster: the object may go."""
        path = paths.application(key)
        if "deletionTimestamp" not in obj["metadata"]:
            await self._hub.writer.remove(path, uid=obj["metadata"]["uid"])
        await self._finalizers.drop(self._hub.caches.applications, path, obj)

    # -- clusters

    async def _cluster(self, name: str) -> None:
        obj = self._hub.caches.clusters.get(name)
        if obj is None:
            return
        path = f"{paths.CLUSTERS}/{name}"
        if "deletionTimestamp" not in obj["metadata"]:
            await self._finalizers.add(self._hub.caches.clusters, path, obj)
            await self._drop_purges(path, obj)
            return
        if not await self._removal_meant(name, path, obj):
            return
        here = [each for each in self._hub.caches.applications.values() if each["spec"]["cluster"] == name]
        if not here:
            if await self._tell_removed(name, obj):
                asyncio.get_running_loop().call_later(1.0, self.wake_cluster, name)
            else:
                await self._forget_cluster(name, obj)
            return
        await self._decide([each for each in here if not _decision(each)], "ClusterRemoved")
        if (obj["metadata"].get("annotations") or {}).get(ANNOTATION_FORCE_REMOVE) == "true":
            for each in here:
                await self._finish(key_of(each), each)
        asyncio.get_running_loop().call_later(1.0, self.wake_cluster, name)

    async def _removal_meant(self, name: str, path: str, obj: Manifest) -> bool:
        """Whether somebody meant that this cluster goes. Nothing else sees it go before that is written down."""
        if (obj.get("status") or {}).get("removal"):
            return True
        problem = await self._not_meant(obj, "clusters")
        if problem:
            log.warning("removal of cluster %s is held: %s", name, problem)
            return False
        moment = {"removal": stamp(self._hub.now())}
        return await self._hub.writer.status(self._hub.caches.clusters, path, moment) is not None

    async def _tell_removed(self, name: str, obj: Manifest) -> bool:
        """Say so in the Assignment of a cluster that has no apps; whether that was to be said.

        Its agent has a moment to hear it: it ends then, instead of asking for ever to be let in again.
        """
        current = self._hub.caches.assignments.get(f"{HUB_NAMESPACE}/{name}")
        if current is None:
            live = await self._hub.writer.get(f"{paths.CLUSTERS}/{name}")
            going = live is not None and FINALIZER in (live["metadata"].get("finalizers") or ())
            if not going or not (obj.get("status") or {}).get("fingerprint"):
                return False  # it is forgotten already, or no agent has ever joined
            metadata = {"name": name, "namespace": HUB_NAMESPACE}
            spec = {"epoch": self._hub.epoch, "seq": self._hub.fleet_view.next_seq(name)}
        elif current["spec"].get("leaving"):
            return False
        else:
            metadata = {each: current["metadata"][each] for each in ("name", "namespace", "resourceVersion")}
            spec = {**current["spec"], "seq": int(current["spec"]["seq"]) + 1}
        spec["leaving"] = True
        manifest = {"apiVersion": API_VERSION, "kind": "Assignment", "metadata": metadata, "spec": spec}
        await self._hub.writer.assignment(manifest)
        return True

    async def _drop_purges(self, path: str, obj: Manifest) -> None:
        """Decisions about orphans that are gone: left there, they would be about the next app of that name."""
        decided = (obj.get("spec") or {}).get("purges") or []
        told = (obj.get("status") or {}).get("orphans") or ()
        orphans = {(each["app"], each.get("hub") or "") for each in told}
        open_ = [each for each in decided if (each["app"], each.get("hub") or "") in orphans]
        if len(open_) < len(decided):
            version = obj["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "spec": {"purges": open_ or None}}
            await self._hub.writer.merge(self._hub.caches.clusters, path, patch)

    async def _forget_cluster(self, name: str, obj: Manifest) -> None:
        for path in (f"{paths.ASSIGNMENTS}/{name}", f"{paths.LEASES}/{lease_name(name)}"):
            current = await self._hub.writer.get(path)
            if current is not None:
                await self._hub.writer.remove(path, uid=current["metadata"]["uid"])
        await self._finalizers.drop(self._hub.caches.clusters, f"{paths.CLUSTERS}/{name}", obj)
        self._plans.ask_everything()

    # -- decisions

    async def _not_meant(self, obj: Manifest, plural: str) -> str:
        """Why this deletionTimestamp is nobody's decision about this object; empty where it is one.

        Live reads: a cache could show the moment before the namespace began to terminate.
        """
        namespace = obj["metadata"].get("namespace")
        if namespace:
            parent = await self._hub.writer.get(f"{paths.NAMESPACES}/{namespace}")
            if parent is None or "deletionTimestamp" in parent["metadata"]:
                return f"namespace {namespace} is terminating: nothing that runs is deleted for that"
        crd = await self._hub.writer.get(f"{paths.CRDS}/{plural}.{GROUP}")
        if crd is None or "deletionTimestamp" in crd["metadata"]:
            return f"the CRD {plural}.{GROUP} is terminating: nothing that runs is deleted for that"
        return ""

    async def _decide(self, objects: list[Manifest], reason: str) -> None:
        """Record a person's decision, unless it is too much at once for the whole hub."""
        held = HELD_BY_BREAKER if breaker_now(self._hub).trips(len(objects)) else ""
        await self._record(objects, reason, held=held)

    async def _record(self, objects: list[Manifest], reason: str, *, held: str) -> None:
        moment = self._hub.now().isoformat().replace("+00:00", "Z")
        decision = {"reason": reason, "decidedAt": moment, "held": held or None}
        keys = [key_of(each) for each in objects]
        await self._decisions.record(dict.fromkeys(keys, decision))
        for key in keys:
            self._add("app", key)


def _decision(obj: Manifest) -> dict[str, Any]:
    return (obj.get("status") or {}).get("deletion") or {}


def _never_released(obj: Manifest) -> bool:
    """No cluster was ever told of it: nothing runs that a deletion could harm."""
    status = obj.get("status") or {}
    return not (status.get("sync") or {}).get("release") and not status.get("observed")
