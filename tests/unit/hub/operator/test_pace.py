from __future__ import annotations

import asyncio

import pytest

from hub.operator.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_quiet_is_due_at_once_and_a_burst_waits_for_its_gap() -> None:
    async def run() -> None:
        clock = Clock()
        pace = Pace(clock=clock, gap=5.0)
        pace.mark("a")
        assert await pace.take() == ["a"]
        pace.mark("a")
        pace.mark("b")
        assert await pace.take() == ["b"], "a was written a moment ago"
        clock.now += 5.0
        assert await pace.take() == ["a"]

    asyncio.run(run())


def test_what_is_urgent_does_not_wait() -> None:
    async def run() -> None:
        pace = Pace(clock=Clock(), gap=5.0)
        pace.mark("a")
        await pace.take()
        pace.mark("a")
        pace.mark("a", urgent=True)
        pace.mark("a", after=60.0)
        assert await pace.take() == ["a"]

    asyncio.run(run())


def test_a_taker_wakes_for_what_becomes_due_earlier() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(clock=loop.time, gap=0.0)
        pace.mark("late", after=60.0)
        taking = asyncio.create_task(pace.take())
        loop.call_soon(pace.mark, "now")
        assert await asyncio.wait_for(taking, 5.0) == ["now"]

    asyncio.run(run())


def test_what_is_forgotten_is_not_written() -> None:
    async def run() -> None:
        pace = Pace(clock=Clock(), gap=0.0)
        pace.mark("a")
        pace.forget("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pace.take(), 0.01)

    asyncio.run(run())
