"""A rollout in waves over the sample: planned beforehand, halted by a bad image, explained, healed by a revert."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.order import releases
from e2e.words import status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]

WAVES = """
  rollout:
    waves:
      - {name: canary, selector: {matchLabels: {region: eu}}}
      - {name: fleet}
"""


async def test_i6_a_bad_image_halts_in_the_canary_is_named_and_a_revert_heals(rig: Rig) -> None:
    text = rig.checkout.read("root/shop.yaml").rstrip("\n")
    await rig.commit("Waves", {"root/shop.yaml": text + WAVES})

    def in_waves() -> None:
        waves = (status(rig.set("shop/shop"), "rollout") or {}).get("waves") or []
        assert [(wave["name"], wave["state"]) for wave in waves] == [("canary", "Done"), ("fleet", "Done")]

    await rig.hub.eventually(in_waves)
    mark = len(rig.hub.log)
    head = await rig.checkout.head()
    await rig.checkout.push("A bad image", rig.checkout.retagged({"backend": "broken", "frontend": "next"}))
    planned = await _plan(rig, head)
    assert [(each["app"], each["wave"]) for each in planned["changes"]] == [
        ("shop/backend-eu1", "canary"),
        ("shop/backend-us1", "fleet"),
        ("shop/frontend-eu1", "canary"),
        ("shop/frontend-us1", "fleet"),
    ]
    order = [app for step in planned["order"] for app in step["apps"]]
    assert order == ["shop/backend-eu1", "shop/frontend-eu1", "shop/backend-us1", "shop/frontend-us1"]
    await rig.refresh()

    def halted() -> None:
        waves = status(rig.set("shop/shop"), "rollout")["waves"]
        assert [wave["state"] for wave in waves] == ["Halted", "Waiting"], waves
        (blocked, *_) = status(rig.app("shop/backend-us1"), "blockedBy")
        assert blocked["edge"] == "Wave"
        assert "held by wave canary: 1 of its 3 children failed" in blocked["message"]

    await rig.hub.eventually(halted)
    said = await rig.axle("why", "shop/backend-us1")
    assert "held by wave canary" in said
    assert "backend@eu1 is Degraded" in said
    chain = await rig.axle("why", "shop/frontend-eu1")
    assert "backend@eu1 is Degraded" in chain
    assert [key for key, _ in releases(rig.hub.log[mark:])] == order[:1], (
        "what is after the canary never moves"
    )

    await rig.revert()
    await rig.hub.eventually(lambda: rig.healthy("shop/shop"))
    mark = len(rig.hub.log)
    head = await rig.checkout.head()
    await rig.checkout.push("A good one", rig.checkout.retagged({"backend": "next", "frontend": "next"}))
    order = [app for step in (await _plan(rig, head))["order"] for app in step["apps"]]
    await rig.refresh()

    def through() -> None:
        moved = [key for key, _ in releases(rig.hub.log[mark:])]
        assert moved == order, "what happens is what the plan said"
        rig.healthy("shop/shop")

    await rig.hub.eventually(through)


async def _plan(rig: Rig, start: str) -> dict[str, Any]:
    """What `axle plan` prints of the last commit, with the clusters as the hub has them."""
    folder = rig.fleet.checkout
    clusters = rig.fleet.root / "clusters.yaml"
    found = await rig.axle("get", "clusters", "-o", "yaml")
    clusters.write_text(found)
    out = await rig.axle(
        "plan",
        *("--dir", str(folder / "root"), "--clusters", str(clusters)),
        *("--repo", f"{rig.fleet.repo_url}={folder}", "--from", start, "-o", "json"),
        code=1,
    )
    found_plan: dict[str, Any] = json.loads(out)
    return found_plan
