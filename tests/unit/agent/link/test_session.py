"""How long an answer may take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from agent.link.session import HubSession, HubUnreachable, pinned_context

PIECES = 8
QUIET = 2.0


async def test_f46_what_comes_slowly_is_taken_and_what_stops_is_not(hub: Any, pki: Any) -> None:
    stopped = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(PIECES):
            await response.write(b"x" * 1024)
            if "stop" in request.query:
                await stopped.wait()
            await asyncio.sleep(1.25 * QUIET / PIECES)  # longer than `quiet` in all
        return response

    hub.routes["/slow"] = slow
    session = HubSession(hub.url, pinned_context(pki.ca), user_agent="tests")
    try:
        answer = await session.exchange("GET", "/slow", timeout=60, quiet=QUIET)
        assert len(answer.body) == PIECES * 1024
        with pytest.raises(HubUnreachable):
            await session.exchange("GET", "/slow?stop=1", timeout=60, quiet=0.5)
        with pytest.raises(HubUnreachable):
            await session.exchange("GET", "/slow", timeout=0.3, quiet=60)
    finally:
        stopped.set()
        await session.close()
