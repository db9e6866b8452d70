"""Waiting until a cache has seen a resourceVersion.

Versions of one collection are compared as numbers where they are numbers, as Kubernetes has come to promise
for the resources that it serves. Others are only ever equal or not.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

from agent.contract.manifest import as_number

if TYPE_CHECKING:
    from agent.kube.reflector import Key


class VersionClock:
    """How far a cache has come, and who waits for how far.

    Events arrive in the order of their versions, whatever object they are about: seeing a higher version of
    anything means that every lower one was seen.
    """

    def __init__(self) -> None:
        self.seen = -1
        self._numbered: list[tuple[int, int, asyncio.Future[None]]] = []
        self._opaque: list[tuple[Key, str, asyncio.Future[None]]] = []
        self._order = count()

    def advance(self, version: str, *, key: Key | None = None, restart: bool = False) -> None:
        """Note that a version was seen, of `key` or of the whole. `restart`: by a list, which may go back."""
        number = as_number(version)
        if number is None:
            for waiting, wanted, future in self._opaque:
                if waiting == key and wanted == version and not future.done():
                    future.set_result(None)
            return
        self.seen = number if restart else max(number, self.seen)
        while self._numbered and self._numbered[0][0] <= self.seen:
            future = heapq.heappop(self._numbered)[2]
            if not future.done():
                future.set_result(None)

    async def reached(self, version: str, *, key: Key) -> None:
        """Return once `version` was seen. A caller that gives up cancels."""
        number = as_number(version)
        if number is not None and number <= self.seen:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if number is not None:
            entry = (number, next(self._order), future)
            heapq.heappush(self._numbered, entry)
            await future  # one that gave up is done, and is skipped when its turn comes
            return
        waiter = (key, version, future)
        self._opaque.append(waiter)
        try:
            await future
        finally:
            self._opaque.remove(waiter)
