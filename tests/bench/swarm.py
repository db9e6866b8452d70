"""`python -m tests.bench.swarm FILE`: thousands of agents as light clients, each with a certificate of its own.

Each keeps what a real one keeps open: one connection on which it waits for its assignment, and one for reports and
heartbeats; and it comes back with the agent's own backoff. For each line on stdin it begins to count anew who was
served since; it prints who was, several times a second, as JSON lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from agent.kube.config import load_identity
from agent.link.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

BEAT = 20.0
_TIMEOUT = 90.0
_TOLD = 0.25
_ARRIVAL = 0.004
_REASONS = 6


@dataclass(slots=True)
class Swarm:
    host: str
    port: int
    served: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    why: Counter[str] = field(default_factory=Counter)
    """Of each kind of failure, how many."""

    async def live(self, name: str, tls: ssl.SSLContext) -> None:
        """One agent, for ever: its two loops try again each by itself, and a poll that failed has a report sent."""
        returning = asyncio.Event()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._wait(tls, returning))
            both.create_task(self._report(name, tls, returning))

    async def _wait(self, tls: ssl.SSLContext, returning: asyncio.Event) -> None:
        """Its assignment is kept over a reconnect, as a real agent keeps it: what did not change is not sent again."""
        backoff = Backoff(base=0.25, cap=20.0)
        held: list[str] = []
        while True:
            with self._counted():
                async with self._open(tls) as (reader, writer):
                    while True:
                        headers = "".join(f"{each}\r\n" for each in ("Prefer: wait=55", *held))
                        status, found = await _ask(reader, writer, "GET /agent/v1/assignment", headers)
                        if status not in (200, 304):
                            raise ValueError(status)
                        backoff.reset()
                        if "etag" in found:
                            held[:] = [f"If-None-Match: {found['etag']}"]
            await asyncio.sleep(backoff.next())
            returning.set()

    async def _report(self, name: str, tls: ssl.SSLContext, returning: asyncio.Event) -> None:
        backoff = Backoff(base=0.25, cap=20.0)
        count = 0
        while True:
            with self._counted():
                async with self._open(tls) as (reader, writer):
                    while not reader.at_eof():  # a connection that went while it was idle is no failure
                        count += 1
                        body = json.dumps(
                            {"epoch": 1, "seq": 1, "boot": name, "count": count, "agentVersion": "bench"}
                        )
                        status, _ = await _ask(reader, writer, "POST /agent/v1/reports", "", body)
                        if status != 200:
                            raise ValueError(status)
                        self.served.setdefault(name, time.monotonic())
                        backoff.reset()
                        returning.clear()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(BEAT * random.uniform(0.85, 1.0)):
                                await returning.wait()
                    continue
            await asyncio.sleep(backoff.next())

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """A try that fails counts, and is followed by another."""
        try:
            yield
        except (OSError, EOFError, TimeoutError, ValueError) as failure:
            self.failures += 1
            self.why[repr(failure)[:80]] += 1

    @contextlib.asynccontextmanager
    async def _open(self, tls: ssl.SSLContext) -> Any:
        async with asyncio.timeout(30.0):
            reader, writer = await asyncio.open_connection(
                self.host, self.port, ssl=tls, server_hostname=self.host, limit=16 * 1024
            )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, headers: str, body: str = ""
) -> tuple[int, dict[str, str]]:
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    writer.write(f"{what} HTTP/1.1\r\nHost: hub\r\n{headers}{length}\r\n{body}".encode())
    async with asyncio.timeout(_TIMEOUT):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        await reader.readexactly(int(found.get("content-length", "0")))
    return int(first.split()[1]), found


async def main(path: Path) -> None:
    told = json.loads(path.read_text())  # noqa: ASYNC240 - before anything runs
    swarm = Swarm(told["host"], told["port"])
    agents = []
    for name, certificate in told["certificates"].items():
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.load_verify_locations(cadata=told["ca"])
        load_identity(tls, certificate=certificate, key=told["key"])
        agents.append(asyncio.create_task(swarm.live(name, tls)))
        await asyncio.sleep(_ARRIVAL)  # the first time they come one after the other
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    marks = asyncio.create_task(_marks(lines, swarm))
    while not marks.done():
        last = max(swarm.served.values(), default=0.0)
        why = dict(swarm.why.most_common(_REASONS))
        state = {"served": len(swarm.served), "last": last, "failures": swarm.failures, "why": why}
        sys.stdout.write(json.dumps(state) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(_TOLD)
    os._exit(0)  # thousands of connections need no goodbye


async def _marks(lines: asyncio.StreamReader, swarm: Swarm) -> None:
    while await lines.readline():
        swarm.served.clear()
        swarm.failures = 0
        swarm.why.clear()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
