"""A store that several processes share: a place elsewhere, with a folder of this process in front of it.

The controller asks whether a bundle is there for every app of every pass, and must not ask a network that: it goes by
its own folder, into which a bundle comes only once it is in the shared place. What that place lost since (a bucket that
somebody emptied) is put back when old bundles are collected. Processes that only answer agents keep what they read in
memory, within a bound, and need no folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from agent.contract.bundle import BundleCorrupt
from agent.contract.canonical import sha256_hex
from hub.store.port import StoreAway, is_blob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from agent.contract.bundle import StoredBundle
    from hub.store.disk import DiskStore

log = logging.getLogger(__name__)
T = TypeVar("T")
MEMORY_BYTES = 64 << 20
_THREADS = 8
_DELETED_AT_ONCE = 500


class Remote(Protocol):
    """Bytes by name, elsewhere. Every call may block for as long as a network's timeouts, and raises `StoreAway`."""

    def put(self, name: str, data: bytes) -> None:
        """Keep it; one that is there already becomes young again."""
        ...

    def get(self, name: str) -> bytes | None: ...

    def names(self) -> Iterator[tuple[str, float]]:
        """Everything that is there, with the time at which it was put, in seconds since the epoch."""
        ...

    def delete(self, names: Iterable[str]) -> None: ...

    def close(self) -> None: ...


class SharedStore:
    """A `BundleStore` over a `Remote`. `local` is a folder of this process alone."""

    def __init__(self, remote: Remote, local: DiskStore, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._remote = remote
        self._local = local
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._memory_bytes = memory_bytes
        self._held = 0
        self._away = False
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bundles")
        self._fetching: dict[str, asyncio.Future[bytes | None]] = {}

    async def keep(self, stored: StoredBundle) -> None:
        if not is_blob(stored.blob) or sha256_hex(stored.data) != stored.blob:
            raise BundleCorrupt(f"bundle {stored.blob[:12]!a}: its bytes do not have that hash")
        await self._in_thread(lambda: self._remote.put(stored.blob, stored.data))
        self._local.put(stored)

    async def fetch(self, blob: str) -> bytes | None:
        """From memory, the folder, or the shared place: there once, however many ask at the same time."""
        if not is_blob(blob):
            return None
        data = self._memory.get(blob) or self._local.get(blob)
        if data is not None:
            if blob in self._memory:
                self._memory.move_to_end(blob)
            return data
        running = self._fetching.get(blob)
        if running is None:
            running = self._fetching[blob] = asyncio.ensure_future(self._read(blob))
            running.add_done_callback(lambda _: self._fetching.pop(blob, None))
        return await asyncio.shield(running)

    def get(self, blob: str) -> bytes | None:
        return self._local.get(blob)

    def has(self, blob: str) -> bool:
        return self._local.has(blob)

    def collect(self, live: AbstractSet[str], *, older_than: float, now: float) -> int:
        """See `BundleStore.collect`. The list is read whole before anything goes; what is missing is put back first."""
        there = {name: at for name, at in self._remote.names() if is_blob(name)}
        lost = [name for name in sorted(live) if name not in there]
        back = 0
        for name in lost:
            data = self._local.get(name)
            if data is not None:
                self._remote.put(name, data)
                back += 1
        if back:
            log.warning("%d bundles were no longer in the shared store, and are put back", back)
        old = [name for name, at in there.items() if name not in live and now - at > older_than]
        # Used here just now, by who has it in the folder: about to be named again.
        old = [name for name in old if not self._local.used_since(name, now - older_than)]
        for at in range(0, len(old), _DELETED_AT_ONCE):
            some = old[at : at + _DELETED_AT_ONCE]
            for name in some:
                self._local.drop(name)  # first: what is only in the folder would be taken for shared
            self._remote.delete(some)
        self._local.collect(live, older_than=older_than, now=now)
        return len(old)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._remote.close()

    async def _read(self, blob: str) -> bytes | None:
        data = await self._in_thread(lambda: self._remote.get(blob))
        if data is None:
            return None
        if sha256_hex(data) != blob:
            log.error("bundle %s in the shared store is corrupt", blob)
            return None
        self._remember(blob, data)
        return data

    def _remember(self, blob: str, data: bytes) -> None:
        if len(data) > self._memory_bytes:
            return
        self._memory[blob] = data
        self._held += len(data)
        while self._held > self._memory_bytes:
            _, gone = self._memory.popitem(last=False)
            self._held -= len(gone)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except StoreAway as error:
            if not self._away:  # once: hundreds may ask at the same time
                log.warning("the shared store does not answer; what changes waits for it: %s", error)
            self._away = True
            raise
        if self._away:
            log.warning("the shared store answers again")
        self._away = False
        return found
