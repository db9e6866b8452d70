"""Waits between attempts, with full jitter, so that a fleet does not come back in step.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random


class Backoff:
    """Grows from `base` to `cap` seconds over consecutive failures; each wait is uniform below that."""

    __slots__ = ("_base", "_cap", "_random", "failures")

    def __init__(self, *, base: float = 0.5, cap: float = 60.0, source: random.Random | None = None) -> None:
        self._base = base
        self._cap = cap
        self._random = source or random.Random()  # noqa: S311 - jitter
        self.failures = 0

    def next(self, *, retry_after: float | None = None) -> float:
        """Seconds to wait now. What the other side asked for is a lower bound, itself jittered upwards.

        To be asked for none at all is to be asked for nothing: portals and proxies say so.
        """
        ceiling = min(self._cap, self._base * 2.0 ** min(self.failures, 30))
        self.failures += 1
        wait = self._random.uniform(0.0, ceiling)
        return wait if not retry_after else retry_after + min(wait, retry_after * 0.2)

    def reset(self) -> None:
        self.failures = 0
