"""The same work asked for many times at once is done once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Flights(Generic[T]):
    """Work by key. A caller that is cancelled does not cancel it for the others; failures are not kept.

    `keep` results stay for later callers, the least recently used going first: only for keys whose result
    never changes.
    """

    def __init__(self, *, keep: int = 0) -> None:
        self._keep = keep
        self._open: dict[str, asyncio.Task[T]] = {}
        self._kept: OrderedDict[str, T] = OrderedDict()

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, whoever began it."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        task = self._open.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(work))
            self._open[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    def _finished(self, key: str, task: asyncio.Task[T]) -> None:
        self._open.pop(key, None)
        if task.cancelled() or task.exception() is not None:
            return
        if self._keep:
            self._kept[key] = task.result()
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
