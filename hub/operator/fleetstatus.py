"""Statuses of ClusterSets and Projects: few, small, and of no effect on anything that runs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError
from hub.core.plan import stamp
from hub.core.sinks import with_sinks
from hub.operator import paths
from hub.operator.clusterstatus import cluster_set_status, project_status
from hub.operator.writer import changed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext
    from hub.operator.objects import Objects

log = logging.getLogger(__name__)
SPACING = 0.5


class FleetStatuses:
    """Rewritten, where they differ, some time after something moved."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(SPACING)
            self._wake.clear()
            for failure in await self._hub.writer.all(self._writes()):
                if not isinstance(failure, AxletreeError):
                    raise failure
                log.warning("a status is written again later: %s", failure)
                self._wake.set()

    def _writes(self) -> list[Awaitable[Any]]:
        caches = self._hub.caches
        fleet = self._hub.fleet()
        now = stamp(self._hub.now())
        writes: list[Awaitable[Any]] = []
        for key, obj in caches.cluster_sets.view().items():
            conditions = (obj.get("status") or {}).get("conditions") or ()
            wanted = cluster_set_status(obj, fleet.cluster_sets[key], fleet, conditions=conditions, now=now)
            with_sinks(wanted, obj, caches.credentials.get, now=now)
            writes.append(self._write(caches.cluster_sets, f"{paths.CLUSTER_SETS}/{key}", obj, wanted))
        apps = Counter(key.partition("/")[0] for key in caches.applications)
        for key, obj in caches.projects.view().items():
            namespace, _, name = key.partition("/")
            conditions = (obj.get("status") or {}).get("conditions") or ()
            wanted = project_status(obj, applications=apps[namespace], conditions=conditions, now=now)
            with_sinks(wanted, obj, caches.credentials.get, now=now)
            path = paths.namespaced(paths.PROJECTS, namespace, name)
            writes.append(self._write(caches.projects, path, obj, wanted))
        return writes

    async def _write(self, objects: Objects, path: str, obj: Manifest, wanted: dict[str, Any]) -> None:
        current = obj.get("status") or {}
        patch = changed({each: current.get(each) for each in wanted if each in current}, wanted)
        if patch:
            await self._hub.writer.status(objects, path, patch)
