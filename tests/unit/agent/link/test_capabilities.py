from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import web

from agent.contract.wire import ReportBatch
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from agent.link.capabilities import Capabilities


def _batch(found: Capabilities) -> ReportBatch:
    return ReportBatch(boot="b", api_versions=found.untold)


async def test_what_is_served_is_told_once_and_again_where_it_was_lost() -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.json_response({"groups": [{"name": "apps", "versions": [{"version": "v1"}]}]})

    app = web.Application()
    app.router.add_get("/apis", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address: Any = runner.addresses[0]
    found, heard = Capabilities(), asyncio.Event()
    assert _batch(found).wire().get("apiVersions") is None
    async with RestClient(KubeConfig(server=f"http://127.0.0.1:{address[1]}"), user_agent="test") as client:
        looking = asyncio.create_task(found.run(client, changed=heard.set))
        async with asyncio.timeout(30):
            await heard.wait()
        first = _batch(found)
        assert first.wire()["apiVersions"] == ["apps/v1", "v1"]
        assert found.untold == ["apps/v1", "v1"], "not told before it arrived"
        found.delivered(first, resend=False)
        assert found.untold is None
        found.delivered(_batch(found), resend=True)
        assert found.untold == ["apps/v1", "v1"]
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    await runner.cleanup()
