"""Where the time goes: what was seen to happen, when, and what it was waited for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

clock = time.perf_counter


class BenchFailed(Exception):
    """Something that was waited for did not happen."""


class Step(StrEnum):
    """In the order of the work; each is what a watch showed, so it includes the way from there to here."""

    ASKED = "request sent"
    ANSWERED = "request answered"
    GIT_ASKED = "hub asks Git"
    GIT_SERVED = "Git has answered"
    CHILD = "child created"
    CHILD_UPDATED = "child's spec changed"
    PLAN = "plan written on the set"
    TARGET = "target written on the child"
    ASSIGNED = "Assignment written"
    KEPT_ASSIGNMENT = "agent kept the Assignment"
    KEPT_APP = "agent kept the release (it has the bundle)"
    KEPT_INVENTORY = "agent kept the inventory"
    APPLIED = "ConfigMap applied on the spoke"
    RELEASED = "release written on the child"
    OBSERVED_EARLY = "observed: under way"
    OBSERVED = "observed: Synced at the target"
    CHILD_DONE = "child's status: Synced, Healthy"
    SET = "status written on the set"
    SET_DONE = "set: all Synced, Healthy"


@dataclass(frozen=True, slots=True)
class Mark:
    step: Step
    at: float
    subject: str


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a run: milliseconds from the start to its first and last occurrence."""

    step: str
    first: float
    last: float
    count: int


def phases(marks: Iterable[Mark], *, start: float, end: float) -> list[Phase]:
    """A run's steps in the order of the work. What came after `end` is told, too, as far as it was seen."""
    found: dict[Step, list[float]] = {}
    for mark in marks:
        found.setdefault(mark.step, []).append((mark.at - start) * 1000)
    result = [
        Phase(step.value, min(found[step]), max(found[step]), len(found[step]))
        for step in Step
        if step in found
    ]
    return [*result, Phase("REACHED", (end - start) * 1000, (end - start) * 1000, 1)]


class Goal:
    """A state that is waited for. Reached when it begins to hold and then stays."""

    def __init__(self, name: str, test: Callable[[], bool]) -> None:
        self.name = name
        self.reached: float | None = None
        self._test = test
        self._changed = asyncio.Event()

    def check(self, now: float) -> None:
        """Look again: something happened at `now`."""
        holds = self._test()
        if holds and self.reached is None:
            self.reached = now
            self._changed.set()
        elif not holds:
            self.reached = None
            self._changed.clear()

    async def wait(self, *, seconds: float, settle: float) -> float:
        """The moment since when it holds; known once it has held for `settle` seconds.

        Raises `BenchFailed` if it does not come.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._changed.wait()
                    reached = self.reached
                    await asyncio.sleep(settle)
                    if reached is not None and self.reached == reached:
                        return reached
        except TimeoutError as error:
            raise BenchFailed(f"not reached in {seconds:.0f} s: {self.name}") from error
