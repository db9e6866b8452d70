"""The way to the hub as edge sites have it: partitions, latency, portals, limits, clocks, two hubs."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.agent import Agent
from agent.config import AgentConfig
from agent.contract.health import SyncState
from agent.contract.names import API_VERSION, HUB_NAMESPACE
from agent.kube.proxy import environment_proxy
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME
from hub.gateway.peers import ANNOTATION_ROTATE
from tests.integration.agent_rig import AgentRig, agent_on, config_map, until
from tests.integration.faults import ForwardProxy, Impostor, Wire
from tests.integration.gateway_rig import client_of, install, new_name, now, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
BEAT = 0.3
STALE = 2.0


@pytest.fixture
async def rig(own_server: ControlPlane) -> AsyncIterator[AgentRig]:
    """With one app, `shop/web`, which is Synced."""
    async with agent_on(own_server, heartbeat_seconds=BEAT) as rig:
        await deployed(rig)
        yield rig


async def deployed(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)


@asynccontextmanager
async def at(rig: AgentRig, url: str) -> AsyncIterator[Agent]:
    """The cluster's agent, which has joined before, with its hub at another address."""
    await rig.stop()
    config = AgentConfig(
        cluster=rig.cluster, hub_url=url, kubeconfig=rig.server.kubeconfig_path, heartbeat_seconds=BEAT
    )
    agent = rig.agent = Agent(config)
    rig.task = asyncio.create_task(agent.run())
    await rig.joined()
    yield agent
    await rig.stop()


async def enforced(rig: AgentRig) -> None:
    """An edit on the spoke does not last."""
    path = rig.path("configmaps", "web")
    value = ((await rig.live(path)) or {})["data"]["a"]
    await rig.client.merge_patch(path, {"data": {"a": "by hand"}})
    await rig.live_when(path, lambda obj: obj is not None and obj["data"]["a"] == value)


async def test_f45_with_packets_one_way_only_the_hub_says_stale_and_the_spoke_is_kept(
    own_server: ControlPlane,
) -> None:
    async with agent_on(own_server, heartbeat_seconds=BEAT) as rig:
        await deployed(rig)
        rig.rig.gateway.liveness.stale_after = STALE
        async with Wire(rig.rig.gateway.url).running() as wire, at(rig, wire.url):
            await rig.rig.lease_when(rig.cluster, connected="true")
            wire.up.clear()  # what the hub says arrives, what the agent says does not
            await rig.rig.lease_when(rig.cluster, connected="false")
            await enforced(rig)
            wire.heal()
            await rig.rig.lease_when(rig.cluster, connected="true")
            wire.down.clear()  # and the other way round
            digest = await rig.deploy("web", config_map("web", a="2"))
            await enforced(rig)
            wire.heal()
            await rig.when("web", sync=SyncState.SYNCED, digest=digest)


async def test_f44_a_partition_that_heals_brings_the_latest_and_nothing_twice(rig: AgentRig) -> None:
    async with Wire(rig.rig.gateway.url).running() as wire, at(rig, wire.url):
        wire.cut()
        for value in ("2", "3", "4"):
            digest = await rig.deploy("web", config_map("web", a=value))
            await enforced(rig)
        version = ((await rig.live(rig.path("configmaps", "web"))) or {})["metadata"]["resourceVersion"]
        wire.heal()
        await rig.when("web", sync=SyncState.SYNCED, digest=digest)
        live = await rig.live(rig.path("configmaps", "web"))
        assert live is not None
        assert live["data"] == {"a": "4"}
        assert live["metadata"]["resourceVersion"] != version


async def test_f46_a_slow_and_lossy_way_only_takes_longer(rig: AgentRig) -> None:
    """Each piece takes up to two seconds, half of them one more, as what is lost is sent again."""
    async with Wire(rig.rig.gateway.url).running() as wire, at(rig, wire.url):
        wire.latency = (0.1, 2.0)
        digest = await rig.deploy("web", config_map("web", a="2"))
        async with asyncio.timeout(180):
            while (said := rig.said("web")) is None or said.digest != digest:  # noqa: ASYNC110 - the wire is slow
                await asyncio.sleep(0.1)
        await enforced(rig)


