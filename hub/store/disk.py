"""Bundles as files, named by the hash of their bytes: `<root>/<first two digits>/<blob>`.

A file is complete or absent: written beside its place, synced, renamed. The folder is not synced: a name lost
in a power cut is a bundle that is rendered again, while a name with other bytes behind it would be an error,
and reading verifies against that. Syncing one file takes 0.2 ms on an SSD; for slow disks or whole plans
there is `put_all`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.bundle import BundleCorrupt, StoredBundle
from agent.contract.canonical import sha256_hex
from hub.store.port import is_blob

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

TEMP_PREFIX = ".new-"
_TOUCH_AFTER = 1200.0
"""Seconds: each pass asks for every bundle, and a write a bundle and pass would wear a disk."""
_log = logging.getLogger(__name__)


class DiskStore:
    """A `BundleStore` below one folder. Safe for use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._base = str(root)
        root.mkdir(parents=True, exist_ok=True)

    def put(self, stored: StoredBundle) -> None:
        if not is_blob(stored.blob) or sha256_hex(stored.data) != stored.blob:
            raise BundleCorrupt(f"bundle {stored.blob[:12]!a}: its bytes do not have that hash")
        path = self._path(stored.blob)
        try:
            if path.stat().st_size == len(stored.data):
                os.utime(path)  # put again is used again: not to be collected before its user is known
                return
        except FileNotFoundError:
            path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(stored.data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    async def keep(self, stored: StoredBundle) -> None:
        await asyncio.to_thread(self.put, stored)  # until the disk has it: longer than many a rendering

    async def fetch(self, blob: str) -> bytes | None:
        return self.get(blob)

    async def put_all(self, bundles: Iterable[StoredBundle]) -> None:
        """Keep many, off the event loop: a plan of thousands would hold it up."""
        batch = list(bundles)

        def put_batch() -> None:
            for stored in batch:
                self.put(stored)

        await asyncio.to_thread(put_batch)

    def get(self, blob: str) -> bytes | None:
        if not is_blob(blob):
            return None
        path = self._path(blob)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if sha256_hex(data) == blob:
            return data
        _log.error("stored bundle %s is corrupt and removed", blob)
        path.unlink(missing_ok=True)
        return None

    def has(self, blob: str) -> bool:
        """Whether it is there. Who asks is about to use it: like `put`, this keeps it from being collected."""
        if not is_blob(blob):
            return False
        path = f"{self._base}/{blob[:2]}/{blob}"  # asked for every child of every pass: a Path costs as much again
        try:
            if time.time() - os.stat(path).st_mtime > _TOUCH_AFTER:  # noqa: PTH116
                os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def used_since(self, blob: str, moment: float) -> bool:
        """Whether it is there and was put or asked for after that moment, in seconds since the epoch."""
        try:
            return is_blob(blob) and self._path(blob).stat().st_mtime >= moment
        except FileNotFoundError:
            return False

    def drop(self, blob: str) -> None:
        if is_blob(blob):
            self._path(blob).unlink(missing_ok=True)

    def close(self) -> None:
        """Files are closed after each use."""

    def collect(self, live: AbstractSet[str], *, older_than: float, now: float) -> int:
        """See `BundleStore.collect`; `now` in seconds since the epoch, as files have it.

        What an interrupted `put` left goes, too, uncounted.
        """
        removed = 0
        for path in self._root.glob("[0-9a-f][0-9a-f]/*"):
            leftover = path.name.startswith(TEMP_PREFIX)
            if not leftover and (path.name in live or not is_blob(path.name)):
                continue
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > older_than:
                    path.unlink()
                    removed += not leftover
        return removed

    def _path(self, blob: str) -> Path:
        """Only for checked names."""
        return self._root / blob[:2] / blob
