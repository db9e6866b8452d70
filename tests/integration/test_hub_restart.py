"""Hubs that are killed, restarted and doubled, with a real agent, on a real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.hub_rig import FULL_PASS, SHOP, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def test_a_hub_that_is_restarted_on_a_settled_fleet_writes_nothing(shop: Fleet) -> None:
    port = free_port()
    first = await shop.hub("first", port)
    await shop.shop()
    await shop.join(port)
    before = await shop.settled()

    await first.stop()
    await shop.hub("second", port)
    await shop.led_by("second")
    await asyncio.sleep(5 * FULL_PASS)  # that nothing happens can only be waited for
    assert await shop.versions() == before, shop.moved()

    await shop.release(web="2")  # and it was there all the time
    after = await shop.settled()
    moved = {name for name in before if name.startswith("Application ") and after[name] != before[name]}
    assert moved == {f"Application {shop.namespace}/web"}, "what did not change is not written to"


async def test_f4_f29_a_second_hub_waits_and_takes_over_without_a_deletion_or_a_release(
    shop: Fleet,
) -> None:
    ports = free_port(), free_port()
    first = await shop.hub("first", ports[0])
    await shop.led_by("first")
    await shop.hub("second", ports[1])
    await shop.shop()
    await shop.join(ports[1])  # a gateway serves agents whether or not its process leads
    before = await shop.settled()
    assigned = await shop.assignment()
    assert await shop.leader() == "first"

    await first.kill()
    await shop.led_by("second")
    await asyncio.sleep(4 * FULL_PASS)
    after = await shop.versions()
    assert {name: uid for name, (uid, _) in after.items()} == {name: uid for name, (uid, _) in before.items()}
    assert await shop.assignment() == assigned
    assert not [app for app in (await shop.apps()).values() if "deletionTimestamp" in app["metadata"]]

    await shop.release(**dict.fromkeys(SHOP, "2"))
    await shop.settled()
    again = await shop.assignment()
    releases = {entry["app"].rpartition("/")[2]: entry["release"] for entry in again["apps"]}
    assert releases == {"extra": 1, **dict.fromkeys(SHOP, 2)}
    assert again["tombstones"] == []
    assert again["epoch"] == assigned["epoch"]
