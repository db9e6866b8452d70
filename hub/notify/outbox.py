"""What one sink is still to be told: bounded, one at a time, with growing pauses while it fails. Nobody waits for it.

Of one matter only the latest is kept. Something that broke and was mended while the sink was away is not told at all.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agent.contract.errors import AxletreeError
from hub.notify.errors import SinkInvalid, SinkRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.notify.message import Message
    from hub.notify.topics import Topic
    from hub.telemetry.meters import Meters

log = logging.getLogger(__name__)
CAPACITY = 1000
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
FINISH_SECONDS = 3.0
SEND_SECONDS = 30.0
"""For all of one attempt, whatever the sink's own limits are."""


class Slot(NamedTuple):
    """One matter of one object, as one sink is told of it."""

    kind: str
    key: str
    sink: str
    topic: Topic


@dataclass(frozen=True, slots=True)
class Letter:
    slot: Slot
    message: Message
    word: str
    previous: str
    """What the sink knows, or will by the time that this is sent."""
    template: str = ""


class Outbox:
    """`send` raises errors of ours; `done` is told of each letter that needs no further try."""

    def __init__(
        self,
        sink: str,
        *,
        send: Callable[[Letter], Awaitable[None]],
        done: Callable[[Letter], None],
        meters: Meters,
        capacity: int = CAPACITY,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._sink = sink
        self._send = send
        self._done = done
        self._meters = meters
        self._capacity = capacity
        self._first_pause = first_pause
        self._letters: OrderedDict[Slot, Letter] = OrderedDict()
        self._sending: Letter | None = None
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        return len(self._letters)

    def put(self, letter: Letter) -> bool:
        """Take it; False where the box is full."""
        held = self._letters.get(letter.slot)
        if held is not None and held is not self._sending:
            return self._instead(held, letter)
        if len(self._letters) >= self._capacity:
            self._count("dropped")
            return False
        self._letters[letter.slot] = letter
        self._wake.set()
        return True

    def _instead(self, untold: Letter, letter: Letter) -> bool:
        """Take it in the place of one that was never told."""
        del self._letters[letter.slot]
        if letter.word != untold.previous:  # else it was never told, and no longer is so
            self._letters[letter.slot] = replace(letter, previous=untold.previous)
            self._wake.set()
        return True

    def forget(self, slot: Slot) -> None:
        self._letters.pop(slot, None)

    async def run(self) -> None:
        """Send until cancelled."""
        failures = 0
        while True:
            while not self._letters:
                self._wake.clear()
                await self._wake.wait()
            slot, letter = next(iter(self._letters.items()))
            self._sending = letter
            pause = await self._tried(letter, failures)
            self._sending = (
                None  # here, and not where it ends: what comes in between would take it for untold
            )
            if pause is None:
                failures = 0
                if self._letters.get(slot) is letter:
                    del self._letters[slot]
                self._done(letter)
                continue
            failures += 1
            since = self._letters.get(slot)
            if since is not None and since is not letter:
                self._instead(letter, since)
            await asyncio.sleep(pause)

    async def _tried(self, letter: Letter, failures: int) -> float | None:
        """An attempt that goes on for a moment when the hub ends: else it is not known whether it was taken."""
        attempt = asyncio.ensure_future(self._try(letter, failures))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await asyncio.wait({attempt}, timeout=FINISH_SECONDS)
            if attempt.done() and not attempt.cancelled() and attempt.result() is None:
                self._done(letter)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
            raise

    async def _try(self, letter: Letter, failures: int) -> float | None:
        """None where it is settled, else the seconds to wait."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(letter)
        except SinkRefused as error:
            log.warning("a notification is dropped: sink %s: %s", self._sink, error)
            self._count("dropped")
            return None
        except (AxletreeError, TimeoutError) as error:
            pause = min(LONGEST_PAUSE, self._first_pause * 2.0 ** min(failures, 16))
            if isinstance(error, SinkInvalid):
                pause = LONGEST_PAUSE / 10  # until somebody mends the Secret
            wait = getattr(error, "retry_after", None)
            log.info("sink %s: %s; it is tried again", self._sink, str(error) or "no answer in time")
            self._count("retried")
            return float(max(wait or 0.0, random.uniform(pause / 2, pause)))  # noqa: S311 - jitter
        except Exception:
            log.exception("a notification is dropped: sink %s", self._sink)
            self._count("dropped")
            return None
        finally:
            self._meters.sending.labels(self._sink).observe(time.perf_counter() - began)
        self._count("sent")
        return None

    def _count(self, outcome: str) -> None:
        self._meters.notifications.labels(self._sink, outcome).inc()
