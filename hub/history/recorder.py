"""Keeps the database beside the caches: what changed is written in batches, and nothing ever waits for it.

What is now is kept by key, so that a database that was away gets the last state of each object once it is back; of
what happened meanwhile, as many events as the queue holds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, func, insert, select

from hub.history.database import DatabaseAway, RowsRefused, add_new, fitted, upsert
from hub.history.rows import APPLICATION, Rows, events_of, key_of, rows_of
from hub.history.search import next_era, next_version, note_gone
from hub.history.tables import answers, apps, audit, events, outputs, releases, sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from agent.contract.manifest import Manifest
    from hub.history.database import Database
    from hub.history.rows import Row

log = logging.getLogger(__name__)
GATHER = 0.05
"""Seconds in which further changes join a batch."""
BATCH = 500
MAX_EVENTS = 20_000
"""That wait for a database which is away."""
MAX_KEPT = 5_000_000
"""Events in the database."""
RETRY_SECONDS = 2.0
TRIM_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Due:
    """What the database does not know yet of one object; None for an object that is gone."""

    obj: Manifest | None
    releases: bool = True
    """Whether its releases changed as well: most changes are of its state alone."""

    def after(self, earlier: Due | None) -> Due:
        """The same, with what was due already."""
        if earlier is None:
            return self
        return Due(self.obj, self.releases or earlier.releases)


class Recorder:
    """`saw` takes changes as caches tell them; `run` writes until cancelled.

    `on_events` is called with what was written, with its ids: whoever listens in this process hears it at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        on_events: Callable[[list[Row]], None] | None = None,
    ) -> None:
        self._database = database
        self._now = now
        self._on_events = on_events
        self._dirty: dict[tuple[str, str], Due] = {}
        self._events: deque[Row] = deque(maxlen=MAX_EVENTS)
        self._seen: deque[tuple[Manifest | None, Manifest | None, str]] = deque()
        """What came, and when; read by `run`, so that nothing here can hold up who writes objects."""
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Changes that are to be written: objects, and what happened."""
        return len(self._seen) + len(self._dirty) + len(self._events)

    def saw(self, old: Manifest | None, new: Manifest | None) -> None:
        """Take one change of an Application, ApplicationSet or Cluster."""
        self._seen.append((old, new, _stamp(self._now())))
        self.idle.clear()
        self._wake.set()

    async def begin(self, objects: Iterable[Manifest]) -> None:
        """Bring the database in line with all that there is, until that has worked. No events: nothing happened."""
        there = list(objects)
        while True:
            try:
                await self._database.run(partial(_forget_others, there=there))
                for at in range(0, len(there), BATCH):
                    part = {(each["kind"], key_of(each)): Due(each) for each in there[at : at + BATCH]}
                    await self._put(part, [])
            except DatabaseAway as error:
                log.warning("history: %s", error)
                self._digest()  # what comes meanwhile has bounds only then: an object once, events up to a number
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            return

    async def run(self) -> None:
        while True:
            if not self._seen and not self._dirty and not self._events:
                self.idle.set()
                await self._wake.wait()
                await asyncio.sleep(GATHER)
            self._wake.clear()
            self._digest()
            told = [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]
            part = self._part(told)
            try:
                await self._put(part, told)
            except DatabaseAway as error:
                log.warning("history: %s", error)
                self._dirty |= {key: self._dirty.get(key, due).after(due) for key, due in part.items()}
                self._events.extendleft(reversed(told[: MAX_EVENTS - len(self._events)]))
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                continue
            written = [each for each in told if "id" in each]
            if written and self._on_events is not None:
                self._on_events(written)

    async def _put(self, part: dict[tuple[str, str], Due], told: list[Row]) -> None:
        """Write a batch. One object or event that no database takes is left out, and holds nothing else up."""
        try:
            await self._database.run(partial(_write, part=part, told=told))
        except RowsRefused as error:
            if len(part) + len(told) > 1:
                for key, due in part.items():
                    await self._put({key: due}, [])
                for each in told:
                    await self._put({}, [each])
                return
            names = [*(key for _, key in part), *(each["name"] for each in told)]
            log.error("history: %s is left out: %s", names[0], error)  # noqa: TRY400 - a known failure

    def _part(self, told: list[Row]) -> dict[tuple[str, str], Due]:
        """The next objects to be written; first those of these events: who hears of one finds the row as it says."""
        named = ((row["kind"], f"{row['namespace']}/{row['name']}") for row in told)
        first = {key: self._dirty.pop(key) for key in named if key in self._dirty}
        rest = list(self._dirty)[: max(0, BATCH - len(first))]
        return first | {key: self._dirty.pop(key) for key in rest}

    def _digest(self) -> None:
        """Turn what was seen into rows that are due and events to be told."""
        while self._seen:
            old, new, at = self._seen.popleft()
            obj = new or old
            if obj is None:
                continue
            try:
                self._events.extend(events_of(old, new, at=at))
                if obj["kind"] != "Cluster":
                    key = obj["kind"], key_of(obj)
                    self._dirty[key] = _due(old, new).after(self._dirty.get(key))
            except Exception:
                log.exception("history: a change of %s is left out", obj["metadata"].get("name"))

    async def trim(self, *, before: Callable[[], str]) -> None:
        """Forget, now and then, what is older than `before` says. Deployments and outputs of what is there stay."""
        while True:
            await asyncio.sleep(TRIM_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self._database.run(partial(trim, moment=before()))
            except DatabaseAway as error:
                log.warning("history: %s", error)


def trim(connection: Connection, *, moment: str, most: int = MAX_KEPT) -> None:
    """Forget events, audit, answers and the deployments and outputs of apps that are gone, from before a moment.

    Of events, no more than `most` stay: a fleet that flaps must not fill a disk. What people did is not counted.
    """
    newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
    connection.execute(delete(events).where(events.c.id <= newest - most))
    for table in (events, audit, answers):
        connection.execute(delete(table).where(table.c.at < moment))
    there = select(apps.c.key)
    for table in (releases, outputs):
        connection.execute(delete(table).where(table.c.at < moment, table.c.app.not_in(there)))


def _due(old: Manifest | None, new: Manifest | None) -> Due:
    if old is None or new is None:
        return Due(new)
    before, after = old.get("status") or {}, new.get("status") or {}
    return Due(new, releases=before.get("history") != after.get("history"))


def _write(connection: Connection, *, part: Mapping[tuple[str, str], Due], told: list[Row]) -> None:
    """All of one batch; events get their ids."""
    rows, gone = Rows(), []
    for each, due in part.items():
        if due.obj is None:
            gone.append(each)
            continue
        try:
            found = rows_of(due.obj)
        except Exception:
            log.exception("history: %s cannot be read, and is left out", each[1])
            continue
        if not due.releases:
            found.releases.clear()
        rows.add(found)
    there = [key for kind, key in gone if kind == APPLICATION]
    if rows.apps or there:
        version = next_version(connection)
        connection.execute(delete(apps).where(apps.c.key.in_(there)))
        note_gone(connection, there, version=version)
        upsert(connection, apps, [row | {"version": version} for row in rows.apps])
    connection.execute(delete(sets).where(sets.c.key.in_([key for kind, key in gone if kind != APPLICATION])))
    upsert(connection, sets, rows.sets)
    upsert(connection, releases, rows.releases)
    add_new(connection, outputs, rows.outputs)
    if told:
        made = connection.execute(
            insert(events).returning(events.c.id, sort_by_parameter_order=True),
            fitted(events, [{name: value for name, value in row.items() if name != "id"} for row in told]),
        )
        for row, number in zip(told, made.scalars(), strict=True):
            row["id"] = number


def _forget_others(connection: Connection, *, there: list[Manifest]) -> None:
    """What is no longer there goes from the tables of what is now; a new era begins."""
    next_era(connection, str(uuid4()))
    known: dict[Any, set[str]] = {apps: set(), sets: set()}
    for obj in there:
        known[apps if obj["kind"] == APPLICATION else sets].add(key_of(obj))
    for table, keys in known.items():
        old = [key for key in connection.execute(select(table.c.key)).scalars() if key not in keys]
        for at in range(0, len(old), BATCH):
            some = old[at : at + BATCH]
            connection.execute(delete(table).where(table.c.key.in_(some)))


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
