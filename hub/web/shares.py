"""What one caller may take of the API: so many requests a second, and not every place of a route.

Without it, one script in a loop, or one tenant's thousand streams, would keep everybody else out.
"""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from hub.web.problems import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub.web.policy import Route

RATE = 200.0
"""Requests a second of one caller, in the long run."""
BURST = 2000.0
"""How many come at once: a thousand streams that come back to a hub that was away, with all that they then ask."""
_KEPT = 10_000


class Shares:
    """One a process. `clock` gives seconds and never jumps."""

    def __init__(self, *, clock: Callable[[], float], rate: float = RATE, burst: float = BURST) -> None:
        self._clock = clock
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._held: Counter[tuple[str, str]] = Counter()

    def spend(self, who: str) -> None:
        """One request of the caller. Raises `TooManyRequests`."""
        now = self._clock()
        at, left = self._left.get(who, (now, self._burst))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            raise TooManyRequests(
                f"more than {self._rate:g} requests a second", retry_after=(1 - left) / self._rate
            )
        self._left[who] = now, left - 1
        self._left.move_to_end(who)
        while len(self._left) > _KEPT:
            self._left.popitem(last=False)

    @contextlib.contextmanager
    def place(self, who: str, route: Route) -> Iterator[None]:
        """One of the caller's places at a route: half of them at most. Raises `TooManyRequests`."""
        key = who, route.name
        share = max(1, route.concurrency // 2)
        if self._held[key] >= share:
            raise TooManyRequests(f"{share} of these are open already", retry_after=1.0)
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
