"""Old bundles go from the store: what nothing names any more, now and then.

Deleting a bundle that is still wanted costs a render, and the agents that ask for it meanwhile a retry. So this
errs on keeping: a bundle goes only when nothing has named it in two rounds, and nobody has used it for an hour.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.store.port import StoreAway

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from hub.operator.caches import Caches
    from hub.operator.state import State, Target
    from hub.store.index import RenderIndex
    from hub.store.port import BundleStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """What objects say that is to be kept: stored bytes by name, and content that they were made from."""

    blobs: frozenset[str]
    digests: frozenset[str]


def named(
    assignments: Iterable[Manifest], applications: Iterable[Manifest], targets: Iterable[Target]
) -> Named:
    """Everything that is assigned, wanted, or was released before (a way back needs its bundle)."""
    blobs = {entry["blob"] for obj in assignments for entry in obj["spec"].get("apps") or ()}
    blobs |= {target.blob for target in targets}
    digests: set[str] = set()
    for obj in applications:
        status = obj.get("status") or {}
        sync = status.get("sync") or {}
        blobs.add(sync.get("targetBlob", ""))
        digests |= {sync.get("released", ""), *(entry["digest"] for entry in status.get("history") or ())}
    return Named(frozenset(blobs - {""}), frozenset(digests - {""}))


class Collector:
    """Runs while the controller leads: a process that does not lead renders nothing, and so stores nothing."""

    def __init__(
        self,
        caches: Caches,
        state: State,
        store: BundleStore,
        index: RenderIndex,
        *,
        first: float = 300.0,
        interval: float = 3600.0,
        older_than: float = 3600.0,
    ) -> None:
        self._caches = caches
        self._state = state
        self._store = store
        self._index = index
        self._first = first
        self._interval = interval
        self._older_than = older_than
        self._before: frozenset[str] | None = None
        """What the last round kept."""

    async def run(self) -> None:
        """Until cancelled: a while after the start, which has other things to do, and then every interval."""
        await asyncio.sleep(self._first * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        await self._caches.wait_synced()
        while True:
            try:
                removed = await self.collect()
            except (OSError, sqlite3.Error, StoreAway) as error:
                log.warning("old bundles are not collected this time: %s", error)
            else:
                if removed:
                    log.info("%d bundles that nothing names any more are removed", removed)
            await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def collect(self) -> int:
        """One round; how many went. Call it on caches that have synced only."""
        if not len(self._caches.assignments):
            return 0  # nothing was ever released, or everything is gone at once: no moment for tidying up
        wanted = named(
            self._caches.assignments.values(),
            self._caches.applications.values(),
            self._state.targets.values(),
        )
        earlier = await asyncio.to_thread(self._index.blobs_of, wanted.digests)
        live = wanted.blobs | earlier
        before, self._before = self._before, live
        if before is None:
            return 0
        return await asyncio.to_thread(
            self._store.collect, live | before, older_than=self._older_than, now=time.time()
        )
