"""Somebody removes the hub's CRDs, one or all: the API server deletes every object of ours, and nothing runs less."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import ANNOTATION_REFRESH, GROUP
from hub.api.registry import APPLICATION, APPLICATION_SET, CLUSTER
from hub.operator import paths
from tests.integration.hub_rig import FULL_PASS, SHOP, Fleet, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

APPS = (*SHOP, "everywhere")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def everywhere(shop: Fleet) -> None:
    """A set that takes the clusters as they come: those that go away take their children along."""
    await shop.commit(everywhere="1")
    template = {"metadata": {"name": "everywhere"}, "spec": shop.spec("everywhere")}
    spec = {"generators": [{"clusters": {}}], "template": template}
    await shop.put(APPLICATION_SET, "everywhere", spec, annotations={ANNOTATION_REFRESH: "now"})
    await shop.deployed("everywhere", "1")


async def maps(shop: Fleet) -> dict[str, str]:
    found = await shop.client.list(f"/api/v1/namespaces/{shop.namespace}-apps/configmaps")
    return {
        obj["metadata"]["name"]: obj["metadata"]["uid"]
        for obj in found.items
        if obj["metadata"]["name"] in APPS
    }


async def remove_crd(shop: Fleet, plural: str) -> None:
    await shop.client.delete(f"{paths.CRDS}/{plural}.{GROUP}")


async def test_i1_a_crd_that_is_removed_deletes_nothing_on_any_spoke(shop: Fleet) -> None:
    port = free_port()
    await shop.hub("hub", port)
    await shop.shop()
    await shop.join(port)
    await shop.settled()
    await everywhere(shop)
    before = await maps(shop)
    assert before.keys() == set(APPS)

    await remove_crd(shop, "clusters")

    async def told() -> bool:
        cluster = await shop.client.get(CLUSTER.path(name=shop.cluster))
        conditions = (cluster.get("status") or {}).get("conditions") or ()
        return any(each["reason"] == "DeletionHeld" for each in conditions)

    await shop.until("the Cluster says that its deletion is held", told)
    await asyncio.sleep(4 * FULL_PASS)  # passes over everything, each of which could decide
    assigned: dict[str, Any] = await shop.assignment()
    assert {each["app"] for each in assigned["apps"]} >= {f"{shop.namespace}/{name}" for name in APPS}
    assert (assigned.get("tombstones") or [], assigned.get("leaving") or False) == ([], False)
    assert not [app for app in (await shop.apps()).values() if (app["status"].get("deletion") or {})]

    for plural in ("clustersets", "projects", "applicationsets", "applications"):
        await remove_crd(shop, plural)
    await asyncio.sleep(4 * FULL_PASS)
    apps = (await shop.client.list(APPLICATION.path(shop.namespace))).items
    assert not [app for app in apps if (app["status"].get("deletion") or {"held": "x"}).get("held") is None]
    assert not (await shop.assignment()).get("tombstones")
    assert await maps(shop) == before
    assert shop.agent is not None
    assert not shop.running.done(), "the agent goes on"
