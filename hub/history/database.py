"""A database by its URL: SQLite in the hub's folder, or PostgreSQL. Made, or brought up to date, when it is opened."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import String, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from agent.contract.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from sqlalchemy import Connection, Engine, Executable, Table

log = logging.getLogger(__name__)
T = TypeVar("T")

_MIGRATIONS = Path(__file__).parent / "migrations"
_THREADS = 4
_BUSY_SECONDS = 10
_ANSWER_SECONDS = 60
"""A statement takes no longer, and a hub that stops in the midst of a transaction holds nobody else up for longer."""
_SILENT = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
"""A server that went without a word is noticed in half a minute: no thread waits for it until TCP gives up."""
_LOCK = 0x6178_6C65
"""Of PostgreSQL's advisory locks: two hubs that start together migrate one after the other."""


class DatabaseAway(TransientError):
    """The database cannot be reached, or refuses. Nothing of a deployment waits for it."""

    reason = "DatabaseAway"


class RowsRefused(DatabaseAway):
    """The database is there, and does not take these rows: the same ones again would fare no better."""


class Database:
    """Connections and threads. Every call has its own transaction, and runs beside the event loop."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        parsed = make_url(url)
        file = parsed.get_backend_name() == "sqlite" and parsed.database
        self._wal = Path(f"{file}-wal") if file else None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="database")

    async def open(self) -> None:
        """Bring the tables to the present version. Raises `DatabaseAway`."""
        await self._in_thread(self._migrate)

    async def run(self, work: Callable[[Connection], T], *, thread: Executor | None = None) -> T:
        """Do some work in one transaction, on a thread of the caller's where that is given. Raises `DatabaseAway`."""

        def inside() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return await self._in_thread(inside, thread)

    def touched(self) -> object:
        """What differs after a write of any process; None where only a question tells.

        Two writes within a tick of the file system's clock may look like one: ask now and then all the same.
        """
        if self._wal is None:
            return None
        try:
            found = self._wal.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    async def close(self) -> None:
        """Wait for what runs, and close."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    async def _in_thread(self, work: Callable[[], T], thread: Executor | None = None) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread or self._threads, work)
        except (SQLAlchemyError, CommandError) as error:  # the latter where a newer hub made the tables
            known = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
            failed = RowsRefused if isinstance(error, DataError | IntegrityError) else DatabaseAway
            raise failed(f"the database: {known[0][:200]}", retry_after=2.0) from error

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a step may have much to move
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows, or replace those with the same primary key."""
    if rows:
        connection.execute(_upsert_into(table, connection.dialect.name), fitted(table, rows))


def add_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that are not there by any of the table's unique keys."""
    if rows:
        made = _insert_into(table, connection.dialect.name).on_conflict_do_nothing()
        connection.execute(made, fitted(table, rows))


def claim(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert the row; gives whether that was it, and not another transaction's of the same primary key."""
    keys = list(table.primary_key.columns)
    asked = _insert_into(table, connection.dialect.name).values(dict(row)).on_conflict_do_nothing()
    return connection.execute(asked.returning(*keys)).first() is not None


def fitted(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as every database takes them: PostgreSQL knows no NUL in a text, and counts its characters.

    What spokes say comes through here. A word that is too long is cut: nothing is looked up by the rest of it.
    """
    limits = _limits_of(table)
    found = []
    for row in rows:
        made = dict(row)
        for name, longest in limits:
            text_ = made.get(name)
            if isinstance(text_, str) and ("\0" in text_ or (longest is not None and len(text_) > longest)):
                made[name] = text_.replace("\0", "\N{REPLACEMENT CHARACTER}")[:longest]
        found.append(made)
    return found


@cache
def _limits_of(table: Table) -> tuple[tuple[str, int | None], ...]:
    """Columns of text, and how many characters each has room for."""
    return tuple((each.name, each.type.length) for each in table.columns if isinstance(each.type, String))


@cache
def _upsert_into(table: Table, dialect: str) -> Executable:
    """The statement, made once: to make it costs as much as to run it."""
    made = _insert_into(table, dialect)
    keys = [column.name for column in table.primary_key.columns]
    rest = {column.name: made.excluded[column.name] for column in table.columns if column.name not in keys}
    statement: Executable = made.on_conflict_do_update(index_elements=keys, set_=rest)
    return statement


def _insert_into(table: Table, dialect: str) -> Any:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        made = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=_THREADS + 1,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _BUSY_SECONDS, **_SILENT},
        )
        event.listen(made, "connect", _bound)
        return made
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_size=_THREADS + 1, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _tune)
    return engine


def _bound(connection: Any, _record: object) -> None:
    """Said on the connection and not as it is made: what stands between hub and database may refuse options."""
    connection.autocommit = True
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {name} = '{_ANSWER_SECONDS}s'")
    connection.autocommit = False


def _tune(connection: Any, _record: object) -> None:
    """Readers do not wait for the writer, and a commit waits for the disk at checkpoints only."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "cache_size=-16000",
        "temp_store=MEMORY",
        "mmap_size=268435456",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
