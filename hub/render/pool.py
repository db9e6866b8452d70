"""Workers for users' templates: each call costs itself at most.

A worker answers in order, so whatever ends it belongs to the first request without an answer: that one fails,
the worker is replaced, and the rest is sent again. Many small requests go out at once, which makes a call
cost what it computes and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from agent.contract.errors import AxletreeError
from hub.core.expansion import ExpandRequest, Expansion
from hub.core.needs import Needs
from hub.render.explain import Touch
from hub.render.failures import RenderCrashed, RenderFailed, RenderTimeout, RenderTooLarge, failure_of
from hub.render.pipeline import RenderRequest, RenderResult, Stage
from hub.render.process import WorkerProcess, sweep
from hub.render.programs import Programs
from hub.render.seal import SealedResult, Sealing
from hub.render.worker import HEADER, MAX_FRAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub.render.explaining import Question

log = logging.getLogger(__name__)

_BATCH = 64
_BATCH_BYTES = 8 * 1024 * 1024
_WAITING = 4096


@dataclass(slots=True)
class _Job:
    frame: bytes
    future: asyncio.Future[dict[str, Any]]


@dataclass(slots=True)
class _Slot:
    """One worker's place in the pool: its process, how many calls it served, and what it must do again."""

    process: WorkerProcess
    calls: int = 0
    again: deque[_Job] = field(default_factory=deque)


