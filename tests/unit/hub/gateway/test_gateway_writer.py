from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.contract.errors import ApiError, TransientError
from hub.gateway.writer import LatestWriter, WriterLimits

FAST = WriterLimits(concurrency=2, capacity=4, burst=2, rate=20.0)


class Sink:
    """Where states are written to: it can be held up, and can fail."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.running = 0
        self.most = 0
        self._changed = asyncio.Condition()

    async def __call__(self, key: str, state: str) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
            if self.failures:
                raise self.failures.pop(0)
            self.written.append((key, state))
        finally:
            self.running -= 1
            async with self._changed:
                self._changed.notify_all()

    async def until(self, *written: tuple[str, str]) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: self.written[-len(written) :] == list(written))


def writer(sink: Sink, limits: WriterLimits = FAST) -> LatestWriter[str]:
    return LatestWriter(sink, clock=asyncio.get_running_loop().time, limits=limits)


def put(target: LatestWriter[str], key: str, state: str, **more: Any) -> bool:
    given = {"content": state.encode(), "source": "boot", "order": 0} | more
    return target.submit(key, state, **given)


async def test_a_single_state_starts_to_be_written_in_the_next_turn_of_the_loop() -> None:
    sink = Sink()
    target = writer(sink)
    assert put(target, "a", "1")
    await asyncio.sleep(0)
    assert sink.written == [("a", "1")]


async def test_a_burst_is_coalesced_to_its_last_state_and_paced() -> None:
    sink = Sink()
    target = writer(sink)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(100):
        put(target, "a", str(number))
        await asyncio.sleep(0.001)
    await sink.until(("a", "99"))
    assert len(sink.written) <= 2 + 20 * (loop.time() - began) + 1
    assert target.waiting == 0


async def test_i7_older_and_equal_states_are_not_written() -> None:
    sink = Sink()
    target = writer(sink)
    assert put(target, "a", "new", order=5)
    assert not put(target, "a", "old", order=4)
    assert not put(target, "a", "new", order=6)
    assert put(target, "a", "other process", source="boot-2", order=1)
    await sink.until(("a", "new"), ("a", "other process"))


async def test_f34_no_more_wait_than_there_is_room_for_and_few_are_written_at_once() -> None:
    sink = Sink()
    sink.open.clear()
    target = writer(sink)
    for key in "abcdef":
        assert target.room(1)
        put(target, key, "1")
    assert target.waiting == 4
    assert not target.room(1)
    assert target.room(0)
    put(target, "f", "2")  # replaces what waits
    assert target.waiting == 4
    await asyncio.sleep(0)
    sink.open.set()
    await sink.until(("f", "2"))
    assert sink.most == 2
    assert target.room(4)


@pytest.mark.parametrize(
    "failure", [TransientError("no answer"), ApiError("busy", status=503), ApiError("fight", status=409)]
)
async def test_what_may_pass_is_tried_again_with_the_latest_state(failure: Exception) -> None:
    sink = Sink()
    sink.failures = [failure]
    target = writer(sink)
    put(target, "a", "1")
    await asyncio.sleep(0)
    put(target, "a", "2")
    await sink.until(("a", "2"))
    assert sink.written == [("a", "2")]


async def test_what_cannot_be_written_is_dropped_and_the_next_report_of_the_same_is_tried() -> None:
    sink = Sink()
    sink.failures = [ApiError("gone", status=404)]
    target = writer(sink)
    put(target, "a", "1")
    async with asyncio.timeout(30):
        while sink.failures or sink.running:  # noqa: ASYNC110 - a failure writes nothing
            await asyncio.sleep(0)
    assert target.waiting == 0
    assert put(target, "a", "1")
    await sink.until(("a", "1"))


async def test_a_state_that_is_forgotten_or_asked_for_again() -> None:
    sink = Sink()
    target = writer(sink)
    put(target, "a", "1")
    await sink.until(("a", "1"))
    assert not put(target, "a", "1")
    target.doubt("a")
    assert put(target, "a", "1")
    sink.open.clear()
    put(target, "b", "1")
    put(target, "b", "2")
    target.forget("b")
    assert target.waiting == 0
    put(target, "b", "3")
    sink.open.set()
    await sink.until(("b", "3"))
    assert ("b", "2") not in sink.written


async def test_closing_lets_writes_finish_and_takes_no_more() -> None:
    sink = Sink()
    sink.open.clear()
    target = writer(sink)
    put(target, "a", "1")
    await asyncio.sleep(0)
    closing = asyncio.create_task(target.close())
    await asyncio.sleep(0)
    sink.open.set()
    await closing
    assert sink.written == [("a", "1")]
    assert not target.room(0)
