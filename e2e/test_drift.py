"""What people change by hand: corrected on production, left and shown where the clusters' set says Alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.words import CONFIG_MAPS, DEPLOYMENTS, SERVICES, condition, image, one, only, status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
PLAYGROUND = "dev/playground-lab1"


async def test_drift_on_production_is_corrected(rig: Rig) -> None:
    frontend = rig.spokes["eu1"].get(DEPLOYMENTS, "shop-frontend/frontend")
    assert frontend is not None
    other = (await rig.settled("us1", agent=False))["us1"]
    mark = len(rig.spokes["eu1"].log)

    await rig.spokes["eu1"].client.merge_patch(
        one(DEPLOYMENTS, "shop-frontend/frontend"), {"spec": {"replicas": 7}}, field_manager="someone"
    )

    def corrected() -> None:
        changes = rig.spokes["eu1"].since(mark, DEPLOYMENTS)
        seen = [each.new for each in changes if each.new and each.key == "shop-frontend/frontend"]
        assert 7 in [obj["spec"]["replicas"] for obj in seen], "the edit itself was seen"
        assert seen[-1]["spec"]["replicas"] == 2
        assert seen[-1]["metadata"]["uid"] == frontend["metadata"]["uid"], "corrected, not made anew"

    await rig.spokes["eu1"].eventually(corrected)

    def told() -> None:
        rig.live("shop/frontend-eu1")
        drift = only(status(rig.app("shop/frontend-eu1"), "observed", "drift"))
        assert "frontend" in drift["ref"]
        assert any("replicas" in path for path in drift["paths"]), drift
        assert drift["corrected"] is True

    await rig.hub.eventually(told)
    assert await rig.versions("us1") == other


async def test_what_is_deleted_by_hand_is_made_again(rig: Rig) -> None:
    before = rig.spokes["us1"].get(SERVICES, "shop-database/database")
    config = rig.spokes["us1"].get(CONFIG_MAPS, "shop-frontend/frontend")
    assert before is not None
    assert config is not None
    await rig.spokes["us1"].client.delete(one(SERVICES, "shop-database/database"))
    await rig.spokes["us1"].client.delete(one(CONFIG_MAPS, "shop-frontend/frontend"))

    def again() -> None:
        after = rig.spokes["us1"].get(SERVICES, "shop-database/database")
        assert after is not None
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        made = rig.spokes["us1"].get(CONFIG_MAPS, "shop-frontend/frontend")
        assert made is not None
        assert made["metadata"]["uid"] != config["metadata"]["uid"]
        assert made["data"] == config["data"]

    await rig.spokes["us1"].eventually(again)
    await rig.hub.eventually(rig.green)


async def test_drift_on_the_development_cluster_is_left_and_shown(rig: Rig) -> None:
    view = rig.spokes["lab1"]
    path = one(DEPLOYMENTS, "dev-playground/playground")

    def patch(tag: str) -> dict[str, object]:
        container = {"name": "playground", "image": f"registry.example.com/dev/playground:{tag}"}
        return {"spec": {"template": {"spec": {"containers": [container]}}}}

    await view.client.merge_patch(path, patch("mine"), field_manager="someone")

    def shown() -> None:
        app = rig.app(PLAYGROUND)
        assert status(app, "sync", "state") == "OutOfSync", status(app, "sync")
        drift = only(status(app, "observed", "drift"))
        assert "Deployment" in drift["ref"]
        assert "playground" in drift["ref"]
        assert any("image" in path for path in drift["paths"]), drift
        assert drift["corrected"] is False
        assert status(rig.set("dev/dev"), "sync", "OutOfSync") == 1
        assert condition(app, "Ready")["status"] == "False"

    await rig.hub.eventually(shown)

    def left() -> None:
        deployment = view.get(DEPLOYMENTS, "dev-playground/playground")
        assert deployment is not None
        assert image(deployment) == "registry.example.com/dev/playground:mine"

    # Nothing later tells that a correction did not come; corrections take a fraction of this.
    await view.throughout(left, seconds=2.0)

    await view.client.merge_patch(path, patch("latest"), field_manager="someone")
    await rig.hub.eventually(rig.green)
    assert not status(rig.app(PLAYGROUND), "observed", "drift")


async def test_a_commit_ends_drift_that_was_left(rig: Rig) -> None:
    """A release is applied in full also where drift is only told."""
    view = rig.spokes["lab1"]
    path = one(CONFIG_MAPS, "dev-playground/settings")
    await view.client.merge_patch(path, {"data": {"debug": "by hand"}}, field_manager="someone")

    def shown() -> None:
        assert status(rig.app(PLAYGROUND), "sync", "state") == "OutOfSync"

    await rig.hub.eventually(shown)
    commit = await rig.replace("Debug", "dev/playground/playground.yaml", 'debug: "true"', 'debug: "very"')

    def ended() -> None:
        rig.planned("dev/dev", commit)
        rig.live(PLAYGROUND)
        settings = view.get(CONFIG_MAPS, "dev-playground/settings")
        assert settings is not None
        assert settings["data"] == {"debug": "very"}
        assert status(rig.app(PLAYGROUND), "observed", "drift") == []

    await rig.hub.eventually(ended)


async def test_a_fight_with_another_controller_is_not_lost(rig: Rig) -> None:
    """Someone who edits again and again is corrected each time; in the end the bundle stands."""
    view = rig.spokes["eu1"]
    for value in ("one", "two", "three"):
        await view.client.merge_patch(
            one(CONFIG_MAPS, "shop-frontend/frontend"), {"data": {"url": value}}, field_manager="someone"
        )

        def corrected() -> None:
            config = view.get(CONFIG_MAPS, "shop-frontend/frontend")
            assert config is not None
            assert config["data"]["url"] == "https://shop.eu1.example.com"

        await view.eventually(corrected)
    await rig.hub.eventually(rig.green)
