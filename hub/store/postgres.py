"""Bundles in PostgreSQL: one table, which need not be in the history's database."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    Double,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from hub.store.port import StoreAway

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

_CONNECTIONS = 8
_CONNECT_SECONDS = 10
_STATEMENT_MS = 30_000
_SILENT = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
"""A server that went without a word is noticed in half a minute: no thread waits for it until TCP gives up."""
_LOCK = 0x6178_6C66
"""Of PostgreSQL's advisory locks: processes that start together make the table one after the other."""
_metadata = MetaData()
_bundles = Table(
    "bundles",
    _metadata,
    Column("blob", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("put_at", Double, nullable=False),
)


class PostgresRemote:
    """A `Remote`. The table is made at the first use, which may come after the database does."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=_CONNECTIONS,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "options": f"-c statement_timeout={_STATEMENT_MS}",
                **_SILENT,
            },
        )
        self._made = False
        self._making = threading.Lock()

    def put(self, name: str, data: bytes) -> None:
        row = {"blob": name, "data": data, "put_at": time.time()}
        made = insert(_bundles).values(row)
        # The bytes of a name never differ: they are not written again.
        again = made.on_conflict_do_update(index_elements=["blob"], set_={"put_at": made.excluded.put_at})
        with self._connected() as connection:
            connection.execute(again)

    def get(self, name: str) -> bytes | None:
        with self._connected() as connection:
            found = connection.execute(select(_bundles.c.data).where(_bundles.c.blob == name)).scalar()
        return bytes(found) if found is not None else None

    def names(self) -> Iterator[tuple[str, float]]:
        with self._connected() as connection:
            rows = connection.execute(select(_bundles.c.blob, _bundles.c.put_at)).all()
        yield from ((str(name), float(at)) for name, at in rows)

    def delete(self, names: Iterable[str]) -> None:
        with self._connected() as connection:
            connection.execute(delete(_bundles).where(_bundles.c.blob.in_(list(names))))

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction. Raises `StoreAway`."""
        try:
            with self._making:
                if not self._made:
                    self._make()
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            known = str(getattr(error, "orig", None) or type(error).__name__).splitlines()
            raise StoreAway(f"bundles in PostgreSQL: {known[0][:200]}") from error

    def _make(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _metadata.create_all(connection)
        self._made = True
