"""The hub's API server is restored from an older backup while hub and agent run: told, and nothing is deleted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from hub.api.registry import CLUSTER
from hub.fleet import install
from tests.effort import FACTOR
from tests.integration.gateway_rig import client_of
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.soak,
    pytest.mark.timeout(600),
    pytest.mark.skipif(FACTOR == 1, reason="an API server is started three times: `make soak` does"),
]


async def test_f3_a_hub_that_runs_notices_that_its_api_server_went_back_in_time(
    own_server: ControlPlane, api_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as shop, client_of(api_server) as spoke:
        await install.install_spoke(spoke, service_accounts=("deployer",))
        port = free_port()
        hub = await shop.hub("hub", port)
        await shop.shop()
        await shop.join(port, spoke=api_server)
        await shop.settled()
        at = f"/api/v1/namespaces/{namespace}-apps/configmaps"

        async def on_spoke() -> dict[str, Any]:
            found = await spoke.list(at)
            return {obj["metadata"]["name"]: obj["data"] for obj in found.items if "data" in obj}

        backup = tmp_path / "backup"
        await own_server.stop(grace=0.5)
        shutil.copytree(own_server.layout.folder, backup, ignore=shutil.ignore_patterns("run", "*.log"))
        await own_server.start()
        for number in ("2", "3"):
            await shop.commit(db=number)
            await shop.refresh()

            async def moved(number: str = number) -> bool:
                return (await on_spoke())["db"] == {"value": number}

            await shop.until(f"db is {number} on the spoke", moved)
        there = await on_spoke()

        await own_server.stop(grace=0.5)
        for each in backup.iterdir():
            target = own_server.layout.folder / each.name
            if each.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(each, target)
            else:
                shutil.copy2(each, target)
        await own_server.start()

        async def told() -> bool:
            cluster = await shop.client.get(CLUSTER.path(name=shop.cluster))
            conditions = (cluster.get("status") or {}).get("conditions") or ()
            return any(each["reason"] == "HubBehind" for each in conditions)

        await shop.until("the Cluster says that its hub is behind", told)

        async def logged() -> bool:
            return "went back in time" in hub.log.read_text()

        await shop.until("the hub's log says so, too", logged)
        assert await on_spoke() == there, "what runs is left as it is"