@pytest.mark.parametrize("kind", ["limit", "gone", "portal", "cut", "empty"])
async def test_f5_to_f8_whatever_answers_in_the_hubs_place_changes_nothing(rig: AgentRig, kind: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        match kind:
            case "limit":
                return web.Response(status=429, headers={"Retry-After": "2"})
            case "gone":
                return web.Response(status=410)
            case "portal":
                return web.Response(text="<html>sign in</html>", content_type="text/html")
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": "5000"})
                await response.prepare(request)
                await response.write(b'{"hubId"')
                assert request.transport is not None
                request.transport.abort()
                return response
            case _:
                return web.json_response({})

    impostor = Impostor(rig.rig.identity, answer)
    before = await rig.live(rig.path("configmaps", "web"))
    async with impostor.running(now) as there, at(rig, there.url) as agent:
        await until(lambda: len(there.asked) > 4, "it is asked again")
        await enforced(rig)
        assert agent.engine is not None
        assert agent.engine.apps.keys() == {"shop/web"}
        assert agent.engine.orphans == []
        if kind == "limit":
            for path in {path for _, path in there.asked}:
                times = [moment for moment, each in there.asked if each == path]
                assert all(later - sooner >= 2.0 for sooner, later in itertools.pairwise(times))
    after = await rig.live(rig.path("configmaps", "web"))
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_f10_an_hour_of_clock_skew_hinders_neither_joins_nor_renewals(
    own_server: ControlPlane, hours: int
) -> None:
    async with (
        running(own_server, now=lambda: now() + timedelta(hours=hours)) as elsewhere,
        client_of(own_server) as client,
    ):
        skewed = AgentRig(elsewhere, own_server, client, f"skewed{hours}".replace("-", "b"))
        try:
            config = AgentConfig(
                cluster=skewed.cluster,
                hub_url=elsewhere.gateway.url,
                token=await elsewhere.token(skewed.cluster, auto_accept=True, ttl=7200),
                kubeconfig=own_server.kubeconfig_path,
                heartbeat_seconds=BEAT,
            )
            skewed.agent = Agent(config)
            skewed.task = asyncio.create_task(skewed.agent.run())
            await deployed(skewed)
            await elsewhere.lease_when(skewed.cluster, connected="true")
            held = await client.get(paths.cluster(skewed.cluster))
            note = {"metadata": {"annotations": {ANNOTATION_ROTATE: held["status"]["fingerprint"]}}}
            await client.merge_patch(paths.cluster(skewed.cluster), note)
            await until(
                lambda: bool(skewed.agent and skewed.agent.identity and skewed.agent.identity.renewals == 1),
                "renewed",
            )
            await enforced(skewed)
        finally:
            await skewed.stop()


async def test_through_a_proxy_the_hub_is_reached_by_its_name_and_the_spoke_directly(
    own_server: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "hub.example.test"
    async with running(own_server, hosts=("127.0.0.1", name)) as elsewhere, client_of(own_server) as client:
        rig = AgentRig(elsewhere, own_server, client, new_name())
        async with ForwardProxy(elsewhere.gateway.url).running() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            port = elsewhere.gateway.url.rpartition(":")[2]
            await rig.start(hub_url=f"https://{name}:{port}", heartbeat_seconds=BEAT)
            try:
                await deployed(rig)
                await elsewhere.lease_when(rig.cluster, connected="true")
            finally:
                await rig.stop()
            assert proxy.asked
            assert {line.split()[1] for line in proxy.asked} == {f"{name}:{port}"}
            monkeypatch.setenv("NO_PROXY", ".example.test")
            assert environment_proxy(f"https://{name}:{port}") is None


async def test_f4_an_old_hub_beside_a_new_one_neither_deletes_nor_flaps(
    rig: AgentRig, api_server: ControlPlane
) -> None:
    """Both have the identity and know the agent; a load balancer sends it now to one, now to the other."""
    await rig.deploy("db", config_map("db", a="1"))
    await rig.when("db", sync=SyncState.SYNCED)
    maps = [rig.path("configmaps", name) for name in ("web", "db")]
    before = [await rig.live(path) for path in maps]
    async with client_of(api_server) as client:
        await install(client)
        await _replace(client, paths.SECRETS, await rig.client.get(paths.secret(SECRET_NAME)))
        await _replace(client, paths.CLUSTERS, await rig.client.get(paths.cluster(rig.cluster)))
        stone = {"app": "shop/web", "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}
        old = {
            "apiVersion": API_VERSION,
            "kind": "Assignment",
            "metadata": {"name": rig.cluster, "namespace": HUB_NAMESPACE},
            "spec": {"epoch": 1, "seq": rig.seq - 1, "apps": [], "tombstones": [stone]},
        }
        await client.create(paths.ASSIGNMENTS, old)
        async with running(api_server, inner=True) as older:
            both = Wire(older.gateway.url, rig.rig.gateway.url)
            async with both.running() as wire, at(rig, wire.url) as agent:
                for count in range(1, 6):
                    await until(lambda least=count: wire.connections >= least, "it comes back")  # type: ignore[misc]
                    await asyncio.sleep(0.3)
                    wire.cut()
                    wire.heal()
                lease = asyncio.create_task(older.lease_when(rig.cluster, agent_seq=str(rig.seq)))
                while not lease.done():  # until the old one heard a report: it knows that it is behind
                    await asyncio.wait([lease], timeout=2.0)
                    wire.cut()
                    wire.heal()
                await lease
                assert agent.engine is not None
                assert agent.engine.order == (1, rig.seq)
                assert [await rig.live(path) for path in maps] == before
        for path in (paths.secret(SECRET_NAME), paths.cluster(rig.cluster)):
            await client.delete(path)
        await client.delete(f"{paths.ASSIGNMENTS}/{rig.cluster}")


async def _replace(client: Any, collection: str, obj: dict[str, Any]) -> None:
    """Make it as it is elsewhere, whatever was there."""
    name = obj["metadata"]["name"]
    bare = {key: value for key, value in obj.items() if key != "status"}
    bare["metadata"] = {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]}
    for path in [f"{collection}/{name}"]:
        if any(each["metadata"]["name"] == name for each in (await client.list(collection)).items):
            await client.delete(path)
        await client.create(collection, bare)
        if "status" in obj:
            await client.merge_patch(path, {"status": obj["status"]}, subresource="status")
