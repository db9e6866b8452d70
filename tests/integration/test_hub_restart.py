"""Hubs that are killed, restarted and doubled, with a real agent, on a real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.contract.names import ANNOTATION_REFRESH, HUB_NAMESPACE, LABEL_SET
from hub.api.registry import APPLICATION, APPLICATION_SET, ASSIGNMENT
from hub.cli.main import app
from hub.operator import paths
from tests.integration.hub_rig import FULL_PASS, SHOP, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet, HubProcess

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


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
    second = await shop.hub("second", port)
    await shop.led_by("second")
    await asyncio.sleep(5 * FULL_PASS)  # that nothing happens can only be waited for
    assert await shop.versions() == before, shop.moved()

    await shop.release(web="2")  # and it was there all the time
    after = await shop.settled()
    moved = {name for name in before if name.startswith("Application ") and after[name] != before[name]}
    assert moved == {f"Application {shop.namespace}/web"}, "what did not change is not written to"
    await _deleted_meanwhile(shop, second, port)


async def _deleted_meanwhile(shop: Fleet, hub: HubProcess, port: int) -> None:
    """Nobody tells the next controller of what was deleted before it came; here of a set that is gone by force."""
    await hub.stop()
    lost = {"metadata": {"labels": {LABEL_SET: "gone-by-force"}}}
    await shop.client.merge_patch(APPLICATION.path(shop.namespace, "extra"), lost)
    await shop.client.delete(APPLICATION.path(shop.namespace, "extra"))
    await shop.hub("third", port)

    async def gone() -> bool:
        found = await shop.client.list(f"/api/v1/namespaces/{shop.namespace}-apps/configmaps")
        there = {obj["metadata"]["name"] for obj in found.items} | (await shop.apps()).keys()
        return "extra" not in there

    await shop.until("what was deleted while no hub was there is gone", gone)


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

    # On a machine that is too busy to renew a Lease of three seconds the other one takes it, and rightly.
    assert await shop.leader() == "first" or "the term ends" in first.log.read_text()

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


async def test_f3_a_hub_that_went_back_releases_and_deletes_nothing_until_it_is_recovered(
    shop: Fleet,
) -> None:
    port = free_port()
    first = await shop.hub("first", port)
    await shop.shop()
    await shop.join(port)
    before = await shop.settled()
    assigned = await shop.assignment()
    await first.stop()
    web = f"{shop.namespace}/web"
    older = {
        "seq": assigned["seq"] - 2,
        "apps": [entry for entry in assigned["apps"] if entry["app"] != web],
        "tombstones": [{"app": web, "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}],
    }
    path = ASSIGNMENT.path(HUB_NAMESPACE, shop.cluster)
    await shop.client.merge_patch(path, {"spec": older})

    second = await shop.hub("second", port)
    await shop.led_by("second")
    cluster = f"{paths.CLUSTERS}/{shop.cluster}"

    async def told() -> bool:
        conditions = (await shop.client.get(cluster))["status"]["conditions"]
        return any(each["reason"] == "HubBehind" for each in conditions)

    await shop.until("the hub sees that it went back", told)
    behind = await shop.assignment()
    assert behind["seq"] < assigned["seq"], "what it wrote before it knew is older than what the agent holds"
    await shop.commit(api="2")
    moment = {"metadata": {"annotations": {ANNOTATION_REFRESH: "now"}}}
    await shop.client.merge_patch(APPLICATION_SET.path(shop.namespace, "shop"), moment)

    async def held() -> bool:
        blocked = ((await shop.app("api")).get("status") or {}).get("blockedBy") or []
        return any(each["edge"] == "Behind" for each in blocked)

    await shop.until("nothing is released", held)
    after = await shop.assignment()  # what was under way when it noticed may have arrived since
    assert after["seq"] < assigned["seq"]
    assert _digests(after).items() <= _digests(assigned).items()
    assert after["tombstones"] in ([], older["tombstones"])
    await second.stop()

    recovered = await asyncio.to_thread(
        CliRunner().invoke,
        app,
        ["hub", "recover", "--yes", "--kubeconfig", str(shop.server.kubeconfig_path)],
    )
    assert recovered.exit_code == 0, recovered.output
    await shop.hub("third", port)
    await shop.deployed("api", "2")
    there = await shop.settled()
    maps = [name for name in before if name.startswith("ConfigMap")]
    assert maps
    assert all(there[name][0] == before[name][0] for name in maps), "nothing was deleted and made again"
    assert (await shop.assignment())["epoch"] == assigned["epoch"] + 1
    assert (await shop.assignment())["tombstones"] == []


def _digests(assignment: dict[str, Any]) -> dict[str, str]:
    return {entry["app"]: entry["digest"] for entry in assignment["apps"]}


async def test_a_gateway_alone_serves_agents_and_what_was_lost_is_asked_for_through_it(shop: Fleet) -> None:
    ports = free_port(), free_port()
    await shop.hub("leads", ports[0], gateway="one")
    await shop.hub("serves", ports[1], role="gateway", gateway="two")
    await shop.led_by("leads")
    await shop.shop()
    await shop.join(ports[1], heartbeat_seconds=300.0)
    before = await shop.settled()
    assigned = await shop.assignment()

    for name in SHOP:
        await shop.client.delete(APPLICATION.path(shop.namespace, name))

    async def made_again() -> bool:
        apps = await shop.apps()
        uids = {name: apps[name]["metadata"]["uid"] for name in SHOP if name in apps}
        known = {name: before[f"Application {shop.namespace}/{name}"][0] for name in SHOP}
        return uids.keys() == known.keys() and not uids.items() & known.items()

    await shop.until("they are made again", made_again)
    await shop.settled()
    after = await shop.assignment()
    assert [entry["release"] for entry in after["apps"]] == [entry["release"] for entry in assigned["apps"]]
    assert after["tombstones"] == []
