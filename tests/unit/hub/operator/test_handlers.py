from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from agent.kube.config import KubeConfig
from hub.operator import handlers


class Nobody:
    def wake(self, plural: str, key: str, resource_version: str) -> None: ...

    def alive(self) -> dict[str, Any]:
        return {}


async def test_an_intake_that_cannot_start_is_told() -> None:
    """A hub without its intake must end and be started anew, not go on deaf."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 415}, status=415)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    config = KubeConfig(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with asyncio.timeout(60):
            with pytest.raises(Exception, match="415"):
                await handlers.run(Nobody(), config)
    finally:
        await runner.cleanup()
