"""What goes from Git goes from the clusters, in order and inside its budget; what is too much is Held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.rig import PROD, SAMPLE_SETS
from e2e.words import APPS, CONFIG_MAPS, NAMESPACES, PROJECTS, ROOT, SETS, condition, status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
CHAIN = {"first": "", "second": "first", "third": "second"}


async def _plant(rig: Rig, name: str, *, tenant: bool = False) -> str:
    """A set of three apps in a chain on two clusters, all Healthy; its key."""
    key = f"{name if tenant else 'shop'}/{name}"
    apps = {f"{name}-{app}": first and f"{name}-{first}" for app, first in CHAIN.items()}
    await rig.commit(f"Plant {name}", rig.checkout.planted(name, apps, tenant=tenant))

    def grown() -> None:
        assert len(rig.children(key)) == 6, sorted(rig.children(key))
        for child in rig.children(key):
            rig.live(child)
        rig.healthy(key)

    await rig.hub.eventually(grown)
    for cluster in PROD:
        await rig.spokes[cluster].level()
        for app in apps:
            assert rig.spokes[cluster].get(CONFIG_MAPS, f"shop-{app}/{app}") is not None
    return key


async def test_an_app_removed_from_git_goes_with_its_objects_and_nothing_else(rig: Rig) -> None:
    key = await _plant(rig, "small")
    before = await rig.settled()
    commit = await rig.commit("Remove", {"small/small-third/config.yaml": None})

    def gone() -> None:
        rig.planned(key, commit)
        names = sorted(name.partition("/")[2] for name in rig.children(key))
        assert names == ["small-first-eu1", "small-first-us1", "small-second-eu1", "small-second-us1"]
        rig.healthy(key)

    await rig.hub.eventually(gone)
    assert status(rig.set(key), "plan", "counts")["removed"] in (0, 2)
    after = await rig.settled()
    for cluster, versions in before.items():
        lost = {ref for ref in versions.keys() - after[cluster].keys() if not ref.startswith("Secret ")}
        assert lost == ({"ConfigMap shop-small-third/small-third"} if cluster in PROD else set())
        kept = [ref for ref in versions.keys() & after[cluster].keys() if not ref.startswith("Secret ")]
        assert all(after[cluster][ref] == versions[ref] for ref in kept), "nothing else is written"


async def test_f12_a40_a_directory_that_is_emptied_is_held_and_goes_when_it_is_approved(rig: Rig) -> None:
    key = await _plant(rig, "whole")
    before = await rig.settled()
    apps = [f"whole-{app}" for app in CHAIN]
    commit = await rig.commit("Empty", {f"whole/{app}/config.yaml": None for app in apps})

    def held() -> None:
        rig.planned(key, commit)
        plan = status(rig.set(key), "plan")
        assert plan["counts"]["held"] > 0, plan
        assert all(each["reason"] == "Budget" for each in plan["held"]), plan
        assert "Held" in condition(rig.set(key), "Ready")["message"]

    await rig.hub.eventually(held)
    now = await rig.settled()
    for cluster, versions in before.items():
        objects = {ref for ref in versions if not ref.startswith("Secret ")}
        assert objects <= now[cluster].keys(), "above its budget, nothing of an expansion's drops is gone"
    assert len(rig.children(key)) == 6

    await rig.axle("approve", key)

    def gone() -> None:
        assert not rig.children(key), sorted(rig.children(key))
        _assert_gone(rig, apps)

    await rig.hub.eventually(gone)
    for cluster in PROD:
        _assert_reverse_order(rig, cluster, apps)


async def test_a_set_removed_from_git_takes_its_children_along_in_order(rig: Rig) -> None:
    key = await _plant(rig, "brief")
    await rig.revert()

    def gone() -> None:
        assert rig.hub.get(SETS, key) is None
        assert not rig.children(key), sorted(rig.children(key))
        _assert_gone(rig, [f"brief-{app}" for app in CHAIN])
        rig.green()

    await rig.hub.eventually(gone)
    for cluster in PROD:
        _assert_reverse_order(rig, cluster, [f"brief-{app}" for app in CHAIN])


async def test_a36_a_tenant_removed_from_git_goes_with_its_namespace_once_a_person_confirms(rig: Rig) -> None:
    """The set goes before the Project and the Namespace that it needs: none of them is stuck."""
    key = await _plant(rig, "tenant", tenant=True)
    await rig.revert()

    def asked() -> None:
        assert rig.hub.get(SETS, key) is None
        assert rig.hub.get(PROJECTS, "tenant/project") is None
        assert "ConfirmDelete: Namespace tenant" in str(rig.app(ROOT)["status"])
        assert rig.hub.get(NAMESPACES, "tenant") is not None

    await rig.hub.eventually(asked)
    answer = {"metadata": {"annotations": {"axletree.dev/confirm-delete": "tenant"}}}
    await rig.hub.client.merge_patch("/api/v1/namespaces/tenant", answer)

    def gone() -> None:
        assert rig.hub.get(NAMESPACES, "tenant") is None
        _assert_gone(rig, [f"tenant-{app}" for app in CHAIN])
        rig.green()

    await rig.hub.eventually(gone)


async def test_a_hand_written_application_is_deleted_by_a_person(rig: Rig) -> None:
    app = {
        "apiVersion": "axletree.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "mine", "namespace": "shop"},
        "spec": {
            "cluster": "eu1",
            "namespace": "shop-mine",
            "sources": [{"repoURL": rig.fleet.repo_url, "revision": "main", "path": "dev/playground"}],
            "sync": {"createNamespace": True},
        },
    }
    path = "/apis/axletree.dev/v1alpha1/namespaces/shop/applications/mine"
    await rig.hub.client.apply(path, app, field_manager="tests")
    await rig.hub.eventually(lambda: rig.live("shop/mine"))
    assert rig.spokes["eu1"].get(CONFIG_MAPS, "shop-mine/settings") is not None

    await rig.hub.client.delete(path)

    def gone() -> None:
        assert rig.hub.get(APPS, "shop/mine") is None
        assert rig.spokes["eu1"].get(CONFIG_MAPS, "shop-mine/settings") is None

    await rig.hub.eventually(gone)
    assert sorted(rig.hub.all(SETS)) == sorted(SAMPLE_SETS)


def _assert_gone(rig: Rig, apps: list[str]) -> None:
    """Their objects; namespaces that the agent made stay, as nobody decided about what else is in them."""
    for cluster in PROD:
        for app in apps:
            assert rig.spokes[cluster].get(CONFIG_MAPS, f"shop-{app}/{app}") is None, f"{app} is on {cluster}"


def _assert_reverse_order(rig: Rig, cluster: str, apps: list[str]) -> None:
    """Dependents went before what they need."""
    log = rig.spokes[cluster].log
    order = [
        change.key.partition("/")[2]
        for change in log
        if change.path == CONFIG_MAPS
        and change.new is None
        and change.key in {f"shop-{app}/{app}" for app in apps}
    ]
    assert order == apps[::-1], f"{cluster}: {order}"
