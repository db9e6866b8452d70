"""Lists and counts of Applications: an index in memory, brought up to date from the database at each question.

Whoever writes Applications numbers each batch, so that any process that reads the same database asks for what came
since, which is mostly nothing. A new era (another database, a new term of a controller) has the index made anew.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select, update

from hub.history.appindex import FACETS, AppFilter, AppIndex, Entry
from hub.history.database import upsert
from hub.history.queries import Page, as_row
from hub.history.tables import apps, gone, marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from hub.history.database import Database
    from hub.history.rows import Row

T = TypeVar("T")
_ENTRY = (apps.c.key, *(apps.c[name] for name in FACETS), apps.c.labels, apps.c.words)


class Search:
    """Questions go one after the other through a thread of its own: each takes milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._index = AppIndex()
        self._era, self._version = "", 0

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def warm(self) -> None:
        """Make the index before somebody asks. Raises `DatabaseAway`."""
        await self._ask(lambda _: None)

    async def list_apps(self, wanted: AppFilter, *, after: str, limit: int, count: bool) -> Page:
        """Applications by key, those after a key. `count` gives how many there are in all."""

        def asked(connection: Connection) -> Page:
            places = self._index.matching(wanted)
            keys = self._index.page(places, after=after, limit=limit + 1)
            total = places.bit_count() if count else 0
            return Page(_rows(connection, keys[:limit]), len(keys) > limit, total)

        return await self._ask(asked)

    async def facets(self, wanted: AppFilter) -> dict[str, dict[str, int]]:
        """How many Applications there are of each value, of those that are meant; the most frequent first."""
        return await self._ask(lambda _: self._index.facets(self._index.matching(wanted)))

    async def by_namespace(self) -> dict[str, int]:
        """How many Applications each namespace has, of those that have any."""
        return await self._ask(lambda _: dict(self._index.by_namespace))

    async def _ask(self, question: Callable[[Connection], T]) -> T:
        def inside(connection: Connection) -> T:
            self._refresh(connection)
            return question(connection)

        return await self._database.run(inside, thread=self._thread)

    def _refresh(self, connection: Connection) -> None:
        era, version = connection.execute(select(marks.c.era, marks.c.version)).one()
        if era != self._era or version < self._version:
            index = AppIndex()
            index.load(_entries(connection, 0))
            self._index, self._era = index, era
        elif version > self._version:
            for (key,) in connection.execute(select(gone.c.key).where(gone.c.version > self._version)):
                self._index.drop(key)
            for entry in _entries(connection, self._version):
                self._index.put(entry)
        self._version = version


# -- for whoever writes


def next_version(connection: Connection) -> int:
    """The number of a batch. Whoever has it writes alone until the transaction ends."""
    added = update(marks).values(version=marks.c.version + 1).returning(marks.c.version)
    return int(connection.execute(added).scalar_one())


def next_era(connection: Connection, name: str) -> None:
    """Let every index be made anew."""
    connection.execute(gone.delete())
    upsert(connection, marks, [{"id": 1, "era": name, "version": 0}])


def note_gone(connection: Connection, keys: Iterable[str], *, version: int) -> None:
    upsert(connection, gone, [{"key": key, "version": version} for key in keys])


def _entries(connection: Connection, after: int) -> Iterable[Entry]:
    """Applications that were written since; 0: all."""
    asked = select(*_ENTRY)
    found = connection.execute(asked.where(apps.c.version > after) if after else asked)
    for key, *facets, labels, words in found:
        yield Entry(key, tuple(facets), labels, words)


def _rows(connection: Connection, keys: Sequence[str]) -> list[Row]:
    """As they are now; one that went this moment is left out."""
    found = connection.execute(select(apps).where(apps.c.key.in_(keys))).mappings()
    by_key = {row["key"]: as_row(dict(row)) for row in found}
    return [by_key[key] for key in keys if key in by_key]
