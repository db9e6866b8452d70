"""What the spoke's own store holds of each app: its release, its inventory. Written ahead where it must be."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from agent.apply.inventory import to_secret
from agent.contract.errors import AxletreeError
from agent.contract.names import AGENT_NAMESPACE, inventory_name
from agent.link.backoff import Backoff
from agent.sync.words import covered

if TYPE_CHECKING:
    from agent.apply.inventory import Inventory
    from agent.link.identity import Identity
    from agent.link.state import SavedApp, StateStore
    from agent.sync.app import App

logger = logging.getLogger(__name__)

_FLUSH_AFTER = 5.0
"""Seconds after which an inventory that may wait is written: after the rush that it came in."""


class Keeper:
    """Writes, and knows which writes are under way. `run` until cancelled, then `finish`."""

    def __init__(self, store: StateStore, identity: Identity) -> None:
        self._store = store
        self._identity = identity
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, App] = {}
        self._wake = asyncio.Event()

    def save(self, app: App, saved: SavedApp) -> asyncio.Task[None]:
        """Begin the write that keeps a release. It is retried by the next round if it fails."""

        async def write() -> None:
            await self._store.save_app(saved)
            app.kept = saved

        task = asyncio.create_task(write(), name=f"save {app.key}")
        self.track(task)
        return task

    def track(self, task: asyncio.Task[None]) -> None:
        """Have something that goes on by itself end before the agent does."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def save_inventory(self, app: App, inventory: Inventory, saving: asyncio.Task[None] | None) -> None:
        """The round's port. What may come to exist is written first, together with the release that it is for.

        What a kept inventory covers (uids that became known, objects that are gone) may wait: it is no less safe
        without, and a new app's way to Healthy is a write shorter.
        """
        if app.inventory_kept is not None and covered(inventory, app.inventory_kept):
            app.remember(inventory)
            self._waiting[app.key] = app
            self._wake.set()
            return
        await self._flush(app, inventory)
        await finished(saving)

    async def drop(self, app: App) -> None:
        """Forget an app whose deletion is complete. One that is assigned again by then is not deleted, but new."""
        async with app.writing:
            await self._store.drop_app(app.key, inventory=self._inventory_name(app))
            app.deleted = app.tombstone is not None

    async def run(self) -> None:
        """Write the inventories that may wait."""
        backoff = Backoff(base=_FLUSH_AFTER, cap=30.0)
        while True:
            await self._wake.wait()
            await asyncio.sleep(_FLUSH_AFTER * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            self._wake.clear()
            try:
                await self._flush_waiting()
            except AxletreeError as error:
                logger.warning("inventories are not kept: %s", error)
                await asyncio.sleep(backoff.next())
                self._wake.set()
                continue
            backoff.reset()

    async def finish(self, *, seconds: float) -> None:
        """The last writes, and those that are under way. Raises AxletreeError for one that fails."""
        try:
            async with asyncio.timeout(seconds):
                await self._flush_waiting()
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)

    async def _flush_waiting(self) -> None:
        while self._waiting:
            key, app = next(iter(self._waiting.items()))
            await self._flush(app)
            self._waiting.pop(key, None)

    async def _flush(self, app: App, inventory: Inventory | None = None) -> None:
        """Write an inventory, the app's newest unless given. Not that of an app that is gone."""
        async with app.writing:
            target = app.inventory if inventory is None else inventory
            if app.deleted or target == app.inventory_kept:
                return
            name = self._inventory_name(app)
            secret = to_secret(target, name=name, namespace=AGENT_NAMESPACE, applyset=app.applyset, labels={})
            await self._store.save_inventory(app.key, secret)
            app.inventory_kept = target
            if inventory is not None:
                app.remember(inventory)

    def _inventory_name(self, app: App) -> str:
        return inventory_name(self._identity.hub_id, self._identity.cluster, app.key)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # taken here; who waits for it raises it as well


async def finished(saving: asyncio.Task[None] | None) -> None:
    """Wait for a write that has begun; it goes on even if the round is cancelled."""
    if saving is not None:
        await asyncio.shield(saving)
