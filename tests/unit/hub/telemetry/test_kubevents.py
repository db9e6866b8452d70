from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.telemetry.kubevents import BURST, OBJECT_BURST, Announcer, Said, event, told
from hub.telemetry.meters import Meters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 5, 4, 12, 0, 0, 250, tzinfo=UTC)


def app(name: str = "web", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "axletree.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": {"cluster": "eu1"},
        "status": status,
    }


def cluster(reason: str, *, ready: bool) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "reason": reason, "message": "so it is"}
    metadata = {"name": "eu1", "uid": "c1"}
    return {"kind": "Cluster", "metadata": metadata, "spec": {}, "status": {"conditions": [condition]}}


def health(state: str, message: str = "") -> dict[str, Any]:
    return {"health": {"state": state, "message": message}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            app(**health("Healthy")),
            app(**health("Degraded", "it crashes")),
            [Said("Degraded", "it crashes", warning=True)],
        ),
        (app(**health("Degraded")), app(**health("Healthy")), [Said("Healthy", "it is Healthy")]),
        (app(**health("Healthy")), app(**health("Progressing")), []),
        (app(), app(sync={"state": "Syncing"}), []),
        (
            app(),
            app(sync={"state": "Failed", "message": "refused"}),
            [Said("Failed", "refused", warning=True)],
        ),
        (
            app(),
            app(sync={"release": 2, "revision": "c0ffee", "released": "d1"}),
            [Said("Released", "release 2: revision c0ffee, digest d1")],
        ),
        (
            app(),
            app(blockedBy=[{"edge": "Dependency", "on": "shop/db", "root": "shop/db is Degraded"}]),
            [Said("Blocked", "Dependency shop/db: shop/db is Degraded")],
        ),
        (
            app(),
            app(deletion={"reason": "Dropped", "held": "Budget"}),
            [Said("DeletionHeld", "Dropped Held: Budget", warning=True)],
        ),
        (
            cluster("Ready", ready=True),
            cluster("Stale", ready=False),
            [Said("Stale", "so it is", warning=True)],
        ),
        (None, app(**health("Degraded")), []),
    ],
)
def test_what_a_change_is_worth_telling(old: Any, new: Any, expected: list[Said]) -> None:
    assert list(told(old, new)) == expected


def test_an_event_is_about_its_object_and_bounded() -> None:
    made = event(app("w" * 253), Said("Degraded", "é" * 2000, warning=True), now=NOW, instance="hub-1")
    assert len(made["metadata"]["name"]) <= 253
    assert len(made["note"].encode()) <= 1024
    assert made["type"] == "Warning"
    assert made["eventTime"] == "2026-05-04T12:00:00.000250Z"
    assert made["regarding"]["uid"] == "uid-" + "w" * 253
    assert (
        event(cluster("Stale", ready=False), Said("Stale", ""), now=NOW, instance="x")["metadata"][
            "namespace"
        ]
        == "default"
    )


class Api:
    """An API server that takes Events, or refuses them."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.patched: list[dict[str, Any]] = []
        self.status = 201
        self.asked = 0

    async def create(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.json()
        if self.status == 201:
            self.made.append(body)
        return web.json_response(body, status=self.status)

    async def patch(self, request: web.Request) -> web.Response:
        self.patched.append(await request.json())
        return web.json_response({})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def announcing(api: Api, clock: Clock) -> AsyncIterator[tuple[Announcer, Meters]]:
    server = web.Application()
    server.router.add_post("/apis/events.k8s.io/v1/namespaces/{namespace}/events", api.create)
    server.router.add_patch("/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}", api.patch)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = RestClient(KubeConfig(server=f"http://127.0.0.1:{runner.addresses[0][1]}"), user_agent="tests")
    meters = Meters()
    announcer = Announcer(client, meters=meters, instance="hub-1", clock=clock, now=lambda: NOW, settle=0.0)
    serving = asyncio.create_task(announcer.serve())
    try:
        yield announcer, meters
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await client.close()
        await runner.cleanup()


def count(meters: Meters, outcome: str) -> float:
    return meters.registry.get_sample_value("axletree_kubernetes_events_total", {"outcome": outcome}) or 0.0


async def settled(meters: Meters, total: int) -> None:
    async with asyncio.timeout(60):
        while sum(count(meters, each) for each in ("written", "repeated", "dropped")) < total:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_repeats_counts_one_event_up() -> None:
    api, clock = Api(), Clock()
    async with announcing(api, clock) as (announcer, meters):
        for at in range(6):
            clock.now = at * 25.0
            announcer.saw(app(**health("Healthy")), app(**health("Degraded", "it crashes")))
            await settled(meters, at + 1)
        assert len(api.made) == 1
        assert [each["series"]["count"] for each in api.patched] == [4], "once a minute at most"
        clock.now = 2000.0
        announcer.saw(app(**health("Healthy")), app(**health("Degraded", "it crashes")))
        await settled(meters, 7)
        assert len(api.made) == 2, "that is another time"


async def test_an_object_and_the_whole_hub_are_bounded() -> None:
    api, clock = Api(), Clock()
    async with announcing(api, clock) as (announcer, meters):
        for at in range(50):
            announcer.saw(app(), app(**health("Degraded", f"reason {at}")))
        await settled(meters, 50)
        assert len(api.made) == OBJECT_BURST
        for at in range(200):
            announcer.saw(app(f"a{at}"), app(f"a{at}", **health("Degraded")))
        await settled(meters, 250)
        assert len(api.made) == BURST
        assert count(meters, "dropped") == 200
        clock.now = 2.0
        announcer.saw(app("late"), app("late", **health("Degraded")))
        await settled(meters, 251)
        assert len(api.made) == BURST + 1


async def test_a_hub_that_may_not_stops_asking() -> None:
    api, clock = Api(), Clock()
    api.status = 403
    async with announcing(api, clock) as (announcer, meters):
        for at in range(5):
            announcer.saw(app(f"a{at}"), app(f"a{at}", **health("Degraded")))
        await settled(meters, 5)
        assert api.asked == 1
        api.status, clock.now = 201, 1000.0
        announcer.saw(app("b"), app("b", **health("Degraded")))
        await settled(meters, 6)
        assert len(api.made) == 1
