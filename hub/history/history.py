"""The history of one hub process: its database, what the leader records in it, and the events as they come."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hub.history.database import Database, DatabaseAway
from hub.history.feed import Feed
from hub.history.questions import Questions
from hub.history.recorder import Recorder
from hub.history.search import Search

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from hub.operator.caches import Caches

log = logging.getLogger(__name__)
KEPT = timedelta(days=90)
RETRY_SECONDS = 2.0


class History:
    """Between `start` and `close`. A database that is away delays nothing but what is asked of it."""

    def __init__(self, url: str, *, now: Callable[[], datetime]) -> None:
        self.database = Database(url)
        self.feed = Feed(self.database)
        self.search = Search(self.database)
        self.questions = Questions(self.database, now=now)
        self._now = now
        self._opened = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._recorder: Recorder | None = None

    @property
    def ready(self) -> bool:
        """Whether the tables are there."""
        return self._opened.is_set()

    @property
    def waiting(self) -> int:
        """Changes that are to be written, while this process leads."""
        return self._recorder.waiting if self._recorder is not None else 0

    async def opened(self) -> None:
        """Until the tables are there, however long their database is away."""
        await self._opened.wait()

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._open(), name="history-open"),
            asyncio.create_task(self.feed.run(), name="history-feed"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.search.close()
        await self.database.close()

    async def warm(self) -> None:
        """Make the index of Applications before somebody asks for it."""
        await self.opened()
        try:
            await self.search.warm()
        except DatabaseAway as error:
            log.warning("search: %s", error)  # who asks makes it

    async def answer(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        """Answer what other processes ask, for as long as this one leads. Until cancelled."""
        await self.opened()
        await self.questions.serve(answer)

    async def record(self, caches: Caches) -> None:
        """Write what the caches see, for as long as this process leads. Until cancelled."""
        await self.opened()
        await caches.wait_synced()
        recorder = Recorder(self.database, now=self._now, on_events=self.feed.publish)
        self._recorder = recorder
        there = [*caches.applications.values(), *caches.sets.values()]
        for objects in (caches.applications, caches.sets, caches.clusters):
            objects.subscribe(recorder.saw)
        await recorder.begin(there)
        with self.feed.fed():
            await self._record(recorder)

    async def _record(self, recorder: Recorder) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run(), name="history")
            tasks.create_task(recorder.trim(before=self._oldest), name="history-trim")

    def _oldest(self) -> str:
        return (self._now() - KEPT).isoformat(timespec="seconds").replace("+00:00", "Z")

    async def _open(self) -> None:
        while True:
            try:
                await self.database.open()
            except DatabaseAway as error:
                log.warning("history: %s", error)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            self._opened.set()
            return
