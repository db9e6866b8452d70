"""Latest state wins, a key at a time: coalesced writes with a leading edge.

The first state of a key is written at once, a burst of five too, then one a second; whatever came last is
always written in the end. So a quiet app is reported without delay, and a flapping one is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from agent.contract.errors import ApiError, TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

State = TypeVar("State")

_NOT_FOUND, _CONFLICT = 404, 409
_LONGEST_BACKOFF = 30.0


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """How much at once, and how often. `burst` and `rate` (a second) are those of each key."""

    concurrency: int = 32
    capacity: int = 20_000
    """Keys that may wait for their write; beyond it the caller is told to come back."""
    burst: int = 5
    rate: float = 1.0


@dataclass(slots=True)
class _Entry(Generic[State]):
    tokens: float
    refilled: float
    content: bytes = b""
    """Of the state that was accepted last, written or not."""
    source: str = ""
    order: int = 0
    pending: State | None = None
    busy: bool = False
    doubted: bool = False
    """Another process may have written something else, or newer, meanwhile: the next write looks first."""
    failures: int = 0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class LatestWriter(Generic[State]):
    """Accepts states by key and writes them through `write`, which raises ApiError or TransientError.

    `careful` is the same for what may be late: it looks at what is there first, and leaves what is newer. It writes
    what waited (for its turn in the pace, or for another try) and what is in doubt; without one, `write` does.
    A 404 drops the state (there is nothing to write it to) and forgets its content, so that the next report
    is written even if it says the same. Belongs to the loop that it is used in.
    """

    def __init__(
        self,
        write: Callable[[str, State], Awaitable[None]],
        *,
        clock: Callable[[], float],
        careful: Callable[[str, State], Awaitable[None]] | None = None,
        limits: WriterLimits | None = None,
    ) -> None:
        self._write = write
        self._careful = careful or write
        self._clock = clock
        self._limits = limits or WriterLimits()
        self._entries: dict[str, _Entry[State]] = {}
        self._ready: deque[tuple[str, _Entry[State]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Keys whose latest state is not on its way yet."""
        return self._waiting

    def room(self, count: int) -> bool:
        """Whether so many more keys may wait."""
        return not self._closed and self._waiting + count <= self._limits.capacity

    def submit(self, key: str, state: State, *, content: bytes, source: str, order: int) -> bool:
        """Take a state; whether it is to be written.

        Not where a newer one (`order`, within one `source`) is known, nor where `content` equals the last.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = _Entry(tokens=float(self._limits.burst), refilled=self._clock())
            self._entries[key] = entry
        if entry.source == source and order < entry.order:
            return False
        entry.source, entry.order = source, order
        if content == entry.content:
            return False
        entry.content = content
        self._hold(entry, state)
        self._schedule(key, entry)
        return True

    def seed(self, key: str, content: bytes) -> None:
        """Take it that this is written already. No change for a key of which something newer is known."""
        if key not in self._entries and not self._closed:
            tokens = float(self._limits.burst)
            self._entries[key] = _Entry(tokens=tokens, refilled=self._clock(), content=content)

    def forget(self, key: str) -> None:
        """Drop a key that is gone, and what waits for it."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            if entry.timer is not None:
                entry.timer.cancel()
            if entry.pending is not None:
                entry.pending = None
                self._waiting -= 1

    def doubt(self, key: str) -> None:
        """What is written of the key is not known: its next state is taken whatever it says, and written carefully."""
        entry = self._entries.get(key)
        if entry is None:
            if self._closed:
                return
            entry = _Entry(tokens=float(self._limits.burst), refilled=self._clock())
            self._entries[key] = entry
        entry.content, entry.doubted = b"", True

    async def close(self, grace: float = 2.0) -> None:
        """Let what is on its way finish for `grace` seconds, and drop what waits: agents send it again."""
        self._closed = True
        for key in list(self._entries):
            self.forget(key)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hold(self, entry: _Entry[State], state: State) -> None:
        if entry.pending is None:
            self._waiting += 1
        entry.pending = state

    def _schedule(self, key: str, entry: _Entry[State]) -> None:
        """Line the key up, now or when its next token is there. One place in the line a key."""
        if entry.busy or entry.timer is not None or entry.pending is None or self._closed:
            return
        now = self._clock()
        refill = (now - entry.refilled) * self._limits.rate
        entry.tokens = min(float(self._limits.burst), entry.tokens + refill)
        entry.refilled = now
        if entry.tokens >= 1.0:
            entry.tokens -= 1.0
            self._line_up(key, entry)
        else:
            self._later(key, entry, (1.0 - entry.tokens) / self._limits.rate)

    def _later(self, key: str, entry: _Entry[State], seconds: float) -> None:
        def due() -> None:
            entry.timer = None
            entry.doubted = True
            self._schedule(key, entry)

        entry.timer = asyncio.get_running_loop().call_later(seconds, due)

    def _line_up(self, key: str, entry: _Entry[State]) -> None:
        entry.busy = True
        self._ready.append((key, entry))
        self._pump()

    def _pump(self) -> None:
        while self._ready and len(self._tasks) < self._limits.concurrency:
            key, entry = self._ready.popleft()
            if self._entries.get(key) is not entry or entry.pending is None:
                continue
            state, entry.pending = entry.pending, None
            self._waiting -= 1
            task = asyncio.create_task(self._run(key, entry, state))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._closed:
            self._pump()

    async def _run(self, key: str, entry: _Entry[State], state: State) -> None:
        pause = 0.0
        careful, entry.doubted = entry.doubted, False
        try:
            await (self._careful if careful else self._write)(key, state)
            entry.failures = 0
        except (ApiError, TransientError) as error:
            pause = self._failed(key, entry, state, error)
        except Exception:
            log.exception("the state of %s was not written", key, extra={"application": key})
            entry.content, entry.doubted = b"", True
        entry.busy = False
        if self._entries.get(key) is entry and entry.pending is not None and not self._closed:
            if pause:
                self._later(key, entry, pause)
            else:
                self._schedule(key, entry)

    def _failed(
        self, key: str, entry: _Entry[State], state: State, error: ApiError | TransientError
    ) -> float:
        """How many seconds to wait before trying again; 0 where trying again is of no use."""
        entry.doubted = True
        if isinstance(error, ApiError) and not error.transient and error.status != _CONFLICT:
            level = logging.INFO if error.status == _NOT_FOUND else logging.WARNING
            log.log(level, "the state of %s was not written: %s", key, error)
            if entry.pending is None:
                entry.content = b""
            return 0.0
        log.info("the state of %s will be written again: %s", key, error, extra={"application": key})
        if entry.pending is None and self._entries.get(key) is entry:
            self._hold(entry, state)
        entry.failures += 1
        ceiling = min(_LONGEST_BACKOFF, 0.2 * 2.0 ** min(entry.failures, 16))
        return max(error.retry_after or 0.0, random.uniform(ceiling / 2, ceiling))  # noqa: S311 - jitter
