"""The hub's API server goes wrong under it: what a list does not say is never a deletion."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from agent.kube.config import load_kubeconfig
from hub.api.registry import APPLICATION, CLUSTER
from tests.integration.hub_rig import FULL_PASS, SECONDS, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]

_NOT_FORWARDED = {"host", "content-length", "transfer-encoding", "connection"}


def _status(code: int, reason: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body, status=code)


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "500": lambda: _status(500, "InternalError"),
    "410": lambda: _status(410, "Expired"),
    "404": lambda: _status(404, "NotFound"),
    "html": lambda: web.Response(text="<html>log in</html>", content_type="text/html"),
    "cut": lambda: web.Response(body=b'{"kind": "ApplicationList", "apiVersion": "axletree.dev/v1'),
    "nothing": lambda: web.json_response({}),
    "not a list": lambda: web.json_response({"kind": "Status", "metadata": {"resourceVersion": "9"}}),
}


class Proxy:
    """Between a hub and its API server. Where `answer` is set, reads of the collections get that instead."""

    def __init__(self, upstream: ControlPlane, folder: Path) -> None:
        self._config = load_kubeconfig(upstream.kubeconfig_path)
        self._session: aiohttp.ClientSession | None = None
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.5)
        self._watches: set[asyncio.Task[None]] = set()
        self.kubeconfig = folder / "through-the-proxy.yaml"
        self.answer: Callable[[], web.Response] | None = None
        self.collections = (CLUSTER.path(), APPLICATION.path())
        self.refused: Counter[str] = Counter()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._config.ssl or True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        server = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": server}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    async def stop(self) -> None:
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def fail(self, answer: Callable[[], web.Response]) -> None:
        """From now on; the watches that are open end, so that the hub has to ask again."""
        self.answer = answer
        self.refused.clear()
        for task in self._watches:
            task.cancel()

    async def asked(self, times: int) -> None:
        """Until the collections were asked for so often, and each of them."""
        async with asyncio.timeout(SECONDS):
            while len(self.refused) < len(self.collections) or self.refused.total() < times:  # noqa: ASYNC110 - another process asks
                await asyncio.sleep(0.05)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.answer is not None and request.method == "GET" and request.path in self.collections:
            self.refused[request.path] += 1
            return self.answer()
        assert self._session is not None
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_FORWARDED}
        upstream = await self._session.request(
            request.method,
            f"{self._config.server}{request.path_qs}",
            headers=headers | self._config.headers,
            data=await request.read() or None,
        )
        async with upstream:
            kept = {
                key: value for key, value in upstream.headers.items() if key.lower() not in _NOT_FORWARDED
            }
            response = web.StreamResponse(status=upstream.status, headers=kept)
            copying = asyncio.create_task(self._copy(request, upstream, response))
            if request.path in self.collections and "watch" in request.query:
                self._watches.add(copying)
                copying.add_done_callback(self._watches.discard)
            with suppress(asyncio.CancelledError, aiohttp.ClientError, ConnectionError):
                await copying
            return response

    @staticmethod
    async def _copy(
        request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()


@pytest.fixture
async def proxy(own_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Proxy]:
    made = Proxy(own_server, tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def shop(
    own_server: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> AsyncIterator[Fleet]:
    del proxy  # it outlives the hubs that talk through it
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def _unharmed(shop: Fleet, before: dict[str, tuple[str, str]]) -> None:
    assert await shop.versions() == before, shop.moved()
    plan = (await shop.set())["status"]["plan"]
    assert plan["counts"].get("removed", 0) == 0
    assert not plan.get("held")
    assert not plan.get("drops")
    assert (await shop.assignment())["tombstones"] == []


async def test_i1_lists_that_fail_under_a_running_hub_delete_nothing(shop: Fleet, proxy: Proxy) -> None:
    port = free_port()
    # Commits are found by looking: whether kopf's own watches outlive such answers is not what is asked here.
    await shop.hub("hub", port, kubeconfig=proxy.kubeconfig, poll_interval=2.0)
    await shop.shop()
    await shop.join(port)
    before = await shop.settled()
    answers = cycle(ANSWERS.values())
    proxy.fail(ANSWERS["410"])  # what it has seen is no use any more: from now on it lists
    await proxy.asked(2)
    proxy.fail(lambda: next(answers)())  # noqa: PLW0108 - another answer each time
    await proxy.asked(len(ANSWERS))  # not much more often: it asks again later and later
    await asyncio.sleep(2 * FULL_PASS)  # that nothing happens can only be waited for
    await _unharmed(shop, before)
    proxy.answer = None
    await shop.release(web="2")
    await shop.settled()
    assert (await shop.assignment())["tombstones"] == []


async def test_i1_a_hub_that_starts_on_lists_that_fail_plans_nothing(shop: Fleet, proxy: Proxy) -> None:
    port = free_port()
    first = await shop.hub("first", port)
    await shop.shop()
    await shop.join(port)
    before = await shop.settled()
    await first.kill()
    answers = cycle((ANSWERS["500"], ANSWERS["410"]))
    proxy.fail(lambda: next(answers)())  # noqa: PLW0108 - another answer each time
    await shop.hub("second", port, kubeconfig=proxy.kubeconfig, poll_interval=2.0)
    await shop.led_by("second")
    await proxy.asked(8)
    await asyncio.sleep(2 * FULL_PASS)  # that nothing happens can only be waited for
    await _unharmed(shop, before)
    proxy.answer = None
    await shop.release(web="2")
    await shop.settled()
    assert (await shop.assignment())["tombstones"] == []
