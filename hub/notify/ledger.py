"""What was told, in SQL: a hub that starts again, or another one that takes over, tells nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.sql.elements import ColumnElement  # noqa: TC002 - mypy reads it

from hub.history.database import DatabaseAway, upsert
from hub.history.tables import notices
from hub.notify.outbox import Slot
from hub.notify.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sqlalchemy import Connection

    from hub.history.database import Database

log = logging.getLogger(__name__)
RETRY_SECONDS = 2.0
_GATHER = 0.05
_LAST_SECONDS = 5.0
_TOPICS = frozenset(Topic)


class Ledger:
    """Writes behind: a database that is away delays no message.

    `opened` ends when the tables are there; `now` gives a time as text.
    """

    def __init__(
        self, database: Database, *, opened: Callable[[], Awaitable[None]], now: Callable[[], str]
    ) -> None:
        self._database = database
        self._opened = opened
        self._now = now
        self._dirty: dict[Slot, str] = {}
        self._kept: set[Slot] = set()
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()

    async def load(self) -> dict[Slot, str]:
        """All that was told and is not over, once the database answers."""
        await self._opened()
        while True:
            try:
                found = await self._database.run(_all)
            except DatabaseAway as error:
                log.warning("notifications wait for what was told before: %s", error)
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            self._kept = set(found)
            return found

    def kept(self, slot: Slot) -> bool:
        """Whether the database has, or is about to have, a word of it."""
        return slot in self._kept

    def keep(self, slot: Slot, word: str) -> None:
        """Remember the word; an empty one takes it out."""
        self._dirty[slot] = word
        if word:
            self._kept.add(slot)
        else:
            self._kept.discard(slot)
        self.idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write what is kept until cancelled."""
        while True:
            if not self._dirty:
                self.idle.set()
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(_GATHER)
            if not await self._write():
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def close(self) -> None:
        """Write what is left, once `run` has ended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._write(), _LAST_SECONDS)

    async def _write(self) -> bool:
        part = dict(self._dirty)
        if not part:
            return True
        try:
            await self._database.run(partial(_write, part=part, at=self._now()))
        except DatabaseAway as error:
            log.warning("what was told is noted later: %s", error)
            return False
        for slot, word in part.items():
            if self._dirty.get(slot) == word:
                del self._dirty[slot]
        return True


def _all(connection: Connection) -> dict[Slot, str]:
    columns = (notices.c.kind, notices.c.key, notices.c.sink, notices.c.topic, notices.c.word)
    rows = connection.execute(select(*columns))
    return {Slot(row[0], row[1], row[2], Topic(row[3])): row[4] for row in rows if row[3] in _TOPICS}


def _write(connection: Connection, *, part: Mapping[Slot, str], at: str) -> None:
    for slot in (slot for slot, word in part.items() if not word):
        connection.execute(delete(notices).where(*_is(slot)))
    rows = [
        {**slot._asdict(), "topic": slot.topic.value, "word": word, "at": at}
        for slot, word in part.items()
        if word
    ]
    upsert(connection, notices, rows)


def _is(slot: Slot) -> list[ColumnElement[bool]]:
    return [
        notices.c.kind == slot.kind,
        notices.c.key == slot.key,
        notices.c.sink == slot.sink,
        notices.c.topic == slot.topic.value,
    ]
