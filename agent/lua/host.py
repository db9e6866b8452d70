"""Starts the process that runs Lua checks, asks it, and kills it where it does not answer."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from agent.health.rules import LuaAnswer, LuaMissing

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

SECONDS = 2.0
"""Of the processor, for one check. Argo CD gives its own one second."""
PATIENCE = 10.0
"""For what a busy machine makes of them. No longer: who asks does nothing else meanwhile."""
START_SECONDS = 15.0
_BAD_AFTER = 2
"""A script that was killed so often is not run again by this host."""
_CHUNK = 65536


class LuaHost:
    """A `LuaRunner`. One process, begun by the first check, and again after each that had to be killed.

    Raises `LuaMissing` where lupa is not installed. Use as a context manager, or `close` it.
    """

    def __init__(self, *, seconds: float = SECONDS, patience: float = PATIENCE) -> None:
        if importlib.util.find_spec("lupa") is None:
            raise LuaMissing("health checks in Lua need the package lupa (the extra `lua`)")
        self._seconds, self._patience = seconds, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._killed: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, script: str, obj: Manifest) -> LuaAnswer:
        if self._killed.get(script, 0) >= _BAD_AFTER:
            return LuaAnswer(error="it does not end, and is no longer run")
        asked = {"script": script, "object": obj, "seconds": self._seconds}
        request = json.dumps(asked, default=str).encode() + b"\n"
        fresh = self._process is None or self._process.poll() is not None
        try:
            answer = json.loads(self._ask(request, self._patience + (START_SECONDS if fresh else 0.0)))
        except (OSError, EOFError, ValueError) as error:
            ended = self.close()
            self._killed[script] = self._killed.get(script, 0) + 1
            if isinstance(error, TimeoutError) or ended == -signal.SIGPROF:
                return LuaAnswer(error=f"no verdict in {self._seconds:g} s")
            return LuaAnswer(error="its process ended: too much memory, most likely")
        return LuaAnswer(answer.get("status", ""), answer.get("message", ""), answer.get("error", ""))

    def close(self) -> int | None:
        """End the process; gives how it ended, if there was one. The next check begins another."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.wait()

    def _ask(self, request: bytes, seconds: float) -> bytes:
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(request)
        process.stdin.flush()
        return _line(process.stdout, time.monotonic() + seconds)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            # The path is our own, and the environment is empty but for what the interpreter itself needs.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", str(Path(__file__).with_name("worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ},
            )
        return self._process


def _line(stream: IO[bytes], deadline: float) -> bytes:
    """One line of the answer. Raises `TimeoutError`, and `EOFError` where the process ended before."""
    found = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not found.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            chunk = os.read(stream.fileno(), _CHUNK)
            if not chunk:
                raise EOFError
            found += chunk
    return found
