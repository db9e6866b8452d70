"""A keyed work queue: a key waits once, is worked on by one at a time, and may wait for its moment."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """Keys to work on, in order of arrival. Bounded by the number of keys there are.

    `add` with a delay never postpones a key that is due earlier. A key that is added while it is worked on
    comes again after `done`.
    """

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def add(self, key: K, *, delay: float = 0.0) -> None:
        """Have `key` worked on after `delay` seconds at the latest."""
        if key in self._waiting or key in self._again:
            return
        timer = self._timers.get(key)
        if delay > 0.0:
            loop = asyncio.get_running_loop()
            if timer is not None:
                if timer.when() <= loop.time() + delay:
                    return
                timer.cancel()
            self._timers[key] = loop.call_later(delay, self._due, key)
            return
        if timer is not None:
            timer.cancel()
            del self._timers[key]
        if key in self._active:
            self._again.add(key)
            return
        self._waiting.add(key)
        self._ready.append(key)
        self._wake.set()

    async def get(self) -> K:
        """The next key, which is then worked on until `done`."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def forget(self, key: K) -> None:
        """Take back what waits for its moment; what is worked on goes to its end."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._again.discard(key)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
