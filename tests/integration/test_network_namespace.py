"""An agent in a network of its own, whose way to the hub goes dark in the middle of a release: no reset, nothing."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from hub.gateway.liveness import is_stale
from tests.integration.agent_rig import AgentRig, config_map, eventually
from tests.integration.fault_proxy import FaultProxy
from tests.integration.gateway_rig import client_of, new_name, now, running
from tests.integration.netns import LACKING, Site, site
from tests.integration.test_agent_killed import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from hub.fleet.controlplane import ControlPlane

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
]
STALE = 2.0
COUNT = 12


class Remote:
    """The rig, with the agent's process behind the site's links."""

    def __init__(self, rig: AgentRig, place: Site, spoke: FaultProxy) -> None:
        self.rig, self.place, self.spoke = rig, place, spoke
        self.app = f"shop/web-{rig.cluster}"

    async def release(self, value: str, count: int) -> str:
        objects = [config_map(f"cm-{number}", v=value) for number in range(count)]
        return await self.rig.deploy(self.app.partition("/")[2], *objects)

    async def live(self) -> dict[str, str]:
        path = f"/api/v1/namespaces/{self.rig.namespace}/configmaps"
        listing = await self.rig.client.list(path)
        return {item["metadata"]["name"]: item["data"]["v"] for item in listing.items if "v" in item["data"]}

    async def live_is(self, value: str, count: int) -> None:
        wanted = {f"cm-{number}": value for number in range(count)}
        await eventually(self.live, wanted)

    async def wrote(self, name: str, *wanted: str) -> None:
        """Exactly that was written of the app's objects, since this was asked last.

        A write is noted when its answer has come, and what it wrote may be seen before.
        """

        async def found() -> list[str]:
            return sorted(each.path.rpartition("/")[2] for each in self.spoke.writes if each.name == name)

        await eventually(found, sorted(wanted))
        self.forget(name)

    def forget(self, name: str) -> None:
        self.spoke.writes = [each for each in self.spoke.writes if each.name != name]


@pytest.fixture
async def remote(own_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Remote]:
    async with (
        site() as place,
        running(own_server, host=place.wan, hosts=(place.wan,), stale_after=STALE) as hub,
        client_of(own_server) as client,
        FaultProxy(own_server).running(place.lan) as spoke,
    ):
        rig = AgentRig(hub, own_server, client, new_name())
        settings = {
            "cluster": rig.cluster,
            "hubUrl": hub.gateway.url,
            "token": await hub.token(rig.cluster, auto_accept=True),
            "kubeconfig": str(spoke.kubeconfig(tmp_path)),
            "heartbeatSeconds": 0.3,
        }
        (tmp_path / "agent.json").write_text(json.dumps(settings))
        process = Process(rig, tmp_path / "agent.json", log=tmp_path / "agent.log", inside=place.inside)
        await process.start()
        try:
            rig.sealing_public = (await process.identity()).sealing_public
            yield Remote(rig, place, spoke)
        finally:
            await process.end(signal.SIGKILL)


async def test_f44_a_link_that_goes_down_in_the_middle_of_a_release_loses_nothing(remote: Remote) -> None:
    rig, hub = remote.rig, remote.rig.rig
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await hub.client.apply("/api/v1/namespaces/shop", shop, field_manager="tests")
    await hub.application(remote.app, rig.cluster)
    first = await remote.release("1", COUNT)
    await hub.observed_when(remote.app, sync="Synced", digest=first)
    remote.forget("apply configmaps")

    async def at_the_first_write(request: web.Request) -> None:
        if request.method == "PATCH" and "/configmaps/" in request.path and "dryRun" not in request.query:
            remote.spoke.fault = None
            await remote.place.part()

    remote.spoke.fault = at_the_first_write
    second = await remote.release("2", COUNT - 1)
    await remote.live_is("2", COUNT - 1)  # what it had begun is finished, with nobody there
    await remote.wrote("apply configmaps", *(f"cm-{number}" for number in range(COUNT - 1)))
    await remote.wrote("delete configmaps", f"cm-{COUNT - 1}")
    lease = await hub.lease_when(rig.cluster, connected="false")
    assert is_stale(lease, now(), STALE), "the hub says so"
    told = await hub.observed(remote.app)
    assert told is not None
    assert told.get("digest") == first, "and claims nothing that it was not told"

    third = await remote.release("3", COUNT)
    await rig.client.merge_patch(rig.path("configmaps", "cm-0"), {"data": {"v": "by hand"}})
    await remote.live_is("2", COUNT - 1)  # corrected; and nothing of what it cannot know
    await remote.wrote("apply configmaps", "cm-0")

    await remote.place.heal()
    await hub.observed_when(remote.app, sync="Synced", digest=third)
    await hub.lease_when(rig.cluster, connected="true")
    await remote.live_is("3", COUNT)
    await remote.wrote("apply configmaps", *(f"cm-{number}" for number in range(COUNT)))
    await remote.wrote("delete configmaps")
    assert second not in {first, third}
