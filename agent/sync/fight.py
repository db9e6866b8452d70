"""How hard to fight for a field. Pure: the time comes in."""

from __future__ import annotations

from dataclasses import dataclass

FREE = 5
"""Corrections of one object that are immediate."""
BASE = 0.5
CAP = 60.0
FORGET = 120.0
"""Seconds of peace after which the count starts over."""


@dataclass(slots=True)
class Fight:
    """How often one object was corrected lately.

    Two managers that each put back their own value would otherwise keep an API server busy for ever.
    """

    corrections: int = 0
    at: float = 0.0

    def delay(self, now: float) -> float:
        """Seconds to wait before correcting once more."""
        if now - self.at > FORGET:
            self.corrections = 0
        over = self.corrections - FREE
        if over < 0:
            return 0.0
        return max(0.0, self.at + min(CAP, BASE * 2.0 ** min(over, 16)) - now)

    def fighting(self, now: float) -> bool:
        """Whether something keeps changing it back: more corrections than are immediate, and no peace since."""
        return self.corrections > FREE and now - self.at <= FORGET

    def corrected(self, now: float) -> None:
        self.corrections += 1
        self.at = now
