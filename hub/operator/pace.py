"""Keys that wait to be written: at once when quiet, at a pace in a burst, and at once again when it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """What is due when. Times are in seconds of `clock`; a key that is marked again keeps its earlier time."""

    def __init__(self, *, clock: Callable[[], float], gap: float) -> None:
        self._clock = clock
        self._gap = gap
        self._due: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._wake = asyncio.Event()

    def mark(self, key: str, *, urgent: bool = False, after: float = 0.0) -> None:
        """Write it in `after` seconds, and `gap` after its last write at the earliest unless it is `urgent`."""
        now = self._clock()
        when = now if urgent else max(now + after, self._written.get(key, now - self._gap) + self._gap)
        if when < self._due.get(key, when + 1):
            self._due[key] = when
            self._wake.set()

    @property
    def waiting(self) -> int:
        return len(self._due)

    def forget(self, key: str) -> None:
        self._due.pop(key, None)
        self._written.pop(key, None)

    async def take(self) -> list[str]:
        """Wait until keys are due; they count as written from now on."""
        while True:
            self._wake.clear()
            now = self._clock()
            ready = sorted(key for key, when in self._due.items() if when <= now)
            if ready:
                for key in ready:
                    del self._due[key]
                    self._written[key] = now
                return ready
            pause = min(self._due.values()) - now if self._due else None
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue
