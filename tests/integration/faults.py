"""Faults on the wire by real means: a proxy that carries bytes badly, and a server in a hub's place."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from agent.kube.config import load_identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hub.gateway.identity import HubIdentity

_PIECE = 4096


class Wire:
    """A TCP proxy. It holds bytes back rather than drop them, as TCP would bring them again."""

    def __init__(self, *targets: str) -> None:
        self.targets = [urlsplit(target) for target in targets]
        self.url = ""
        self.connections = 0
        self.up, self.down = asyncio.Event(), asyncio.Event()
        """Whether bytes go to the hub, and whether they come back."""
        self.latency = (0.0, 0.0)
        """Seconds that each piece takes, at least and at most."""
        self.refuses = False
        self.seed = random.Random(7)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.heal()

    def heal(self) -> None:
        self.refuses, self.latency = False, (0.0, 0.0)
        self.up.set()
        self.down.set()

    def partition(self) -> None:
        """Nothing goes either way any more."""
        self.up.clear()
        self.down.clear()

    def cut(self) -> None:
        """End what is open, and take nothing new."""
        self.refuses = True
        for writer in self._open:
            writer.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Wire]:
        server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bring one connection to the next target, until either side ends it."""
        if self.refuses:
            writer.transport.abort()
            return
        target = self.targets[self.connections % len(self.targets)]
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        both = (self._carry(reader, back, self.up), self._carry(there, writer, self.down))
        tasks = [asyncio.create_task(each) for each in both]
        self._tasks.update(tasks)
        for task in tasks:
            task.add_done_callback(self._tasks.discard)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for each in (writer, back):
            self._open.discard(each)
            each.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goes: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                await goes.wait()
                if self.latency[1]:
                    await asyncio.sleep(self.seed.uniform(*self.latency))
                writer.write(piece)
                await writer.drain()


class ForwardProxy:
    """An HTTP proxy for CONNECT, which brings every name to one address. `asked` is what it was asked for."""

    def __init__(self, target: str) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._wire = Wire(target)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ForwardProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with self._wire.running():
                yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.splitlines()[0])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._wire.carry(reader, writer)


class Impostor:
    """What stands at the hub's address, with a certificate that is good, and answers as it likes."""

    def __init__(
        self, identity: HubIdentity, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> None:
        self.answer = answer
        self.url = ""
        self.asked: list[tuple[float, str]] = []
        self._identity = identity

    @asynccontextmanager
    async def running(self, now: Callable[[], object]) -> AsyncIterator[Impostor]:
        pair = self._identity.issue_server(("127.0.0.1",), now())  # type: ignore[arg-type]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_identity(context, certificate=pair.certificate, key=pair.key)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((asyncio.get_running_loop().time(), request.path))
        return await self.answer(request)
