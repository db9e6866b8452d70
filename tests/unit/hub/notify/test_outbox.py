from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hub.notify.errors import SinkAway, SinkRefused
from hub.notify.outbox import Letter, Outbox, Slot
from hub.notify.topics import Topic
from hub.telemetry.meters import Meters
from tests.unit.hub.notify.test_sinks import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Post:
    """Takes letters, or fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.done: list[str] = []
        self.fail: list[Exception] = []
        self.tries = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.after: Callable[[], object] | None = None
        """Called in the moment after the next letter is taken."""
        self.meters = Meters()

    async def send(self, letter: Letter) -> None:
        self.tries += 1
        await self.gate.wait()
        if self.fail:
            raise self.fail.pop(0)
        self.sent.append(letter.word)
        if self.after is not None:
            asyncio.get_running_loop().call_soon(self.after)
            self.after = None

    def finished(self, letter: Letter) -> None:
        self.done.append(letter.word)

    def count(self, outcome: str) -> float:
        found = self.meters.registry.get_sample_value(
            "axletree_notifications_total", {"sink": "chat", "outcome": outcome}
        )
        return found or 0.0


@asynccontextmanager
async def box(post: Post, *, capacity: int = 3) -> AsyncIterator[Outbox]:
    made = Outbox(
        "chat",
        send=post.send,
        done=post.finished,
        meters=post.meters,
        capacity=capacity,
        first_pause=0.01,
    )
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def letter(name: str, word: str, previous: str = "") -> Letter:
    return Letter(Slot("Application", f"shop/{name}", "chat", Topic.HEALTH), message(), word, previous)


async def until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - another task changes it
            await asyncio.sleep(0.005)


async def test_a_failing_sink_is_tried_again_and_each_message_comes_once() -> None:
    post = Post()
    post.fail = [SinkAway("down"), SinkAway("down", retry_after=0.02), SinkAway("down")]
    async with box(post) as outbox:
        assert outbox.put(letter("a", "bad 1"))
        assert outbox.put(letter("b", "bad 1b"))
        await until(lambda: len(post.done) == 2)
    assert post.sent == post.done == ["bad 1", "bad 1b"]
    assert (post.count("sent"), post.count("retried"), post.count("dropped")) == (2, 3, 0)


async def test_what_a_sink_refuses_is_dropped_and_the_next_goes_out() -> None:
    post = Post()
    post.fail = [SinkRefused("410"), ValueError("a bug")]
    async with box(post) as outbox:
        for word in ("one", "two", "three"):
            outbox.put(letter(word, word))
        await until(lambda: len(post.done) == 3)
    assert post.sent == ["three"]
    assert (post.count("sent"), post.count("dropped")) == (1, 2)


async def test_a_full_box_takes_no_more_and_counts_what_it_drops() -> None:
    post = Post()
    post.gate.clear()
    async with box(post) as outbox:
        taken = [outbox.put(letter(f"app-{at}", f"bad {at}")) for at in range(10)]
        assert taken == [True] * 3 + [False] * 7
        assert outbox.waiting == 3
        assert post.count("dropped") == 7


async def test_what_broke_and_was_mended_while_a_sink_was_away_is_not_told() -> None:
    post = Post()
    post.gate.clear()
    async with box(post) as outbox:
        outbox.put(letter("first", "bad 1"))
        await until(lambda: post.tries == 1)
        outbox.put(letter("web", "bad 1"))
        outbox.put(letter("api", "bad 1"))
        outbox.put(letter("web", "", previous="bad 1"))
        outbox.put(letter("api", "bad 2", previous="bad 1"))
        post.gate.set()
        await until(lambda: len(post.done) == 2)
    assert post.sent == ["bad 1", "bad 2"]


async def test_what_is_over_in_the_moment_after_it_was_told_is_told_to_be_over() -> None:
    post = Post()
    async with box(post) as outbox:
        post.after = lambda: outbox.put(letter("web", "", previous="bad 1"))
        outbox.put(letter("web", "bad 1"))
        await until(lambda: len(post.done) == 2)
    assert post.sent == ["bad 1", ""]


async def test_what_was_mended_during_an_attempt_that_failed_is_not_told() -> None:
    post = Post()
    post.gate.clear()
    post.fail = [SinkAway("down")]
    async with box(post) as outbox:
        outbox.put(letter("web", "bad 1"))
        await until(lambda: post.tries == 1)
        outbox.put(letter("web", "", previous="bad 1"))
        post.gate.set()
        outbox.put(letter("last", "bad 1"))
        await until(lambda: len(post.done) == 1)
    assert post.sent == ["bad 1"]
    assert post.tries == 2


async def test_what_is_on_its_way_when_the_hub_ends_is_noted() -> None:
    post = Post()
    post.gate.clear()
    async with box(post) as outbox:
        outbox.put(letter("web", "bad 1"))
        await until(lambda: post.tries == 1)
        asyncio.get_running_loop().call_later(0.05, post.gate.set)
    assert post.done == ["bad 1"]
