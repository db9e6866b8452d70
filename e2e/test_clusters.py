"""A cluster joins and gets its apps in order; it is removed, and everything of it goes, there and on the hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.contract.names import APPLYSET_PART_OF
from e2e.order import assert_order, releases
from e2e.rig import SHOP
from e2e.view import Change
from e2e.words import APPS, ASSIGNMENTS, CLUSTERS, CONFIG_MAPS, DEPLOYMENTS, status
from hub.fleet.local import Spoke
from hub.fleet.process import log_tail
from hub.fleet.services import agent_of

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
NEW = Spoke(
    "eu2",
    labels={"env": "prod", "region": "eu", "ring": "1"},
    values={"ingressDomain": "eu2.example.com", "shop": {"replicas": 3}},
)


async def test_a_cluster_that_is_added_gets_its_apps_and_one_that_is_removed_loses_them(rig: Rig) -> None:
    before = await rig.settled()
    log = [Change(APPS, key, app, app) for key, app in rig.hub.all(APPS).items()]
    mark = len(rig.hub.log)

    await rig.fleet.add(NEW, note=lambda _: None)
    view = await rig.see("eu2")
    theirs = {"platform/platform-eu2", *(f"shop/{app}-eu2" for app in SHOP)}

    def served() -> None:
        assert status(rig.hub.get(CLUSTERS, "eu2"), "connected") == "Connected"
        for key in theirs:
            rig.live(key)
        rig.healthy()
        assert status(rig.set("shop/shop"), "health", "counts") == {"Healthy": 9}

    await rig.hub.eventually(served)
    await view.level()
    released = rig.hub.log[mark:]
    assert_order([*log, *released])
    assert sorted(key for key, _ in releases(released)) == sorted(theirs), "nobody else is released"
    frontend = view.get(DEPLOYMENTS, "shop-frontend/frontend")
    assert frontend is not None
    assert frontend["spec"]["replicas"] == 3
    config = view.get(CONFIG_MAPS, "shop-frontend/frontend")
    assert config is not None
    assert config["data"]["url"] == "https://shop.eu2.example.com"
    others = {name: versions for name, versions in (await rig.settled()).items() if name != "eu2"}
    assert others == before, "nothing is written elsewhere"

    await rig.axle("cluster", "remove", "eu2", "--yes", "--timeout", "180s")

    def gone() -> None:
        assert rig.hub.get(CLUSTERS, "eu2") is None
        assert not theirs & rig.hub.all(APPS).keys()
        assert "axletree-system/eu2" not in rig.hub.all(ASSIGNMENTS)

    await rig.hub.eventually(gone)
    left = (await view.client.list(DEPLOYMENTS, label_selector=APPLYSET_PART_OF)).items
    left += (await view.client.list(CONFIG_MAPS, label_selector=APPLYSET_PART_OF)).items
    assert left == []
    await view.level()
    _assert_reverse_order(rig)
    await _ends_by_itself(rig, "eu2")
    assert "agent-eu2" not in await rig.axle("status")  # which exits with 0: nothing is missing
    await rig.fleet.remove("eu2")
    del rig.spokes["eu2"]
    await rig.hub.eventually(rig.green)
    assert await rig.settled() == before


async def _ends_by_itself(rig: Rig, cluster: str) -> None:
    """The removed cluster's agent has nothing left to do, says so, and ends."""
    async with asyncio.timeout(60):
        while rig.fleet.services.running(agent_of(cluster)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    assert "ClusterRemoved" in log_tail(rig.fleet.services.folder, agent_of(cluster))


def _assert_reverse_order(rig: Rig) -> None:
    order = [
        change.key.partition("/")[2]
        for change in rig.spokes["eu2"].log
        if change.path == DEPLOYMENTS and change.new is None
    ]
    assert order == list(SHOP[::-1]), "dependents go before what they need"
