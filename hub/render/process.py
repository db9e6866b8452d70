"""One worker's process: begun with nothing of this one but pipes, ended with the program that it may be running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hub
from hub.render.worker import HEADER, MAX_FRAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.render.programs import Programs

log = logging.getLogger(__name__)

_SCRATCH = "axletree-worker-"
_READ_AHEAD = 1024 * 1024
_END_SECONDS = 2.0
_START_SECONDS = 60.0
"""A start takes half a second, and many times that on a machine that is busy: no call's limit counts it."""
_WORDS, _SHOWN = 4096, 300
"""Bytes that are kept of what a worker says beside its answers, and characters that are logged."""
_TELLING = ("fatal error: ", "runtime: ", "Traceback ", "a render worker ")
"""How what is logged begins. Helm's warnings quote values, and so do traces of Jsonnet: they may be secret."""
_ROOT = str(Path(hub.__file__).parent.parent)


@dataclass(slots=True)
class WorkerProcess:
    """One at a time: a new one takes the place of one that ended. `timeout` is in seconds a call."""

    programs: Programs
    memory_mb: int
    timeout: float
    _process: asyncio.subprocess.Process | None = None
    _scratch: str = ""
    _words: asyncio.Task[str] | None = field(default=None, repr=False)
    """What it says beside its answers, once it ended."""

    async def ensure(self) -> bool:
        """Have one that takes calls; whether it is a new one. Raises OSError where none can be started, EOFError."""
        gone = not os.path.isdir(self._scratch)  # noqa: PTH112, ASYNC240 - as cleaners of /tmp do, after weeks
        if self._process is not None and self._process.returncode is None and not gone:
            return False
        await self.stop()
        self._scratch = tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-s",
            "-m",
            "hub.render.worker",
            str(self.memory_mb),
            str(max(1, int(self.timeout))),
            replace(self.programs, scratch=self._scratch).to_wire(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "PYTHONPATH": _ROOT,
                "PYTHONUTF8": "1",
                "TZ": "UTC",  # templates print times in the machine's zone
                "GOMEMLIMIT": f"{self.memory_mb * 3 // 5}MiB",
            },
            cwd="/",
            limit=_READ_AHEAD,
            start_new_session=True,
        )
        self._words = asyncio.create_task(_heard(self._process), name="words of a render worker")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _answer(self._process)
        except TimeoutError as error:
            await self.stop()
            raise OSError(f"it did not begin within {_START_SECONDS:g} s") from error
        return True

    def send(self, frames: Iterable[bytes]) -> None:
        """Write requests to a worker that runs; it answers them in order."""
        assert self._process is not None  # noqa: S101 - the caller had it started
        assert self._process.stdin is not None  # noqa: S101 - pipes were asked for
        self._process.stdin.writelines(frames)

    async def answer(self) -> dict[str, Any]:
        """The next answer. Raises TimeoutError, EOFError where it ended, ValueError for what is none."""
        assert self._process is not None  # noqa: S101 - the caller had it started
        return await asyncio.wait_for(_answer(self._process), self.timeout)

    async def how(self) -> str:
        """What it ended with. Libraries in Go end it with no exception where memory is not to be had."""
        if self._process is None or self._words is None:
            return "before it began"
        try:
            async with asyncio.timeout(_END_SECONDS):
                code, words = await self._process.wait(), await asyncio.shield(self._words)
        except TimeoutError:
            return "without an answer"
        fatal = next((line for line in words.splitlines() if line.startswith("fatal error: ")), "")
        said = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return f"{said}: {fatal}; it may take {self.memory_mb} MB" if fatal else said

    async def stop(self) -> None:
        """End it, and all that it left."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the program that it may be running
            if process.stdin is not None:
                process.stdin.close()
        scratch, self._scratch = self._scratch, ""
        try:
            if process is not None:
                await _ended(process)
        finally:
            if scratch:  # not before: what still runs may write into it
                shutil.rmtree(scratch, ignore_errors=True)


def sweep() -> None:
    """Remove the scratch folders of hubs that were killed before they could."""
    if sys.platform != "linux":
        return
    for path in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        owner = path.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(path, ignore_errors=True)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait until a killed worker is gone. Of answers that nobody reads any more, asyncio would wait for the end."""
    if process.stdout is not None:
        with contextlib.suppress(OSError):
            while await process.stdout.read(_READ_AHEAD):
                pass
    await process.wait()


async def _heard(process: asyncio.subprocess.Process) -> str:
    """The beginning of what a worker says on its standard error; the rest is dropped, or a chart would fill the log."""
    stream = process.stderr
    assert stream is not None  # noqa: S101 - pipes were asked for
    kept = b""
    while data := await stream.read(_READ_AHEAD):
        kept += data[: _WORDS - len(kept)]
    words = kept.decode(errors="replace")
    telling = [line for line in words.splitlines() if line.startswith(_TELLING)]
    if telling:
        log.warning("a render worker said: %s", " ".join(" ".join(telling).split())[:_SHOWN])
    return words


async def _answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    stream = process.stdout
    assert stream is not None  # noqa: S101 - pipes were asked for
    (size,) = HEADER.unpack(await stream.readexactly(HEADER.size))
    if size > MAX_FRAME:
        raise ValueError("an answer is too large")
    answer = json.loads(await stream.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("an answer is no map")  # noqa: TRY004 - not trusted: as any bad answer
    return answer
