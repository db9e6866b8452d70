"""Probes over a real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agent.probe import Probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Served:
    cluster: str
    enforcing: bool = False


@asynccontextmanager
async def serving(*agents: Served, seconds: float = 60.0) -> AsyncIterator[Probe]:
    probe = Probe(agents, seconds=seconds)
    await probe.open(0)
    try:
        yield probe
    finally:
        probe.close()


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def test_ready_is_who_enforces_and_alive_is_who_answers() -> None:
    one, two = Served("eu1", enforcing=True), Served("eu2")
    async with serving(one, two) as probe:
        alive = await ask(probe.port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert alive.startswith(b"HTTP/1.1 200 OK\r\n")
        not_yet = await ask(probe.port, b"GET /readyz?x=1 HTTP/1.1\r\n\r\n")
        assert not_yet.startswith(b"HTTP/1.1 503 ")
        assert not_yet.endswith(b"\r\n\r\nnot yet: eu2\n")
        two.enforcing = True
        assert (await ask(probe.port, b"GET /readyz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nok\n")


@pytest.mark.parametrize(
    ("request_", "start"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
        (b"POST /livez HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"x" * 10_000, b""),
        (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 405 "),
    ],
)
async def test_s10_what_is_no_probe_gets_little(request_: bytes, start: bytes) -> None:
    async with serving() as probe:
        answer = await ask(probe.port, request_)
    assert answer.startswith(start) if start else not answer


async def test_f31_who_sends_one_byte_is_let_go() -> None:
    async with serving(seconds=1.0) as probe:
        assert await ask(probe.port, b"G") == b""
        assert (await ask(probe.port, b"HEAD /livez HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
