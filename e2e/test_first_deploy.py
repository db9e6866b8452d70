"""The sample comes up: everything is there, in the order of the graph, and the status says no more than is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.order import assert_order, releases
from e2e.rig import PROD, SHOP, SPOKES
from e2e.words import (
    APPS,
    CLUSTERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    ROOT,
    SERVICES,
    SETS,
    Object,
    condition,
    image,
    status,
)

if TYPE_CHECKING:
    from e2e.conftest import Deployed
    from e2e.rig import Rig
    from e2e.view import Change

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
CHILDREN = {
    *(f"platform/platform-{cluster}" for cluster in SPOKES),
    *(f"shop/{app}-{cluster}" for app in SHOP for cluster in PROD),
    "dev/playground-lab1",
}


async def test_the_tree_is_complete(rig: Rig) -> None:
    assert set(rig.hub.all(APPS)) == {ROOT, *CHILDREN}
    for key in CHILDREN:
        app = rig.app(key)
        labels = app["metadata"]["labels"]
        assert labels["axletree.dev/application-set"] in ("platform", "shop", "dev")
        assert labels["axletree.dev/cluster"] == app["spec"]["cluster"]
        assert "ownerReferences" not in app["metadata"], "garbage collection would delete a fleet"

    def told() -> None:
        counts = {key: status(obj, "health", "counts") for key, obj in rig.hub.all(SETS).items()}
        assert counts == {
            "platform/platform": {"Healthy": 3},
            "shop/shop": {"Healthy": 6},
            "dev/dev": {"Healthy": 1},
        }
        assert status(rig.app(ROOT), "health", "counts") == {"Healthy": 10}
        for name, cluster in rig.hub.all(CLUSTERS).items():
            assert status(cluster, "connected") == "Connected", name
            assert condition(cluster, "Ready").get("status") == "True", name

    await rig.hub.eventually(told)


async def test_every_spoke_runs_what_its_values_say(rig: Rig) -> None:
    for cluster in SPOKES:
        await rig.spokes[cluster].level()
    for cluster in PROD:
        view = rig.spokes[cluster]
        for app in SHOP:
            deployment = view.get(DEPLOYMENTS, f"shop-{app}/{app}")
            assert deployment is not None
            assert image(deployment).startswith(f"registry.example.com/shop/{app}:")
            assert deployment["spec"]["replicas"] == (1 if app == "database" else 2)
            assert view.get(SERVICES, f"shop-{app}/{app}") is not None
        job = view.get(JOBS, "shop-backend/migrate-v1")
        assert job is not None
        assert job["status"]["succeeded"] == 1
        config = view.get(CONFIG_MAPS, "shop-frontend/frontend")
        assert config is not None
        assert config["data"]["url"] == f"https://shop.{cluster}.example.com"
    for cluster in SPOKES:
        info = rig.spokes[cluster].get(CONFIG_MAPS, "platform/cluster-info")
        assert info is not None
        assert info["data"]["cluster"] == cluster
        quality = await rig.spokes[cluster].client.get(
            "/apis/platform.example.com/v1/namespaces/platform/qualities/default"
        )
        assert quality["spec"] == {"tier": "gold"}
    assert not any(key.startswith("shop-") for key in rig.spokes["lab1"].all(DEPLOYMENTS))


async def test_i6_first_releases_follow_the_graph(deployed: Deployed) -> None:
    log = _first(deployed)
    assert_order(log)
    order = [key for key, _ in releases(log)]
    assert sorted(order) == sorted({ROOT, *CHILDREN}), "each is released once, and none twice"
    assert order[0] == ROOT
    for cluster in PROD:
        shop = [key for key in order if key.startswith("shop/") and key.endswith(f"-{cluster}")]
        assert shop == [f"shop/{app}-{cluster}" for app in SHOP]


async def test_the_root_is_not_healthy_before_its_parts(deployed: Deployed) -> None:
    """No green that turns out to have been early: the first Healthy is the last state of all below."""
    now: dict[str, Object] = {}
    for change in sorted(_first(deployed), key=_written):
        if change.new is None:
            now.pop(f"{change.path} {change.key}", None)
            continue
        now[f"{change.path} {change.key}"] = change.new
        if (change.path, change.key) == (APPS, ROOT) and status(change.new, "health", "state") == "Healthy":
            break
    below = {key: obj for key, obj in now.items() if not key.endswith(ROOT)}
    states = {key: status(obj, "health", "state") for key, obj in below.items()}
    assert len(states) == 3 + len(CHILDREN), sorted(states)
    assert set(states.values()) == {"Healthy"}, states


async def test_no_child_was_ever_planned_twice(deployed: Deployed) -> None:
    """A first deployment is one plan a set: nothing was planned from half a fleet, or from half a commit."""
    plans: dict[str, set[int]] = {}
    for change in _first(deployed):
        if change.path == SETS and change.new is not None and (plan := status(change.new, "plan", "id")):
            plans.setdefault(change.key, set()).add(plan)
    assert plans == {"platform/platform": {1}, "shop/shop": {1}, "dev/dev": {1}}


def _written(change: Change) -> int:
    """When the hub wrote it: each kind has a watch of its own, and one may be behind another."""
    return int((change.new or change.old or {})["metadata"]["resourceVersion"])


def _first(deployed: Deployed) -> list[Change]:
    if not deployed.log:
        pytest.skip("this fleet was found running: nobody saw it come up")
    return deployed.log
