from __future__ import annotations

import asyncio

from agent.sync.queue import WorkQueue


async def _all(queue: WorkQueue[str]) -> list[str]:
    keys = []
    while queue._ready:
        keys.append(await queue.get())
    return keys


async def test_a_key_waits_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert await _all(queue) == ["a", "b"]


async def test_a_key_added_while_worked_on_comes_again_after() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert await _all(queue) == []
    queue.done("a")
    assert await _all(queue) == ["a"]


async def test_a_delay_never_postpones() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", delay=0.01)
    queue.add("a", delay=60)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.done("a")
    queue.add("a", delay=60)
    queue.add("a", delay=0.01)
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    queue.close()


async def test_now_replaces_later() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", delay=60)
    queue.add("a")
    assert await _all(queue) == ["a"]
    assert queue._timers == {}


async def test_a_delayed_key_that_is_due_while_worked_on_comes_after() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a", delay=0.001)
    await asyncio.sleep(0.01)
    assert await _all(queue) == []
    queue.done("a")
    assert await _all(queue) == ["a"]


async def test_forget_takes_back_what_waits_for_its_moment() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", delay=0.001)
    queue.forget("a")
    await asyncio.sleep(0.01)
    assert await _all(queue) == []
