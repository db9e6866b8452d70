"""A real HTTP server that answers what a test says, and remembers who asked for what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Host:
    """Routes are (method, path) -> JSON, or a handler."""

    base: str = ""
    routes: dict[str, Any] = field(default_factory=dict)
    asked: list[web.Request] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.path_qs for request in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.routes.get(request.raw_path.partition("?")[0])
        if found is None:
            return web.json_response({"message": "Not Found"}, status=404)
        if callable(found):
            return await found(request)
        return web.json_response(found)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    found = Host()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", found.answer)
    async with TestServer(app) as server:
        found.base = str(server.make_url("")).rstrip("/")
        yield found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as found:
        yield found
