"""Events as they come: at once for who listens in the recording process, and within a moment in any other.

A listener has a queue with a bound. One that does not keep up is cut off, and goes on from the last id that it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from functools import partial
from typing import TYPE_CHECKING

from hub.history.database import DatabaseAway
from hub.history.queries import EventFilter, last_event, list_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.history.database import Database
    from hub.history.rows import Row

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.1
"""Between looks for what another process wrote: one for all who listen, and none while nobody does."""
FED_SECONDS = 1.0
"""The same where this process records: there is only more where another one does, too."""
QUEUE = 1000
_BATCH = 1000


class Listener:
    """Gets what its filter takes. `overrun`: it was too slow, and misses what came since."""

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self.overrun = False
        self._queue: asyncio.Queue[Row | None] = asyncio.Queue(QUEUE)

    def put(self, row: Row) -> None:
        if self.overrun or not self.wanted.takes(row):
            return
        try:
            self._queue.put_nowait(row)
        except asyncio.QueueFull:
            self.overrun = True

    async def next(self) -> Row | None:
        """The next event; None once it was overrun, after what was still in time."""
        if self.overrun and self._queue.empty():
            return None
        return await self._queue.get()

    def drain(self) -> None:
        """Leave out what is there already."""
        while not self._queue.empty():
            self._queue.get_nowait()


class Feed:
    """`publish` in the recording process; `run` everywhere, which asks the database while somebody listens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._last = -1
        self._pause = LOOK_SECONDS
        self._touched: object = None
        self._due = 0.0
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._listeners)

    @contextlib.contextmanager
    def fed(self) -> Iterator[None]:
        """While this process records."""
        self._pause = FED_SECONDS
        try:
            yield
        finally:
            self._pause = LOOK_SECONDS

    def publish(self, rows: list[Row]) -> None:
        """New events, in their order. What was published already is left out."""
        for row in rows:
            if row["id"] <= self._last:
                continue
            self._last = row["id"]
            for listener in self._listeners:
                listener.put(row)

    @contextlib.contextmanager
    def listening(self, wanted: EventFilter) -> Iterator[Listener]:
        """Hear what comes from now on."""
        listener = Listener(wanted)
        self._listeners.add(listener)
        self._wanted.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Look for what another process wrote, until cancelled."""
        while True:
            await self._wanted.wait()
            if not self._listeners:
                self._wanted.clear()
                continue
            try:
                await self._look_if_touched()
            except DatabaseAway as error:
                log.warning("events: %s", error)
            await asyncio.sleep(self._pause * random.uniform(0.8, 1.0))  # noqa: S311 - jitter

    async def _look_if_touched(self) -> None:
        """A file that nobody wrote to has nothing new; it is read now and then all the same."""
        now, touched = asyncio.get_running_loop().time(), self._database.touched()
        if self._last >= 0 and touched is not None and touched == self._touched and now < self._due:
            return
        self._touched, self._due = touched, now + FED_SECONDS
        await self._look()

    async def _look(self) -> None:
        last = await self._database.run(last_event)
        if last < self._last and self._pause == LOOK_SECONDS:
            self._last = 0  # another database: all that is in it is new
        if self._last < 0 or last <= self._last:
            self._last = max(self._last, last)
            return
        wanted = EventFilter(after=self._last)
        page = await self._database.run(partial(list_events, wanted=wanted, limit=_BATCH))
        self.publish(page.items)
