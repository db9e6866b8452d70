"""Following objects: a list, then a watch. A hub that restarts meanwhile is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol, TypeVar

from agent.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

T = TypeVar("T")
SYNC_SECONDS = 30.0
LINGER = 0.05
"""TLS connections that are left in the middle of a watch say goodbye in the background; the loop ends next."""


class Followed(Protocol):
    """Several collections as they are now, and a way to await the next change of any."""

    def objects(self, index: int = 0) -> list[Manifest]:
        """One collection, in the order in which they were named."""
        ...

    async def change(self) -> None:
        """Return at once if anything changed since the last call, else when something does."""
        ...


class Watched:
    """By a watch of each."""

    def __init__(self, reflectors: Sequence[Reflector]) -> None:
        self._reflectors = reflectors
        self._changed = asyncio.Event()
        for reflector in reflectors:
            reflector.subscribe(self._change)

    def objects(self, index: int = 0) -> list[Manifest]:
        return list(self._reflectors[index].items.values())

    async def change(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def _change(self, _old: Manifest | None, _new: Manifest | None) -> None:
        self._changed.set()


async def any_change(followed: Sequence[Followed]) -> None:
    """Return when something changes in any of them. Raises what keeps one from being read."""
    if len(followed) == 1:
        await followed[0].change()
        return
    tasks = [asyncio.ensure_future(each.change()) for each in followed]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def together(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """All of it at once, in order; where one fails the others end first. Raises the first failure."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def following(client: RestClient, *paths: str, name: str = "") -> AsyncIterator[Watched]:
    """Follow the collections at `paths` (only what is called `name`, if given), complete from the start.

    The first list is made here, so that what is forbidden or absent fails at once; later failures are waited out.
    """
    selector = f"metadata.name={name}" if name else ""
    for path in paths:
        await client.get(path, params={"limit": "1"})
    reflectors = [Reflector(client, path, field_selector=selector) for path in paths]
    followed = Watched(reflectors)
    tasks = [
        asyncio.create_task(reflector.run(), name=f"follow {reflector.path}") for reflector in reflectors
    ]
    try:
        for reflector in reflectors:
            await reflector.wait_synced(SYNC_SECONDS)
        yield followed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(LINGER)