class WorkerPool:
    """`async with WorkerPool() as pool`. Calls wait in line, at most 4,096 of them, then callers wait.

    `timeout` is in seconds a call, from when its worker turned to it.
    """

    def __init__(
        self,
        *,
        size: int = 1,
        memory_mb: int = 512,
        timeout: float = 20.0,
        max_calls: int = 5000,
        programs: Programs | None = None,
        on_call: Callable[[str, float, str], None] | None = None,
    ) -> None:
        self._on_call = on_call
        """Told of each call: its operation, the seconds that it took, and the reason where it failed."""
        self._size = size
        self._memory_mb = memory_mb
        self._timeout = timeout
        self._max_calls = max_calls
        self._programs = programs or Programs()
        self._queue: asyncio.Queue[_Job] = asyncio.Queue(_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._jobs: set[asyncio.Future[dict[str, Any]]] = set()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Start the workers in the background; calls made meanwhile wait for them."""
        if not self._tasks:
            sweep()
            self._tasks = [asyncio.create_task(self._run(self._slot())) for _ in range(self._size)]

    async def close(self) -> None:
        """End the workers; open calls are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for future in list(self._jobs):
            future.cancel()

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        """Raises `ExpansionError`, or `RenderFailed` where the worker did not survive it."""
        result = await self._call("expand", request.to_wire())
        return Expansion.from_wire(result["ok"]) if "ok" in result else Needs.from_wire(result["needs"])

    async def render(self, request: RenderRequest) -> RenderResult:
        """Raises `ManifestError`, or `RenderFailed` where the worker did not survive it."""
        with _about(request):
            result = await self._call("render", request.to_wire())
        stages = tuple(map(Stage.from_wire, result["stages"]))
        return RenderResult(tuple(result["ok"]), stages)

    async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult:
        """As `render`; values of Secrets never come into this process in the clear."""
        with _about(request):
            result = await self._call("seal", request.to_wire(), sealing=sealing.to_wire())
        return SealedResult(tuple(result["ok"]), tuple(result["masks"]))

    async def explain(self, request: RenderRequest, question: Question) -> list[Touch]:
        """Which layers made a field, told by the worker: no secret value is in it.

        Raises `ManifestError`, `NoSuchObject`, `NoSuchField`, `TooMuchToTell`, or `RenderFailed`.
        """
        result = await self._call("explain", request.to_wire(), question=question.to_wire())
        return [Touch.from_wire(one) for one in result["ok"]]

    async def text(self, template: str, params: dict[str, Any]) -> str:
        """A user's template as text. Raises `RenderFailed`."""
        found: str = (await self._call("text", {"template": template, "params": params}))["ok"]
        return found

    async def ping(self) -> dict[str, int]:
        """What a worker says of itself: `rss` in KiB at its peak, and what confines it (`Confinement`)."""
        found: dict[str, int] = (await self._call("ping", {}))["ok"]
        return found

    async def _call(self, op: str, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        body = json.dumps({"op": op, "request": request, **more}, default=dict).encode()
        if len(body) > MAX_FRAME:
            raise RenderTooLarge(f"{op}: its input is larger than {MAX_FRAME} bytes")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        began, reason = loop.time(), ""
        try:
            await self._queue.put(_Job(HEADER.pack(len(body)) + body, future))
            answer = await future
            if "error" in answer:
                raise failure_of(answer["error"])
        except AxletreeError as error:
            reason = error.reason
            raise
        finally:
            if self._on_call is not None:
                self._on_call(op, loop.time() - began, reason)
        return answer

    @property
    def waiting(self) -> int:
        """Calls that no worker has turned to."""
        return self._queue.qsize()

    def _slot(self) -> _Slot:
        return _Slot(WorkerProcess(self._programs, self._memory_mb, self._timeout))

    async def _run(self, slot: _Slot) -> None:
        try:
            while True:
                try:
                    await self._ensure(slot)
                except (
                    OSError,
                    EOFError,
                    ValueError,
                ) as error:  # a call is told where the next one fails too
                    log.warning("a render worker did not begin: %s", error)
                    await slot.process.stop()
                batch = await self._next_batch(slot)
                await self._serve(slot, batch)
                if slot.calls >= self._max_calls:
                    await slot.process.stop()
        finally:
            await asyncio.shield(slot.process.stop())

    async def _next_batch(self, slot: _Slot) -> list[_Job]:
        batch = list(slot.again)
        slot.again.clear()
        if not batch:
            batch.append(await self._queue.get())
        size = sum(len(job.frame) for job in batch)
        share = -(-self._queue.qsize() // self._size)
        while len(batch) < min(_BATCH, share + 1) and size < _BATCH_BYTES and not self._queue.empty():
            job = self._queue.get_nowait()
            size += len(job.frame)
            batch.append(job)
        return [job for job in batch if not job.future.done()]

    async def _serve(self, slot: _Slot, batch: list[_Job]) -> None:
        waiting = deque(batch)
        try:
            await self._ensure(slot)
            slot.process.send([job.frame for job in batch])
            while waiting:
                answer = await slot.process.answer()
                slot.calls += 1
                _resolve(waiting.popleft(), answer)
                if answer.get("last"):
                    await slot.process.stop()
                    break
        except TimeoutError:
            await self._fail(slot, waiting, RenderTimeout(f"it took longer than {self._timeout:g} s"))
        except EOFError:
            await self._fail(slot, waiting, RenderCrashed(f"its worker ended {await slot.process.how()}"))
        except (OSError, ValueError) as error:
            await self._fail(
                slot, waiting, RenderCrashed(f"its worker ended: {type(error).__name__} {error}")
            )
        slot.again.extend(waiting)

    async def _ensure(self, slot: _Slot) -> None:
        if await slot.process.ensure():
            slot.calls = 0

    async def _fail(self, slot: _Slot, waiting: deque[_Job], error: RenderFailed) -> None:
        log.warning("render worker replaced: %s", error)
        await slot.process.stop()
        job = waiting.popleft() if waiting else None
        if job is not None and not job.future.done():
            job.future.set_exception(error)


@contextlib.contextmanager
def _about(request: RenderRequest) -> Iterator[None]:
    """Name the sources of what a worker did not survive: it could say nothing itself."""
    try:
        yield
    except RenderFailed as error:
        where = ", ".join(dict.fromkeys(one.where for one in request.sources))
        raise type(error)(f"{where}: {error}") from error


def _resolve(job: _Job, answer: dict[str, Any]) -> None:
    if not job.future.done():
        job.future.set_result(answer)
