"""Kill -9 of agents and of the hub at any moment: nothing is lost, repeated or taken away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from e2e.order import assert_order, releases
from e2e.rig import PROD, SHOP, SPOKES
from e2e.view import Change
from e2e.words import APPS, ASSIGNMENTS, CLUSTERS, CONFIG_MAPS, DEPLOYMENTS, JOBS, image, one, status
from hub.fleet.services import HUB

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
CONFIG = "shop-frontend/frontend"
_PUT_OFF_SECONDS = 7.0
"""Longer than an agent may put off what it writes for itself about what runs."""
_STALE_SECONDS = 120.0


async def test_a_killed_agent_starts_again_and_writes_nothing(rig: Rig) -> None:
    """Neither to its cluster nor for itself. What it does first after a start is seen by what it corrects."""
    await rig.settled("eu1")
    await rig.stop_agent("eu1")  # what it had put off is kept
    rig.start_agent("eu1")
    await _edit_is_corrected(rig, "first")
    await rig.kill_agent("eu1")
    before = await rig.versions("eu1") | await rig.secrets("eu1")
    mark = len(rig.hub.log)

    rig.start_agent("eu1")
    await _edit_is_corrected(rig, "second")
    await asyncio.sleep(_PUT_OFF_SECONDS)

    after = await rig.versions("eu1") | await rig.secrets("eu1")
    edited = f"ConfigMap {CONFIG}"
    assert before.pop(edited) != after.pop(edited)
    assert after == before
    assert releases(rig.hub.log[mark:]) == []
    await rig.hub.eventually(rig.green)


async def test_an_agent_that_starts_again_corrects_what_changed_meanwhile(rig: Rig) -> None:
    view = rig.spokes["eu1"]
    await rig.kill_agent("eu1")
    path = one(CONFIG_MAPS, CONFIG)
    await view.client.merge_patch(path, {"data": {"url": "by hand"}}, field_manager="someone")
    await view.client.delete(one(DEPLOYMENTS, "shop-backend/backend"))

    rig.start_agent("eu1")

    await view.eventually(lambda: _corrected(rig))
    await rig.hub.eventually(rig.green)


async def test_f44_drift_is_corrected_while_the_hub_is_away_also_by_an_agent_that_restarts(rig: Rig) -> None:
    view = rig.spokes["eu1"]
    path = one(CONFIG_MAPS, CONFIG)
    await rig.kill_hub()
    await view.client.merge_patch(path, {"data": {"url": "by hand"}}, field_manager="someone")
    await view.eventually(lambda: _corrected(rig))

    await rig.kill_agent("eu1")
    await view.client.merge_patch(path, {"data": {"url": "again"}}, field_manager="someone")
    await view.client.delete(one(DEPLOYMENTS, "shop-backend/backend"))
    rig.start_agent("eu1")

    await view.eventually(lambda: _corrected(rig))
    assert not rig.fleet.services.running(HUB), "all of that was without the hub"
    await rig.start_hub()
    await rig.hub.eventually(rig.green)


async def test_a_killed_hub_starts_again_and_changes_nothing_on_any_spoke(rig: Rig) -> None:
    before = await rig.settled()
    assignments = rig.hub.all(ASSIGNMENTS).copy()
    standing = {key: status(app, "sync") for key, app in rig.hub.all(APPS).items()}
    mark = len(rig.hub.log)

    await rig.kill_hub()
    await rig.start_hub()
    await _served(rig)

    assert await rig.settled() == before
    assert rig.hub.all(ASSIGNMENTS) == assignments
    assert {key: status(app, "sync") for key, app in rig.hub.all(APPS).items()} == standing
    assert releases(rig.hub.log[mark:]) == []
    rig.green()


async def test_f27_a_hub_killed_in_the_middle_of_a_release_goes_on_with_it(rig: Rig) -> None:
    log = [Change(APPS, key, app, app) for key, app in rig.hub.all(APPS).items()]
    mark = len(rig.hub.log)
    commit = await rig.commit("All three", rig.checkout.retagged(dict.fromkeys(SHOP, "next")))

    def begun() -> None:
        assert releases(rig.hub.log[mark:]), "nothing is released yet"

    await rig.hub.eventually(begun)
    await rig.kill_hub()
    await rig.start_hub()

    def arrived() -> None:
        rig.planned("shop/shop", commit)
        for app in SHOP:
            for cluster in PROD:
                key = f"shop/{app}-{cluster}"
                rig.live(key)
                # A plan is written before all of its targets are: until then, each is live at the one before.
                assert status(rig.app(key), "sync", "live") != rig.digests[key], f"{key} has not moved"

    await rig.hub.eventually(arrived)
    assert_order([*log, *rig.hub.log[mark:]])
    order = [key for key, _ in releases(rig.hub.log[mark:])]
    assert sorted(order) == sorted(f"shop/{app}-{cluster}" for app in SHOP for cluster in PROD)


async def test_f19_an_agent_killed_in_the_middle_of_a_release_completes_it(rig: Rig) -> None:
    view = rig.spokes["eu1"]
    job = view.get(JOBS, "shop-backend/migrate-v1")
    assert job is not None
    mark = len(view.log)
    await rig.commit("All three", rig.checkout.retagged(dict.fromkeys(SHOP, "next")))

    def begun() -> None:
        assert view.since(mark, DEPLOYMENTS), "nothing is applied yet"

    await view.eventually(begun)
    await rig.kill_agent("eu1")
    rig.start_agent("eu1")

    def arrived() -> None:
        for app in SHOP:
            rig.live(f"shop/{app}-eu1")
            deployment = view.get(DEPLOYMENTS, f"shop-{app}/{app}")
            assert deployment is not None
            assert image(deployment).endswith(":next")

    await rig.hub.eventually(arrived)
    after = view.get(JOBS, "shop-backend/migrate-v1")
    assert after is not None
    assert after["metadata"]["uid"] == job["metadata"]["uid"], "I8: a completed Job never runs twice"


async def test_a_cluster_whose_agent_is_silent_is_not_green(rig: Rig) -> None:
    """Truthful status: Stale after its time, at the cluster and at every parent; well again by itself."""
    await rig.kill_agent("lab1")

    def stale() -> None:
        cluster = rig.hub.get(CLUSTERS, "lab1")
        assert status(cluster, "connected") == "Stale", status(cluster)
        assert status(rig.set("dev/dev"), "health", "state") == "Unknown"
        assert status(rig.set("dev/dev"), "health", "counts") == {"Stale": 1}
        assert status(rig.set("platform/platform"), "health", "counts") == {"Healthy": 2, "Stale": 1}
        assert status(rig.app("axletree-system/root"), "health", "state") == "Unknown"

    await rig.hub.eventually(stale, seconds=_STALE_SECONDS)
    assert status(rig.set("shop/shop"), "health", "state") == "Healthy", "it has no part there"
    rig.start_agent("lab1")
    await rig.hub.eventually(rig.green)


async def _edit_is_corrected(rig: Rig, text: str) -> None:
    """The agent runs: it puts back what someone edits."""
    view = rig.spokes["eu1"]
    path = one(CONFIG_MAPS, CONFIG)
    edited = await view.client.merge_patch(path, {"data": {"url": text}}, field_manager="someone")

    def corrected() -> None:
        config = view.get(CONFIG_MAPS, CONFIG)
        assert config is not None
        assert config["metadata"]["resourceVersion"] != edited["metadata"]["resourceVersion"]
        assert config["data"]["url"] == "https://shop.eu1.example.com"

    await view.eventually(corrected)


def _corrected(rig: Rig) -> None:
    config = rig.spokes["eu1"].get(CONFIG_MAPS, CONFIG)
    assert config is not None
    assert config["data"]["url"] == "https://shop.eu1.example.com"
    backend = rig.spokes["eu1"].get(DEPLOYMENTS, "shop-backend/backend")
    assert backend is not None, "the backend is not there"
    assert backend["spec"]["replicas"] == 2


async def _served(rig: Rig) -> None:
    """Until the hub that has just started leads, and has heard every agent and planned every set."""
    commit = await rig.replace("A sign", "README.md", "A small app of apps.", "A small app of apps!")

    def planned() -> None:
        for key in ("shop/shop", "platform/platform", "dev/dev"):
            rig.planned(key, commit)

    await rig.hub.eventually(planned)
    assert set(SPOKES) < set(rig.hub.all(CLUSTERS))
