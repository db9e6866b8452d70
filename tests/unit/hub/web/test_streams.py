"""Whether a long stream may go on, against an API server that says who may what."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.web.auth import Access
from hub.web.call import Call
from hub.web.policy import ROUTES
from hub.web.streams import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUTE = next(route for route in ROUTES if route.name == "events")


class Kubernetes:
    """Takes one token, and allows what is asked in some namespaces (an empty one: in all)."""

    def __init__(self) -> None:
        self.token = "good"
        self.allowed = {"a", "b"}
        self.there = ["a", "b", "c"]

    async def answer(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        if "token" in spec:
            known = spec["token"] == self.token
            return web.json_response({"status": {"authenticated": known, "user": {"username": "u"}}})
        asked = spec["resourceAttributes"].get("namespace", "")
        return web.json_response({"status": {"allowed": asked in self.allowed}})

    async def namespaces(self) -> list[str]:
        return self.there


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Kubernetes, Streams]]:
    kubernetes = Kubernetes()
    app = web.Application()
    app.router.add_post("/{path:.*}", kubernetes.answer)
    async with (
        TestServer(app) as server,
        RestClient(KubeConfig(server=str(server.make_url("")).rstrip("/")), user_agent="t") as client,
    ):
        clock = itertools.count(step=1000)  # nothing is known from before
        access = Access(client, clock=lambda: float(next(clock)))
        nothing = cast("Any", None)
        yield (
            kubernetes,
            Streams(nothing, nothing, access, nothing, there=kubernetes.namespaces, passed=nothing),
        )


def call(visible: tuple[str, ...] | None) -> Call:
    request = make_mocked_request("GET", "/api/v1/events", headers={"Authorization": "Bearer good"})
    return Call(request, ROUTE, cast("Any", None), None, None, visible)


async def test_s3_a_stream_ends_where_its_caller_may_see_less_or_more(
    rig: tuple[Kubernetes, Streams],
) -> None:
    kubernetes, streams = rig
    known = {"a", "b", "c"}
    assert await streams._still(call(("a", "b")), known)
    kubernetes.there.append("d")
    assert await streams._still(call(("a", "b")), known), "a new namespace that it may not see"
    assert known == {"a", "b", "c", "d"}
    kubernetes.there.append("e")
    kubernetes.allowed.add("e")
    assert not await streams._still(call(("a", "b")), known), (
        "a new one that it may see: it comes back for that"
    )
    kubernetes.allowed.remove("b")
    assert not await streams._still(call(("a", "b")), known)
    assert not await streams._still(call(None), known)
    kubernetes.allowed.add("")
    assert await streams._still(call(None), known)
    assert not await streams._still(call(("a", "b")), known), "it may see everything by now"
    kubernetes.token = "another"
    assert not await streams._still(call(None), known)
