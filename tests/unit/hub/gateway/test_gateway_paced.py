"""The listener on real sockets with real TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from hub.gateway.identity import HubIdentity
from hub.gateway.paced import AT_ONCE, AT_ONCE_STARTING, PacedSite, gave_up
from hub.gateway.tls import server_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"
_GREETING = b"GET /hello HTTP/1.1\r\nHost: hub\r\n\r\n"


class Served:
    """A listener, and how many handshakes it had under way at most."""

    def __init__(self, site: PacedSite, client: ssl.SSLContext) -> None:
        self.site, self.client = site, client
        self.begun = self.done = self.most = 0

    def began(self, *_: object) -> None:
        self.begun += 1
        self.most = max(self.most, self.begun - self.done)

    async def greet(self) -> bytes:
        """Connect, and be answered."""
        reader, writer = await asyncio.open_connection(
            HOST, self.site.port, ssl=self.client, server_hostname=HOST
        )
        self.done += 1
        try:
            writer.write(_GREETING)
            return (await reader.readuntil(b"\r\n\r\n")).splitlines()[0]
        finally:
            writer.transport.abort()


@asynccontextmanager
async def serving(*, ready: bool = True) -> AsyncIterator[Served]:
    now = datetime.now(UTC)
    identity = HubIdentity.create(now=now)
    tls = server_tls(identity, (HOST,), now=now)

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/hello", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    site = PacedSite(runner, HOST, 0, tls=tls, backlog=512, ready=lambda: ready)
    client = ssl.create_default_context(cadata=identity.ca_pem)
    served = Served(site, client)
    tls.sni_callback = served.began
    try:
        await site.start()
        yield served
    finally:
        await runner.cleanup()


async def test_f30_a_fleet_that_comes_at_once_is_served_whole_and_few_handshakes_go_on_at_once() -> None:
    async with serving() as served, asyncio.timeout(120):
        answers = await asyncio.gather(*(served.greet() for _ in range(3 * AT_ONCE)))
        assert set(answers) == {b"HTTP/1.1 200 OK"}
        assert served.most < 2 * AT_ONCE  # the client hears of the end of one a moment later


@pytest.mark.parametrize("ready", [True, False])
async def test_f31_those_who_connect_and_say_nothing_keep_nobody_out(*, ready: bool) -> None:
    async with serving(ready=ready) as served, asyncio.timeout(120):
        silent = [socket.create_connection((HOST, served.site.port)) for _ in range(2 * AT_ONCE)]
        try:
            assert await served.greet() == b"HTTP/1.1 200 OK"
        finally:
            for each in silent:
                each.close()
        assert len(silent) > AT_ONCE > AT_ONCE_STARTING


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell a connection's state")
@pytest.mark.parametrize("linger", [False, True])
def test_f30_who_gave_up_before_it_was_let_in_is_known(*, linger: bool) -> None:
    with socket.create_server((HOST, 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"the first words of a handshake")
            assert not gave_up(accepted)
            if linger:  # it is reset
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            deadline = time.monotonic() + 60
            while not gave_up(accepted):
                assert time.monotonic() < deadline
                time.sleep(0.01)


async def test_f30_nobody_waits_for_those_who_gave_up() -> None:
    async with serving() as served, asyncio.timeout(120):
        for _ in range(2 * AT_ONCE):
            with socket.create_connection((HOST, served.site.port)) as client:
                client.sendall(b"the first words of a handshake")
        assert await served.greet() == b"HTTP/1.1 200 OK"


async def test_a_handshake_that_fails_ends_alone() -> None:
    async with serving() as served, asyncio.timeout(120):
        for _ in range(2 * AT_ONCE):
            _, writer = await asyncio.open_connection(HOST, served.site.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            writer.transport.abort()
        assert await served.greet() == b"HTTP/1.1 200 OK"


async def test_who_is_in_stays_when_nobody_is_let_in_any_more() -> None:
    async with serving() as served, asyncio.timeout(120):
        port = served.site.port
        reader, writer = await asyncio.open_connection(HOST, port, ssl=served.client, server_hostname=HOST)
        writer.write(_GREETING)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        await served.site.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        writer.write(_GREETING)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_a_port_that_is_taken_says_so() -> None:
    async with serving() as served:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        other = PacedSite(
            runner, HOST, served.site.port, tls=ssl.create_default_context(), backlog=1, ready=lambda: True
        )
        try:
            with pytest.raises(OSError, match="in use"):
                await other.start()
        finally:
            await runner.cleanup()
