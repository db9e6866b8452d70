"""What a render came to: render key -> (digest, blob), kept over restarts, so that they render nothing.

Losing it costs time only: it is written without waiting for the disk, bounded, and begun anew when
unreadable.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

MAX_ROWS = 200_000
MAX_KEPT = 20_000
TRIM_EVERY = 1000
_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS renders (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, blob TEXT NOT NULL
)
"""


class RenderIndex:
    """The map, on disk and the part used last in memory.

    For one thread; a call takes some 20 microseconds.
    """

    def __init__(self, path: Path, *, max_rows: int = MAX_ROWS, max_kept: int = MAX_KEPT) -> None:
        self._path = path
        self._max_rows = max_rows
        self._max_kept = max_kept
        self._kept: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._writes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = self._opened()

    def get(self, key: str) -> tuple[str, str] | None:
        """The (digest, blob) of that render, or None. Whether the blob is still there, the store knows."""
        found = self._kept.get(key)
        if found is None:
            try:
                row = self._database.execute(
                    "SELECT digest, blob FROM renders WHERE key = ?", (key,)
                ).fetchone()
            except sqlite3.DatabaseError as error:
                self._begin_anew(error)
                return None
            if row is None:
                return None
            found = (str(row[0]), str(row[1]))
        self._keep(key, found)
        return found

    def put(self, key: str, digest: str, blob: str) -> None:
        """Remember a render; one of the same key before is replaced, and counts as new when the oldest go."""
        value = (digest, blob)
        if self._kept.get(key) == value:
            return
        self._keep(key, value)
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO renders (key, digest, blob) VALUES (?, ?, ?)", (key, digest, blob)
            )
            self._writes += 1
            if self._writes % TRIM_EVERY == 0:
                self._trim()
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    def blobs_of(self, digests: AbstractSet[str]) -> frozenset[str]:
        """Every blob that is known to hold one of these contents. Reads the whole file: from a thread, rarely.

        Raises `sqlite3.Error` where it cannot be read: then nothing is known of any.
        """
        with contextlib.closing(sqlite3.connect(self._path, timeout=1.0)) as database:
            rows = database.execute("SELECT digest, blob FROM renders WHERE blob <> ''")
            return frozenset(blob for digest, blob in rows if digest in digests)

    def close(self) -> None:
        """Bring everything to disk."""
        self._trim()
        self._database.close()

    def _keep(self, key: str, value: tuple[str, str]) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)

    def _trim(self) -> None:
        self._database.execute(
            "DELETE FROM renders WHERE id <= (SELECT max(id) FROM renders) - ?", (self._max_rows,)
        )

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            _log.warning("the index of renders is unreadable and begun anew: %s", error)
            self._remove()
            return _connect(self._path)

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Replace an unreadable file; a full or busy disk is not its fault, and costs only the entry."""
        if isinstance(error, sqlite3.OperationalError):
            _log.warning("the index of renders was not usable this time: %s", error)
            return
        _log.warning("the index of renders is unreadable and begun anew: %s", error)
        self._database.close()
        self._remove()
        self._database = _connect(self._path)

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).unlink()


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # with WAL: no wait, and never corrupt
        database.execute(_SCHEMA)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
