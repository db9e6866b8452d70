"""What one connection to the API may cost, over TLS as it is served."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from hub.gateway.identity import HubIdentity
from hub.web.auth import MAX_TOKEN
from hub.web.door import MAX_HEADER, Door
from hub.web.tls import api_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Rig:
    def __init__(self) -> None:
        now = datetime.now(UTC)
        identity = HubIdentity.create(now=now)
        self.ended = asyncio.Event()
        self.tls = api_tls(identity, ("127.0.0.1",), now=now)
        self.trust = ssl.create_default_context(cadata=identity.ca_pem)
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self, **seconds: float) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/token", self._token)
        app.router.add_get("/stream", self._stream)
        door = Door(app, **seconds)
        await door.open("127.0.0.1", 0, tls=self.tls)
        self.port = door.port
        try:
            yield
        finally:
            await door.close()

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust, limit=1024)

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response({"size": len(request.headers["Authorization"])})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            self.ended.set()


async def test_s10_a_head_that_cannot_be_read_is_a_problem_like_any_other() -> None:
    rig = Rig()
    async with rig.open():
        connector = aiohttp.TCPConnector(ssl=rig.trust)
        async with aiohttp.ClientSession(f"https://127.0.0.1:{rig.port}", connector=connector) as session:
            async with session.get("/token", headers={"Authorization": "x" * MAX_TOKEN}) as answer:
                assert (answer.status, await answer.json()) == (200, {"size": MAX_TOKEN})
            async with session.get("/token", headers={"X-More": "x" * (MAX_HEADER + 1)}) as answer:
                said = await answer.json()
                assert (answer.status, answer.content_type) == (400, "application/problem+json")
                assert (said["reason"], said["status"]) == ("InvalidRequest", 400)
        reader, writer = await rig.dial()
        writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
        assert b"application/problem+json" in await reader.read(500)
        writer.close()


async def test_f31_who_says_nothing_or_one_byte_at_a_time_is_cut_off() -> None:
    rig = Rig()
    async with rig.open(idle_seconds=0.3):
        silent, slow = await rig.dial(), await rig.dial()
        try:
            async with asyncio.timeout(30):
                assert await silent[0].read() == b""
                with contextlib.suppress(ConnectionError):  # where the last byte came after the end
                    while not slow[0].at_eof():
                        slow[1].write(b"G")
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(slow[0].read(1), 0.05)
        finally:
            silent[1].close()
            slow[1].close()


async def test_f31_who_takes_nothing_of_an_answer_holds_no_place_for_ever() -> None:
    rig = Rig()
    async with rig.open(unread_seconds=0.3):
        _, writer = await rig.dial()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        try:
            await asyncio.wait_for(rig.ended.wait(), 60)
        finally:
            writer.transport.abort()
