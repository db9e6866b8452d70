"""Between an agent and its API server: too many requests, gone versions, pages of HTML, silence, one way only, loss."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.contract.health import SyncState
from agent.contract.names import APPLYSET_PART_OF
from tests.integration.agent_rig import AgentRig, config_map, eventually, until
from tests.integration.fault_proxy import FaultProxy, Weather
from tests.integration.gateway_rig import client_of, new_name, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster
COUNT = 12


class Behind:
    """An agent of this process whose API server is behind a proxy."""

    def __init__(self, rig: AgentRig, proxy: FaultProxy) -> None:
        self.rig, self.proxy = rig, proxy

    async def deploy(self, generation: str, *, count: int = COUNT) -> str:
        return await self.rig.deploy("web", *(config_map(f"cm-{n}", v=generation) for n in range(count)))

    async def found(self) -> dict[str, str]:
        path = f"/api/v1/namespaces/{self.rig.namespace}/configmaps"
        items = (await self.rig.client.list(path, label_selector=APPLYSET_PART_OF)).items
        return {item["metadata"]["name"]: item["data"]["v"] for item in items}

    async def becomes(self, generation: str, *, count: int = COUNT) -> None:
        wanted = {f"cm-{number}": generation for number in range(count)}
        await eventually(self.found, wanted)


@asynccontextmanager
async def behind(server: ControlPlane, folder: Path) -> AsyncIterator[Behind]:
    async with (
        running(server) as hub,
        client_of(server) as client,
        FaultProxy(server).running() as proxy,
    ):
        rig = AgentRig(hub, server, client, new_name())
        rig.kubeconfig = proxy.kubeconfig(folder)
        made = Behind(rig, proxy)
        try:
            await rig.start()
            yield made
        finally:
            proxy.fault = None
            await rig.stop()


@pytest.fixture
async def agent(api_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind(api_server, tmp_path) as made:
        yield made


@pytest.mark.parametrize("held", ["configmaps/cm-0", "secrets/axletree-app-"])
async def test_a_decision_that_is_withdrawn_while_it_is_carried_out_brings_the_app_back(
    agent: Behind, held: str
) -> None:
    """Somebody puts the app back into Git just then: while its objects go, or while it is forgotten."""
    await agent.deploy("1")
    await agent.becomes("1")
    seen, on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse | None:
        if request.method == "DELETE" and held in request.path and not seen.is_set():
            seen.set()
            await on.wait()
        return None

    agent.proxy.fault = slow
    again = agent.rig.apps["shop/web"]
    await agent.rig.drop("web")
    await until(seen.is_set, "its deletion has begun")
    agent.rig.apps["shop/web"], agent.rig.tombstones = again, []
    await agent.rig.assign()

    def heard() -> bool:
        engine = agent.rig.agent.engine if agent.rig.agent else None
        return engine is not None and engine.order == (agent.rig.epoch, agent.rig.seq)

    await until(heard, "the agent has the next assignment")
    on.set()
    await agent.rig.when("web", sync=SyncState.SYNCED, check=lambda said: not said.deleted)
    await agent.becomes("1")


async def test_f35_too_many_requests_are_waited_for_as_long_as_the_server_says(agent: Behind) -> None:
    await agent.deploy("1")
    await agent.becomes("1")
    asked: defaultdict[str, list[float]] = defaultdict(list)

    async def busy(request: web.Request) -> web.StreamResponse | None:
        if request.method not in {"PATCH", "DELETE"}:
            return None
        asked[request.path].append(asyncio.get_running_loop().time())
        status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "later"}
        return web.json_response(status, status=429, headers={"Retry-After": "2"})

    agent.proxy.fault = busy
    await agent.deploy("2", count=COUNT - 2)
    said = await agent.rig.when("web", sync=SyncState.FAILED)
    assert "429" in said.message or "TooManyRequests" in said.message

    def again() -> list[float]:
        """After how long each object was asked for once more."""
        return [after - before for times in asked.values() for before, after in itertools.pairwise(times)]

    await until(lambda: len(again()) >= COUNT - 2, "it is asked again", lambda: str(asked))
    assert min(again()) > 1.9
    assert set(await agent.found()) == {f"cm-{number}" for number in range(COUNT)}  # nothing was pruned
    agent.proxy.fault = None
    await agent.becomes("2", count=COUNT - 2)


async def test_f23_with_its_store_full_an_agent_makes_nothing_that_it_could_not_find_again(
    agent: Behind,
) -> None:
    """No object comes that no kept inventory names, and nothing goes; with room in the store it goes on."""
    await agent.deploy("1")
    await agent.becomes("1")

    async def full(request: web.Request) -> web.StreamResponse | None:
        if request.method not in {"POST", "PUT"} or "/namespaces/axletree-agent/secrets" not in request.path:
            return None
        message = "exceeded quota: state"
        status = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": message}
        return web.json_response(status, status=403)

    agent.proxy.fault = full
    more = [config_map(f"cm-{number}", v="2") for number in range(2, COUNT + 2)]
    await agent.rig.deploy("web", *more)
    said = await agent.rig.when("web", sync=SyncState.FAILED)
    assert "exceeded quota" in said.message
    assert await agent.found() == {f"cm-{number}": "1" for number in range(COUNT)}
    await agent.rig.client.delete(agent.rig.path("configmaps", "cm-5"))
    agent.proxy.fault = None
    # a refusal is looked at again after a minute, or when something happens: the round of the first may have met it
    await agent.rig.client.delete(agent.rig.path("configmaps", "cm-6"))
    wanted = {f"cm-{number}": "2" for number in range(2, COUNT + 2)}
    await eventually(agent.found, wanted)


async def test_f35_f36_a_broken_server_makes_no_harm_and_no_storm(agent: Behind) -> None:
    """429, 410, 500, HTML, cut and short bodies, a third of everything: releases come through, nothing is lost."""
    await agent.deploy("0")
    await agent.becomes("0")
    agent.proxy.fault = Weather(random.Random(11), share=0.3)
    for generation in ("1", "2"):
        await agent.deploy(generation, count=COUNT - int(generation))
        agent.proxy.cut_watches()
        await agent.becomes(generation, count=COUNT - int(generation))
    path = agent.rig.path("configmaps", "cm-0")
    await agent.rig.client.merge_patch(path, {"data": {"v": "by hand"}})
    await agent.becomes("2", count=COUNT - 2)


async def test_f36_a_watch_that_is_gone_is_listed_anew_and_drift_of_meanwhile_is_corrected(
    agent: Behind,
) -> None:
    await agent.deploy("1")
    await agent.rig.when("web", sync=SyncState.SYNCED)

    async def expired(request: web.Request) -> web.StreamResponse | None:
        if not request.query.get("watch"):
            return None
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        return web.json_response(status, status=410)

    agent.proxy.fault = expired
    agent.proxy.cut_watches()
    await agent.rig.client.merge_patch(agent.rig.path("configmaps", "cm-3"), {"data": {"v": "by hand"}})
    await agent.rig.client.delete(agent.rig.path("configmaps", "cm-4"))
    await agent.becomes("1")  # by the lists alone, since no watch lasts


async def test_f45_answers_that_never_come_are_no_information(agent: Behind) -> None:
    """Requests arrive and are carried out, and nothing comes back: nothing is pruned meanwhile."""
    await agent.deploy("1")
    await agent.rig.when("web", sync=SyncState.SYNCED)
    held: list[asyncio.Event] = []

    async def deaf(request: web.Request) -> web.StreamResponse | None:
        if request.query.get("watch"):
            return None
        await agent.proxy.forward(request)
        held.append(asyncio.Event())
        await held[-1].wait()
        return FaultProxy.cut(request)

    agent.proxy.fault = deaf
    await agent.deploy("2", count=COUNT - 2)
    await asyncio.sleep(2.0)
    assert set(await agent.found()) == {f"cm-{number}" for number in range(COUNT)}
    agent.proxy.fault = None
    for event in held:
        event.set()
    await agent.becomes("2", count=COUNT - 2)


async def test_f46_half_of_everything_is_lost_and_the_rest_is_slow(agent: Behind) -> None:
    await agent.deploy("1")
    await agent.rig.when("web", sync=SyncState.SYNCED)
    uids = await _uids(agent)
    chance = random.Random(3)

    async def lossy(request: web.Request) -> web.StreamResponse | None:
        if chance.random() < 0.5:
            if chance.random() < 0.5:
                await agent.proxy.forward(request)  # the answer is what is lost
            return FaultProxy.cut(request)
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        return None

    agent.proxy.fault = lossy
    agent.proxy.cut_watches()
    await agent.deploy("2")
    await asyncio.sleep(6.0)
    assert await _uids(agent) == uids
    agent.proxy.fault = None
    await agent.becomes("2")
    assert await _uids(agent) == uids


async def _uids(agent: Behind) -> dict[str, Any]:
    path = f"/api/v1/namespaces/{agent.rig.namespace}/configmaps"
    items = (await agent.rig.client.list(path, label_selector=APPLYSET_PART_OF)).items
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}
