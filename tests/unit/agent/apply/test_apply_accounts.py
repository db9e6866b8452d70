"""As whom an app is written: asked of the API server before each round, once for all that begin together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.apply.accounts import Accounts
from agent.apply.errors import ServiceAccountMissing
from agent.contract.bundle import ApplyPolicy
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLICY = ApplyPolicy(service_account="shop")
USER = "system:serviceaccount:axletree-agent:shop"


class Server:
    """Answers when it is let, with the status that is set."""

    def __init__(self) -> None:
        self.asked, self.status, self.url = 0, 200, ""
        self.heard, self.go = asyncio.Event(), asyncio.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        self.heard.set()
        await self.go.wait()
        body: dict[str, Any] = {"kind": "Status", "code": self.status, "reason": "NotFound"}
        return web.json_response(body, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def test_rounds_that_begin_together_ask_once_and_the_next_asks_again(server: Server) -> None:
    async with RestClient(KubeConfig(server.url), user_agent="test") as client:
        asked: dict[str, asyncio.Task[None]] = {}
        first, second, third = (Accounts(client, namespace="axletree-agent", asked=asked) for _ in range(3))
        given_up = asyncio.create_task(first.user(POLICY))
        await server.heard.wait()
        waiting = [asyncio.create_task(one.user(POLICY)) for one in (second, third)]
        given_up.cancel()
        await asyncio.wait([given_up])
        server.go.set()
        assert await asyncio.gather(*waiting) == [USER, USER]
        assert (server.asked, asked) == (1, {})
        server.status = 404
        for one in (second, third):
            with pytest.raises(ServiceAccountMissing):
                await one.user(POLICY)
        assert (server.asked, asked) == (3, {})
