"""A cluster that is removed while its agent lives and sets name it: its apps go, or stay where that was by force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.contract.names import ANNOTATION_FORCE_REMOVE
from hub.api.registry import CLUSTER
from tests.integration.hub_rig import SECONDS, SHOP, Fleet, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


@pytest.mark.parametrize("force", [True, False], ids=["force", "plain"])
async def test_i1_a_removal_by_force_leaves_what_runs_even_where_the_agent_answers(
    shop: Fleet, *, force: bool
) -> None:
    port = free_port()
    await shop.hub("hub", port)
    await shop.shop()
    await shop.join(port)
    await shop.settled()
    maps = f"/api/v1/namespaces/{shop.namespace}-apps/configmaps"
    before = {name: (await shop.client.get(f"{maps}/{name}"))["metadata"]["uid"] for name in SHOP}

    path = CLUSTER.path(name=shop.cluster)
    mark = {"metadata": {"annotations": {ANNOTATION_FORCE_REMOVE: "true"}}}
    if force:
        await shop.client.merge_patch(path, mark)
    await shop.client.delete(path)

    async def forgotten() -> bool:
        there = {obj["metadata"]["name"] for obj in (await shop.client.list(CLUSTER.path())).items}
        return shop.cluster not in there and not await shop.apps()

    await shop.until("the cluster is forgotten, with all that was for it", forgotten)
    assert shop.agent is not None
    if not force:
        await asyncio.wait_for(asyncio.shield(shop.running), SECONDS)  # it has nothing left to do
    await shop.agent.stop()
    left = {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in (await shop.client.list(maps)).items}
    assert {name: left.get(name) for name in SHOP} == (before if force else dict.fromkeys(SHOP))


async def test_the_agent_of_a_cluster_that_never_had_apps_ends_when_that_is_removed(shop: Fleet) -> None:
    port = free_port()
    await shop.hub("hub", port)
    await shop.join(port)

    async def connected() -> bool:
        there = (await shop.client.list(CLUSTER.path())).items
        return any((each.get("status") or {}).get("connected") == "Connected" for each in there)

    await shop.until("the agent is connected", connected)
    await shop.client.delete(CLUSTER.path(name=shop.cluster))
    await asyncio.wait_for(asyncio.shield(shop.running), SECONDS)
