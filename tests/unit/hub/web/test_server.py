"""What the API answers to requests that are none, over TLS and against an API server that takes one token."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.gateway.identity import HubIdentity
from hub.history.history import History
from hub.web.policy import PREFIX, ROUTES
from hub.web.problems import TooManyRequests
from hub.web.server import ApiServer
from hub.web.shares import Shares
from hub.web.tls import api_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EXPORT = f"{PREFIX}/applications/shop/storage/export"
GOOD = {"Authorization": "Bearer good"}
OBJECT = {
    "metadata": {"name": "storage", "namespace": "shop", "resourceVersion": "1"},
    "spec": {
        "cluster": "eu1",
        "namespace": "shop",
        "sources": [{"repoURL": "https://git.example.com/shop", "path": "storage"}],
        "outputs": [{"name": "bucket", "external": True}],
    },
}


class Kubernetes:
    def __init__(self) -> None:
        self.reviews = 0
        self.listed, self.go_on = asyncio.Event(), asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            if not request.path.endswith(("applications", "clusters")):
                return web.json_response(OBJECT)
            self.listed.set()
            await self.go_on.wait()
            return web.json_response({"kind": "List", "items": [], "metadata": {"resourceVersion": "1"}})
        spec = (await request.json())["spec"]
        if "token" not in spec:
            return web.json_response({"status": {"allowed": True}})
        self.reviews += 1
        known = spec["token"] == "good"
        return web.json_response({"status": {"authenticated": known, "user": {"username": "u"}}})


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Kubernetes, aiohttp.ClientSession]]:
    kubernetes, app = Kubernetes(), web.Application()
    app.router.add_route("*", "/{path:.*}", kubernetes.answer)
    now = datetime.now(UTC)
    identity = HubIdentity.create(now=now)
    history = History(f"sqlite:///{folder}/h.db", now=lambda: datetime.now(UTC))
    async with (
        TestServer(app) as server,
        RestClient(KubeConfig(server=str(server.make_url("")).rstrip("/")), user_agent="t") as client,
    ):
        await history.start()
        await history.warm()
        api = ApiServer(client, history, now=lambda: datetime.now(UTC))
        tls = api_tls(identity, ("127.0.0.1",), now=now)
        await api.start("127.0.0.1", 0, tls=tls, renew=lambda: None)
        trust = ssl.create_default_context(cadata=identity.ca_pem)
        connector = aiohttp.TCPConnector(ssl=trust)
        try:
            async with aiohttp.ClientSession(api.url, connector=connector) as session:
                yield kubernetes, session
        finally:
            await api.stop()
            await history.close()


NAN = b'{"output": "bucket", "value": NaN}'
TAKEN = b'{"output": "bucket", "value": 1}'
REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nothing", {}, 404, "NotFound"),
    ("DELETE", f"{PREFIX}/applications", {}, 405, "MethodNotAllowed"),
    ("GET", EXPORT, {}, 405, "MethodNotAllowed"),
    ("POST", EXPORT, {"data": b"{"}, 400, "InvalidRequest"),
    ("POST", EXPORT, {"data": b'{"output": "bucket", "value": "\\ud800"}'}, 400, "InvalidRequest"),
    ("POST", EXPORT, {"data": NAN}, 400, "InvalidRequest"),
    ("POST", EXPORT, {"data": b'{"value":' + b"[" * 20000}, 400, "InvalidRequest"),
    ("POST", EXPORT, {"data": b"x" * 70_000}, 413, "BodyTooLarge"),
    ("POST", EXPORT, {"data": b"no gzip", "encoding": "gzip"}, 415, "EncodingUnsupported"),
    (
        "POST",
        EXPORT,
        {"data": gzip.compress(b" " * 9_000_000), "encoding": "gzip"},
        415,
        "EncodingUnsupported",
    ),
    ("POST", EXPORT, {"data": TAKEN, "expect": "more"}, 417, "ExpectationFailed"),
    ("GET", f"{PREFIX}/applications?{'label=a&' * 65}", {}, 400, "InvalidRequest"),
    ("GET", f"{PREFIX}/applications/{'a' * 30_000}/b", {}, 400, "InvalidRequest"),
    ("GET", f"{PREFIX}/applications/shop/{'a' * 300}", {}, 404, "NotFound"),
]


def test_s10_the_router_has_the_routes_of_the_table_and_nothing_beside_them(tmp_path: Path) -> None:
    now = lambda: datetime.now(UTC)  # noqa: E731
    api = ApiServer(cast("Any", None), History(f"sqlite:///{tmp_path}/h.db", now=now), now=now)
    served = {
        (route.method, route.resource.canonical if route.resource is not None else "")
        for route in api.application().router.routes()
    }
    assert served == {(route.method, PREFIX + route.path) for route in ROUTES}


async def test_s10_whatever_is_refused_is_a_problem_with_its_own_status(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        for method, path, more, status, reason in REFUSED:
            headers = GOOD | {
                name: more[key]
                for key, name in (("encoding", "Content-Encoding"), ("expect", "Expect"))
                if key in more
            }
            async with session.request(method, path, data=more.get("data"), headers=headers) as answer:
                said = await answer.json(content_type="application/problem+json")
            assert (answer.status, said["status"], said["reason"]) == (status, status, reason), (path, said)
            assert said["title"], path
            assert ("Allow" in answer.headers) == (status == 405), path
        headers = GOOD | {"Expect": "100-continue"}
        async with session.post(EXPORT, data=TAKEN, headers=headers) as answer:
            assert answer.status == 200


async def test_s10_a_made_up_token_is_asked_about_once_in_a_while(tmp_path: Path) -> None:
    async with serving(tmp_path) as (kubernetes, session):
        for _ in range(5):
            headers = {"Authorization": "Bearer bad"}
            async with session.get(f"{PREFIX}/hub", headers=headers) as answer:
                assert answer.status == 401
        assert kubernetes.reviews == 1


async def test_s10_one_callers_streams_leave_places_for_others(tmp_path: Path) -> None:
    async with serving(tmp_path) as (kubernetes, session):

        async def graph() -> tuple[int, str]:
            async with session.get(f"{PREFIX}/graph", headers=GOOD) as answer:
                said = await answer.json(content_type=None)
                return answer.status, str(said.get("reason")) + answer.headers.get("Retry-After", "")

        first = asyncio.create_task(graph())
        await kubernetes.listed.wait()
        assert await graph() == (429, "TooManyRequests1")
        kubernetes.go_on.set()
        assert (await first)[0] == 200
        assert (await graph())[0] == 200


def test_s10_a_caller_has_so_many_requests_a_second_and_others_theirs() -> None:
    now = [0.0]
    shares = Shares(clock=lambda: now[0], rate=10, burst=3)
    for _ in range(3):
        shares.spend("a")
    with pytest.raises(TooManyRequests) as refused:
        shares.spend("a")
    assert refused.value.retry_after == pytest.approx(0.1)
    shares.spend("b")
    now[0] = 0.1
    shares.spend("a")
    with pytest.raises(TooManyRequests):
        shares.spend("a")


def test_s10_no_caller_has_more_than_half_of_a_routes_places() -> None:
    shares = Shares(clock=lambda: 0.0)
    for route in ROUTES:
        if route.concurrency < 100:
            half = [shares.place("a", route) for _ in range(max(1, route.concurrency // 2))]
            for each in half:
                each.__enter__()
            with pytest.raises(TooManyRequests), shares.place("a", route):
                pass
            with shares.place("b", route):
                pass
            for each in half:
                each.__exit__(None, None, None)
            with shares.place("a", route):
                pass
