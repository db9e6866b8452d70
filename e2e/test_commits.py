"""A commit reaches the children that it concerns and no others, and `git revert` takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.order import assert_order, releases
from e2e.rig import PROD, SHOP
from e2e.view import Change
from e2e.words import APPS, DEPLOYMENTS, JOBS, SETS, image, status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
BACKEND = "shop/backend/values.yaml"
OLD = "shop/backend:1.0.0"


async def test_a_changed_image_reaches_exactly_the_children_concerned(rig: Rig) -> None:
    concerned = {f"shop/backend-{cluster}" for cluster in PROD}
    before = {key: _standing(app) for key, app in rig.hub.all(APPS).items()}
    plans = {key: status(obj, "plan", "id") for key, obj in rig.hub.all(SETS).items()}
    spokes = await rig.settled()
    mark = len(rig.hub.log)

    commit = await rig.replace("A new backend", BACKEND, OLD, "shop/backend:1.0.1")

    def arrived() -> None:
        for key in sorted(concerned):
            rig.live(key)
            assert status(rig.app(key), "sync", "revision") == commit
        rig.planned("shop/shop", commit)

    await rig.hub.eventually(arrived)
    await rig.hub.eventually(rig.healthy)
    for cluster in PROD:
        await rig.spokes[cluster].level()
        deployment = rig.spokes[cluster].get(DEPLOYMENTS, "shop-backend/backend")
        assert deployment is not None
        assert image(deployment) == "registry.example.com/shop/backend:1.0.1"
        assert deployment["status"]["availableReplicas"] == 2
    after = {key: _standing(app) for key, app in rig.hub.all(APPS).items()}
    assert {key for key in before if before[key] != after[key]} == concerned
    assert status(rig.set("shop/shop"), "plan", "id") == plans["shop/shop"] + 1
    log = rig.hub.log[mark:]
    assert {key for key, _ in releases(log)} == concerned
    assert len(releases(log)) == len(concerned), "each is released once"
    written = {change.key for change in log if change.path == APPS and change.new and change.old}
    assert written <= concerned | {"axletree-system/root"}, "nothing is written to the others"
    for cluster, versions in (await rig.settled()).items():
        changed = {ref for ref, found in versions.items() if spokes[cluster].get(ref) != found}
        theirs = {ref for ref in changed if not ref.startswith("Secret axletree-agent/")}
        assert theirs == ({"Deployment shop-backend/backend"} if cluster in PROD else set())
        if cluster not in PROD:
            assert not changed, "an agent that nothing concerns keeps nothing new"


async def test_git_revert_brings_the_old_digest_back(rig: Rig) -> None:
    await rig.replace("A new backend", BACKEND, OLD, "shop/backend:1.0.2")

    def changed() -> None:
        for cluster in PROD:
            rig.live(f"shop/backend-{cluster}")
            assert _digest(rig, f"shop/backend-{cluster}") != rig.digests[f"shop/backend-{cluster}"]

    await rig.hub.eventually(changed)
    jobs = {cluster: rig.spokes[cluster].get(JOBS, "shop-backend/migrate-v1") for cluster in PROD}

    commit = await rig.revert()

    def back() -> None:
        rig.planned("shop/shop", commit)
        rig.green()

    await rig.hub.eventually(back)
    for cluster in PROD:
        await rig.spokes[cluster].level()
        deployment = rig.spokes[cluster].get(DEPLOYMENTS, "shop-backend/backend")
        assert deployment is not None
        assert image(deployment) == f"registry.example.com/{OLD}"
        history = status(rig.app(f"shop/backend-{cluster}"), "history")
        assert [entry["digest"] for entry in history[:3:2]] == [rig.digests[f"shop/backend-{cluster}"]] * 2
        # A26: a completed Job is not run again for a release that does not change it.
        assert rig.spokes[cluster].get(JOBS, "shop-backend/migrate-v1") == jobs[cluster]


async def test_i6_a_commit_to_all_three_is_released_in_their_order(rig: Rig) -> None:
    # The log needs to begin with the state of all, as dependencies that do not change are not told again.
    log = [Change(APPS, key, app, app) for key, app in rig.hub.all(APPS).items()]
    mark = len(rig.hub.log)

    commit = await rig.commit("All three", rig.checkout.retagged(dict.fromkeys(SHOP, "next")))

    def arrived() -> None:
        rig.planned("shop/shop", commit)
        for app in SHOP:
            for cluster in PROD:
                key = f"shop/{app}-{cluster}"
                rig.live(key)
                assert _digest(rig, key) != rig.digests[key]

    await rig.hub.eventually(arrived)
    log += rig.hub.log[mark:]
    assert_order(log)
    order = [key for key, _ in releases(rig.hub.log[mark:])]
    for cluster in PROD:
        shop = [key for key in order if key.endswith(f"-{cluster}")]
        assert shop == [f"shop/{app}-{cluster}" for app in SHOP]


async def test_two_commits_in_a_row_end_at_the_second(rig: Rig) -> None:
    await rig.replace("One", BACKEND, OLD, "shop/backend:1.1.0")
    commit = await rig.replace("Two", BACKEND, "shop/backend:1.1.0", "shop/backend:1.2.0")

    def arrived() -> None:
        rig.planned("shop/shop", commit)
        for cluster in PROD:
            rig.live(f"shop/backend-{cluster}")
            deployment = rig.spokes[cluster].get(DEPLOYMENTS, "shop-backend/backend")
            assert deployment is not None
            assert image(deployment) == "registry.example.com/shop/backend:1.2.0"

    await rig.hub.eventually(arrived)


async def test_a_commit_without_a_webhook_is_found_within_the_interval(rig: Rig) -> None:
    name = "dev/playground/playground.yaml"
    text = rig.checkout.changed(name, 'debug: "true"', 'debug: "false"')
    commit = await rig.checkout.push("Quietly", {name: text})

    def arrived() -> None:
        rig.planned("dev/dev", commit)
        rig.live("dev/playground-lab1")
        assert _digest(rig, "dev/playground-lab1") != rig.digests["dev/playground-lab1"]

    await rig.hub.eventually(arrived)


def _standing(app: dict[str, Any]) -> Any:
    """What a commit that does not concern an Application must leave as it is."""
    return app["metadata"]["uid"], app["metadata"]["generation"], status(app, "sync"), status(app, "history")


def _digest(rig: Rig, key: str) -> str:
    return str(status(rig.app(key), "sync", "live"))
