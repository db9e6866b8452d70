"""Days without a hub, in short: what the spoke does by itself, and that `axle status` tells the truth throughout."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.words import CONFIG_MAPS, DEPLOYMENTS, image, one, status
from hub.fleet.services import HUB as HUB_SERVICE

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
BACKEND = "shop-backend/backend"
CONFIG = "shop-frontend/frontend"
_SECONDS = 120.0


async def said(rig: Rig, *, code: int = 0) -> dict[str, Any]:
    return _read(await rig.axle("status", "-o", "json", code=code))


def _read(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    found["by"] = {each["name"]: each for each in found["clusters"]}
    return found


async def _goes_on_with_what_was_said_last(rig: Rig) -> None:
    """F48: the database's cluster is away; a backend elsewhere is still changed, with the address that it gave."""
    address, before = rig.address(), rig.digests["shop/backend-us1"]
    commit = await rig.commit("A new backend", rig.checkout.retagged({"backend": "1.0.3"}))

    def changed() -> None:
        rig.planned("shop/shop", commit)
        rig.live("shop/backend-us1")
        backend = rig.spokes["us1"].get(DEPLOYMENTS, BACKEND)
        assert backend is not None
        assert image(backend).endswith(":1.0.3")
        assert rig.primary("us1") == address

    await rig.hub.eventually(changed)
    commit = await rig.revert()

    def back() -> None:
        rig.planned("shop/shop", commit)
        rig.live("shop/backend-us1")
        assert status(rig.app("shop/backend-us1"), "sync", "live") == before

    await rig.hub.eventually(back)


async def said_when(rig: Rig, cluster: str, word: str, *, code: int = 0) -> dict[str, Any]:
    """Once `axle status` says this of a cluster, and ends so: a hub that has just started does not lead at once."""
    async with asyncio.timeout(_SECONDS):
        while True:
            ended, output, _ = await rig.tried("status", "-o", "json")
            found = _read(output)
            if ended == code and found["by"][cluster]["connected"] == word:
                return found
            await asyncio.sleep(0.2)


async def test_f44_hub_stopped_agent_killed_and_an_object_deleted_it_is_back_and_status_tells_the_truth(
    rig: Rig,
) -> None:
    view = rig.spokes["eu1"]
    before = await said(rig)
    assert before["hub"]["running"]
    assert before["by"]["eu1"]["connected"] == "Connected"
    total = before["apps"]["total"]
    assert before["apps"]["health"] == {"Healthy": total}

    # The agent alone is away: the hub says so, since when, and says nothing new of its apps.
    await rig.kill_agent("eu1")
    stale = await said_when(rig, "eu1", "Stale", code=1)
    assert stale["hub"]["running"]
    assert stale["by"]["eu1"]["lastSeen"]
    assert stale["by"]["us1"]["connected"] == "Connected"
    await _goes_on_with_what_was_said_last(rig)

    # No hub either: nothing is known of anyone, and what is shown has an age.
    await rig.fleet.services.stop(frozenset({HUB_SERVICE}))
    away = await said(rig, code=1)
    assert not away["hub"]["running"]
    assert away["hub"]["lastSeen"]
    assert {each["connected"] for each in away["clusters"]} == {"Unknown", "Stale"}
    text = await rig.axle("status", code=1)
    assert "not running" in text
    assert "ago" in text

    deployment = view.get(DEPLOYMENTS, BACKEND)
    assert deployment is not None
    await view.client.delete(one(DEPLOYMENTS, BACKEND))
    await view.client.merge_patch(one(CONFIG_MAPS, CONFIG), {"data": {"url": "by hand"}})

    def missing() -> None:
        assert view.get(DEPLOYMENTS, BACKEND) is None

    await view.eventually(missing)
    rig.start_agent("eu1")

    def back() -> None:
        found = view.get(DEPLOYMENTS, BACKEND)
        assert found is not None
        assert found["metadata"]["uid"] != deployment["metadata"]["uid"]
        config = view.get(CONFIG_MAPS, CONFIG)
        assert config is not None
        assert config["data"]["url"] != "by hand"

    await view.eventually(back)  # alone on a machine it takes a second, which `make bench` measures
    assert not (await said(rig, code=1))["hub"]["running"], "all of that was without the hub"

    # The hub is back: it hears the latest state, and nothing of the fleet has moved.
    await rig.start_hub()
    await said_when(rig, "eu1", "Connected")
    await rig.hub.eventually(rig.green)
    after = await said(rig)
    assert after["hub"]["running"]
    assert after["apps"]["health"] == {"Healthy": total}
    observed = status(rig.app("shop/backend-eu1"), "observed")
    assert observed["sync"] == "Synced"
