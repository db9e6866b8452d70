"""The typed client, against a hub that says for a while that it cannot answer."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from hub.cli.rollout import _rollout
from hub.web.client import Client
from hub.web.connection import ApiProblem
from hub.web.models import Event, Rollout, RolloutState
from hub.web.problems import Busy, Forbidden, WebError, problem
from hub.web.streams import _written


class Hub:
    """Refuses the first calls with what it is given."""

    def __init__(self, *refusals: WebError) -> None:
        self.refusals = list(refusals)
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.refusals:
            return problem(self.refusals.pop(0))
        if request.path.endswith("/events"):
            about: dict[str, Any] = dict.fromkeys(
                ("namespace", "name", "cluster", "application_set", "old", "new", "at", "message"), ""
            )
            told = Event(
                id=int(request.headers.get("Last-Event-ID", 6)) + 1, kind="Hub", reason="Released", **about
            )
            return web.Response(body=_written(told), content_type="text/event-stream")
        found = Rollout(
            state=RolloutState.HEALTHY,
            revision="c0ffee1",
            plan=1,
            message="",
            children=1,
            healthy=1,
            waves=[],
            where=[],
        )
        return web.Response(body=found.model_dump_json(by_alias=True), content_type="application/json")

    def server(self) -> TestServer:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        return TestServer(app)


def client(server: BaseTestServer[Any]) -> Client:
    return Client(str(server.make_url("")), token="t", ca=ssl.create_default_context())


async def test_who_follows_events_outlives_a_database_that_is_away() -> None:
    hub, heard = Hub(Busy("the database is away"), Busy("still")), []
    async with hub.server() as server, client(server) as api:
        following = api.follow(away=heard.append)
        told = [(await asyncio.wait_for(anext(following), 60)).id for _ in range(2)]
        await following.aclose()
    assert (told, hub.asked) == ([7, 8], 4)
    assert [str(each) for each in heard] == ["GET /events: the database is away"], "once until it answers"
    hub = Hub(Forbidden("no"))
    async with hub.server() as server, client(server) as api:
        with pytest.raises(ApiProblem, match="no"):
            await anext(api.follow())


async def test_a_pipeline_that_waits_for_a_commit_outlives_a_database_that_is_away() -> None:
    hub = Hub(Busy("the database is away"))
    async with hub.server() as server:
        found = await _rollout("shop", "apps", "c0ffee1", seconds=60, client=client(server))
    assert (found.state, hub.asked) == (RolloutState.HEALTHY, 2)
    hub = Hub(Forbidden("no"))
    async with hub.server() as server:
        with pytest.raises(ApiProblem, match="no"):
            await _rollout("shop", "apps", "c0ffee1", seconds=60, client=client(server))
    assert hub.asked == 1
