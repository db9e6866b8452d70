from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from agent.contract.errors import ApiError
from agent.contract.wire import ReportBatch
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.gateway.errors import NoInformation
from hub.gateway.guard import Call, Guard, Handler
from hub.gateway.identity import HubIdentity
from hub.gateway.routes import ROUTES, Access, Route
from hub.gateway.server import Gateway, GatewayContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.gateway.peers import Peer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class NoBlobs:
    def get(self, blob: str) -> bytes | None:
        return None


def route(**more: object) -> Route:
    base: dict[str, object] = {
        "name": "t",
        "method": "POST",
        "path": "/t",
        "access": Access.PUBLIC,
        "timeout": 5,
        "concurrency": 4,
        "max_body": 1000,
    }
    return Route(**(base | more))  # type: ignore[arg-type]


async def echo(call: Call) -> web.Response:
    return web.Response(body=call.body)


async def nobody(peer: Peer) -> None:
    raise AssertionError(peer)


@asynccontextmanager
async def serving(policy: Route, handler: Handler, *, ready: bool = True) -> AsyncIterator[tuple[str, int]]:
    app = web.Application()
    guard = Guard(admit=nobody, ready=lambda: ready)
    app.router.add_route(policy.method, policy.path, guard.wrap(policy, handler))
    runner = web.AppRunner(app, auto_decompress=False, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "127.0.0.1", runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def post(address: tuple[str, int], data: bytes, **headers: str) -> tuple[int, bytes]:
    url = f"http://{address[0]}:{address[1]}/t"
    async with aiohttp.ClientSession() as session, session.post(url, data=data, headers=headers) as response:
        return response.status, await response.read()


def test_s10_every_route_of_the_router_has_its_policy() -> None:
    client = RestClient(KubeConfig(server="http://127.0.0.1:9"), user_agent="tests")
    context = GatewayContext(
        client=client,
        identity=HubIdentity.create(now=NOW),
        blobs=NoBlobs(),
        now=lambda: NOW,
        clock=lambda: 0.0,
    )
    router = Gateway(context).application().router
    served = {(each.method, each.resource.canonical) for each in router.routes() if each.resource}
    assert served == {(each.method, each.path) for each in ROUTES}
    assert len(list(router.routes())) == len(ROUTES)
    public = {each.name for each in ROUTES if each.access is not Access.CERTIFICATE}
    assert public == {"healthz", "ca", "keys", "join", "comeback", "admission", "webhook"}
    assert all(each.timeout > 0 and each.concurrency > 0 for each in ROUTES)
    assert all((each.max_body > 0) == (each.method == "POST") for each in ROUTES)


async def test_f31_one_byte_a_second_ends_with_the_routes_time() -> None:
    async with serving(route(timeout=0.3), echo) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx")
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n")
        assert b"408" in head
        writer.close()
        await writer.wait_closed()


async def test_bodies_are_bounded_as_sent_and_as_unpacked() -> None:
    async with serving(route(), echo) as address:
        assert await post(address, b"x" * 1000) == (200, b"x" * 1000)
        assert (await post(address, b"x" * 1001))[0] == 413
        packed = {"Content-Encoding": "gzip"}
        assert await post(address, gzip.compress(b"x" * 1000), **packed) == (200, b"x" * 1000)
        assert (await post(address, gzip.compress(b"x" * 1001), **packed))[0] == 413
        assert (await post(address, gzip.compress(b"x" * 500)[:-9], **packed))[0] == 400
        assert (await post(address, b"plain", **packed))[0] == 400
        assert (await post(address, b"x", **{"Content-Encoding": "br"}))[0] == 415


async def test_too_many_at_once_are_told_to_come_back() -> None:
    gate, inside = asyncio.Event(), asyncio.Event()

    async def wait(_call: Call) -> web.Response:
        inside.set()
        await gate.wait()
        return web.Response()

    async with serving(route(concurrency=1), wait) as address:
        first = asyncio.create_task(post(address, b""))
        await inside.wait()
        assert (await post(address, b""))[0] == 503
        gate.set()
        assert (await first)[0] == 200
        assert (await post(address, b""))[0] == 200


@pytest.mark.parametrize(
    ("failure", "status", "reason"),
    [
        (NoInformation("nothing"), 404, "NoInformation"),
        (ApiError("GET /secret: 500 hush", status=500), 503, "NotReady"),
        (RuntimeError("hush"), 500, "GatewayError"),
    ],
)
async def test_failures_have_one_form_and_tell_nothing_of_the_hubs_inside(
    failure: Exception, status: int, reason: str
) -> None:
    async def fail(_call: Call) -> web.Response:
        raise failure

    async with serving(route(), fail) as address:
        answer, raw = await post(address, b"")
    assert answer == status
    assert json.loads(raw)["reason"] == reason
    assert b"hush" not in raw


async def test_invalid_documents_name_fields_and_not_values() -> None:
    async def parse(call: Call) -> web.Response:
        ReportBatch.model_validate_json(call.body)
        return web.Response()

    async with serving(route(), parse) as address:
        status, raw = await post(address, b'{"reports": [{"app": "hush"}]}')
    assert status == 400
    assert b"reports.0.app" in raw
    assert b"hush" not in raw


async def test_before_the_caches_are_whole_only_public_routes_answer() -> None:
    async with serving(route(access=Access.TOKEN), echo, ready=False) as address:
        assert (await post(address, b""))[0] == 503
    async with serving(route(), echo, ready=False) as address:
        assert (await post(address, b""))[0] == 200


async def test_without_tls_there_is_no_certificate() -> None:
    async with serving(route(access=Access.CERTIFICATE), echo) as address:
        assert (await post(address, b""))[0] == 401
