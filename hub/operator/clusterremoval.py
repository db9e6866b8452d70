"""Removal of a cluster: its apps first, then its agent hears of it, then the hub forgets it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from agent.contract.names import ANNOTATION_FORCE_REMOVE, API_VERSION, FINALIZER, HUB_NAMESPACE
from hub.core.plan import stamp
from hub.gateway.liveness import lease_name
from hub.operator import paths, views
from hub.operator.meant import not_meant
from hub.operator.objects import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext
    from hub.operator.finalizers import Finalizers

log = logging.getLogger(__name__)


class Apps(Protocol):
    """What becomes of the apps of a cluster that goes."""

    async def decide(self, objects: list[Manifest], reason: str) -> None: ...

    async def finish(self, key: str, obj: Manifest) -> None: ...


class ClusterRemovals:
    """Serves one cluster after the other; each step can be repeated."""

    def __init__(
        self,
        hub: HubContext,
        finalizers: Finalizers,
        apps: Apps,
        *,
        again: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> None:
        """`again` asks for a cluster's next step; `on_gone` hears that one is forgotten."""
        self._hub = hub
        self._finalizers = finalizers
        self._apps = apps
        self._again = again
        self._on_gone = on_gone

    async def serve(self, name: str) -> None:
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
        keys = sorted(self._hub.caches.on_cluster(name))
        here = [each for key in keys if (each := self._hub.caches.applications.get(key)) is not None]
        if not here:
            if await self._tell_removed(name, obj):
                asyncio.get_running_loop().call_later(1.0, self._again, name)
            else:
                await self._forget_cluster(name, obj)
            return
        await self._apps.decide([each for each in here if not views.decision_of(each)], "ClusterRemoved")
        if (obj["metadata"].get("annotations") or {}).get(ANNOTATION_FORCE_REMOVE) == "true":
            for each in here:
                await self._apps.finish(key_of(each), each)
        asyncio.get_running_loop().call_later(1.0, self._again, name)

    async def _removal_meant(self, name: str, path: str, obj: Manifest) -> bool:
        """Whether somebody meant that this cluster goes. Nothing else sees it go before that is written down."""
        if (obj.get("status") or {}).get("removal"):
            return True
        problem = await not_meant(self._hub.writer, obj, "clusters")
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
        self._on_gone()
