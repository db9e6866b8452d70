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
    HUB_NAMESPACE,
)
from hub.core.breaker import HELD_BY_BREAKER
from hub.operator import paths, views
from hub.operator.clusterremoval import ClusterRemovals
from hub.operator.decisions import breaker_now
from hub.operator.finalizers import Finalizers
from hub.operator.meant import not_meant
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
        self._clusters = ClusterRemovals(
            hub, self._finalizers, self, again=self.wake_cluster, on_gone=plans.ask_everything
        )
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
            if "deletionTimestamp" in obj["metadata"] or views.decision_of(obj):
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
        serve = {"set": self._set, "app": self._app, "cluster": self._clusters.serve}
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
        problem = await not_meant(self._hub.writer, obj, "applicationsets")
        if problem:
            self._hold(key, problem)
            return
        for each in children:
            self._add("app", key_of(each))
        await self.decide([each for each in children if not views.decision_of(each)], "Deleted")

    # -- applications

    async def _app(self, key: str) -> None:
        obj = self._hub.caches.applications.get(key)
        if obj is None:
            self._hub.state.targets.pop(key, None)
            self._hub.state.apps.pop(key, None)
            return
        decision = views.decision_of(obj)
        if "deletionTimestamp" in obj["metadata"] and _never_released(obj) and not self._runs(key, obj):
            await self._finalizers.drop(self._hub.caches.applications, paths.application(key), obj)
            return
        if decision.get("held") and self._approved(obj):
            await self._record([obj], decision["reason"], held="")
            return
        if decision and not decision.get("held"):
            observed = (obj.get("status") or {}).get("observed") or {}
            if observed.get("deleted") or not self._runs(key, obj):
                await self.finish(key, obj)
            return
        if "deletionTimestamp" in obj["metadata"] and not decision:
            await self._terminating(key, obj)

    async def _terminating(self, key: str, obj: Manifest) -> None:
        """Someone or something deleted it, and nothing is decided yet."""
        owner = views.owner_of(obj)
        problem = await not_meant(self._hub.writer, obj, "applications")
        lost = owner is not None and owner not in self._hub.caches.sets
        if lost and not problem:
            problem = await not_meant(self._hub.writer, obj, "applicationsets")
        if problem:
            # It stays: a set that had lost its children this way would look like one that has none to lose.
            if owner in self._hub.caches.sets:
                self._hold(str(owner), problem)
            log.warning("deletion of %s is held: %s", key, problem)
            await self._record([obj], "Deleted", held=problem)
            return
        if owner is None or (lost and await self._hub.writer.get(paths.application_set(str(owner))) is None):
            # A set goes after its children: one that is gone before was taken away by force, and wants nothing.
            await self.decide([obj], "Deleted")
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
        if answer == f"deletion/{views.decision_of(obj)['decidedAt']}":
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

    async def finish(self, key: str, obj: Manifest) -> None:
        """Nothing of it is left on its cluster: the object may go."""
        path = paths.application(key)
        if "deletionTimestamp" not in obj["metadata"]:
            await self._hub.writer.remove(path, uid=obj["metadata"]["uid"])
        await self._finalizers.drop(self._hub.caches.applications, path, obj)

    # -- decisions

    async def decide(self, objects: list[Manifest], reason: str) -> None:
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


def _never_released(obj: Manifest) -> bool:
    """No cluster was ever told of it: nothing runs that a deletion could harm."""
    status = obj.get("status") or {}
    return not (status.get("sync") or {}).get("release") and not status.get("observed")
