"""Absence is never a delete: what vanishes on the hub without a decision goes on running on the spokes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e import recovery
from e2e.rig import GREEN_SECONDS
from e2e.words import APPS, ASSIGNMENTS, NAMESPACES, SETS, condition, one, status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]


async def test_a_child_that_someone_deletes_is_made_again_and_its_spoke_does_not_notice(rig: Rig) -> None:
    before = await rig.settled()
    uid = rig.app("shop/backend-eu1")["metadata"]["uid"]

    await rig.hub.client.delete(one(APPS, "shop/backend-eu1"))

    def again() -> None:
        assert rig.app("shop/backend-eu1")["metadata"]["uid"] != uid
        rig.green()

    await rig.hub.eventually(again)
    after = await rig.settled()
    for cluster, versions in before.items():
        assert _objects(after[cluster]) == _objects(versions)


async def test_all_children_deleted_at_once_are_made_again(rig: Rig) -> None:
    before = await rig.settled()
    uids = {key: app["metadata"]["uid"] for key, app in rig.children("shop/shop").items()}
    await rig.hub.client.request("DELETE", "/apis/axletree.dev/v1alpha1/namespaces/shop/applications")

    def again() -> None:
        for key, uid in uids.items():
            assert rig.app(key)["metadata"]["uid"] != uid
        rig.green()

    await rig.hub.eventually(again)
    after = await rig.settled()
    for cluster, versions in before.items():
        assert _objects(after[cluster]) == _objects(versions)


async def test_i1_a_namespace_deleted_on_the_hub_deletes_nothing_on_any_spoke(rig: Rig) -> None:
    before = await rig.settled()
    await rig.hub.client.delete(one(NAMESPACES, "shop"))

    def terminating() -> None:
        namespace = rig.hub.get(NAMESPACES, "shop")
        assert namespace is not None
        assert "deletionTimestamp" in namespace["metadata"]
        for key in ("shop/backend-eu1", "shop/frontend-us1"):
            assert "deletionTimestamp" in rig.app(key)["metadata"]

    await rig.hub.eventually(terminating)
    # What must not happen is seen by waiting for it, and by the agents' own decisions.
    await rig.hub.throughout(lambda: _no_tombstones(rig), seconds=3.0)
    now = await rig.settled()
    for cluster, versions in before.items():
        assert _objects(now[cluster]) == _objects(versions)

    def held() -> None:
        stalled = condition(rig.set("shop/shop"), "Stalled")
        assert (stalled.get("status"), stalled.get("reason")) == ("True", "DeletionHeld"), stalled
        assert "namespace shop is terminating" in stalled["message"]

    await rig.hub.eventually(held)
    _no_tombstones(rig)
    assert len(rig.children("shop/shop")) == 6, "each is held, too"

    # A person lets the hub's objects go; the root makes the namespace again, and all is adopted where it runs.
    await recovery.release_namespaces(rig)

    def again() -> None:
        namespace = rig.hub.get(NAMESPACES, "shop")
        assert namespace is not None
        assert "deletionTimestamp" not in namespace["metadata"]
        rig.green()

    await rig.hub.eventually(again, seconds=GREEN_SECONDS)
    after = await rig.settled()
    for cluster, versions in before.items():
        assert _objects(after[cluster]) == _objects(versions)


async def test_an_assignment_that_is_deleted_is_written_again(rig: Rig) -> None:
    """A 404 is no information (F6): the agent goes on, and the hub knows what it had released."""
    before = await rig.settled()
    path = "/apis/axletree.dev/v1alpha1/namespaces/axletree-system/assignments/eu1"
    apps = {each["app"] for each in (await rig.hub.client.get(path))["spec"]["apps"]}
    await rig.hub.client.delete(path)

    def again() -> None:
        assignment = rig.hub.get(ASSIGNMENTS, "axletree-system/eu1")
        assert assignment is not None
        assert {each["app"] for each in assignment["spec"]["apps"]} == apps
        rig.green()

    await rig.hub.eventually(again)
    after = await rig.settled()
    for cluster, versions in before.items():
        assert _objects(after[cluster]) == _objects(versions)


def _no_tombstones(rig: Rig) -> None:
    for key, assignment in rig.hub.all(ASSIGNMENTS).items():
        assert not assignment["spec"].get("tombstones"), f"{key}: {assignment['spec']['tombstones']}"
    for key in rig.hub.all(SETS):
        assert not status(rig.set(key), "plan", "drops")


def _objects(versions: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Without what the agent keeps for itself: a release may get another number."""
    return {ref: version for ref, version in versions.items() if not ref.startswith("Secret ")}
