"""Hooks and waves of a release, on a real API server whose Jobs end when the test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.health import HealthState, SyncState
from tests.integration.agent_rig import AgentRig, agent_on, config_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster
NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(api_server) as rig:
        yield rig


def job(name: str, phase: str, **annotations: str) -> dict[str, Any]:
    found = {"axletree.dev/hook": phase, **annotations}
    container = {"name": "main", "image": "migrate"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": found},
        "spec": {"ttlSecondsAfterFinished": 1, "template": pod},
    }


async def started(rig: AgentRig, name: str, *, other_than: str = "") -> dict[str, Any]:
    path = rig.path("jobs", name, group="batch/v1")
    found = await rig.live_when(
        path,
        lambda obj: (
            obj is not None
            and obj["metadata"]["uid"] != other_than
            and not obj["metadata"].get("deletionTimestamp")
        ),
    )
    assert found is not None
    return found


async def end(rig: AgentRig, name: str, *, well: bool = True) -> None:
    kinds = ("SuccessCriteriaMet", "Complete") if well else ("FailureTarget", "Failed")
    status: dict[str, Any] = {
        "startTime": NOW,
        "conditions": [{"type": kind, "status": "True", "reason": "Test"} for kind in kinds],
    }
    if well:
        status |= {"completionTime": NOW, "succeeded": 1}
    path = rig.path("jobs", name, group="batch/v1")
    await rig.client.merge_patch(path, {"status": status}, subresource="status")


async def test_pre_sync_goes_before_everything_and_post_sync_after_it_is_healthy(rig: AgentRig) -> None:
    await rig.deploy("web", job("before", "PreSync"), config_map("web"), job("after", "PostSync"))
    run = await started(rig, "before")
    assert "ttlSecondsAfterFinished" not in run["spec"]
    assert await rig.live(rig.path("configmaps", "web")) is None
    said = await rig.when("web", sync=SyncState.SYNCING, check=lambda said: "before" in said.message)
    assert said.digest is None
    await end(rig, "before")
    await started(rig, "after")
    assert await rig.live(rig.path("configmaps", "web")) is not None
    await rig.when("web", sync=SyncState.SYNCING, check=lambda said: "after" in said.message)
    await end(rig, "after")
    said = await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    assert said.counts == {"Healthy": 1}


async def test_i8_a_hook_runs_once_for_a_release_also_over_a_restart(rig: AgentRig) -> None:
    cleaned = {"axletree.dev/hook-delete-policy": "HookSucceeded"}
    await rig.deploy("web", job("before", "PreSync", **cleaned), config_map("web"))
    first = await started(rig, "before")
    await rig.stop()
    await rig.start()
    assert (await started(rig, "before"))["metadata"]["uid"] == first["metadata"]["uid"]
    await end(rig, "before")
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("jobs", "before", group="batch/v1")
    await rig.live_when(path, lambda obj: obj is None)
    await rig.stop()
    await rig.start()
    await rig.when("web", sync=SyncState.SYNCED)
    assert await rig.live(path) is None
    await rig.deploy("web", job("before", "PreSync", **cleaned), config_map("web", a="2"))
    await started(rig, "before", other_than=first["metadata"]["uid"])


async def test_what_a_hook_brings_stays_until_its_phase_is_over(rig: AgentRig) -> None:
    helm = {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-weight": "-1",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "migrator", "annotations": helm},
    }
    await rig.deploy("web", account, job("before", "PreSync"), config_map("web"))
    first = await started(rig, "before")
    path = rig.path("serviceaccounts", "migrator")
    made = await rig.live(path)
    assert made is not None
    assert not made["metadata"].get("deletionTimestamp")
    await end(rig, "before")
    await rig.when("web", sync=SyncState.SYNCED)
    assert await rig.live(path) is None
    assert await rig.live(rig.path("jobs", "before", group="batch/v1")) is not None
    await rig.deploy("web", account, job("before", "PreSync"), config_map("web", a="2"))
    await started(rig, "before", other_than=first["metadata"]["uid"])
    assert await rig.live(path) is not None
    await end(rig, "before", well=False)
    await rig.when("web", sync=SyncState.FAILED)
    assert await rig.live(path) is None


async def test_a_hook_that_fails_stops_the_release_and_runs_what_is_for_that(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.deploy("web", job("before", "PreSync"), config_map("web", a="2"), job("sorry", "SyncFail"))
    await started(rig, "before")
    await end(rig, "before", well=False)
    await rig.when("web", sync=SyncState.FAILED, check=lambda said: "HookFailed" in said.message)
    await started(rig, "sorry")
    live = await rig.live(rig.path("configmaps", "web"))
    assert live is not None
    assert live["data"] == {"a": "1"}
    await rig.deploy("web", config_map("web", a="3"))
    await rig.when("web", sync=SyncState.SYNCED)


async def test_pre_delete_goes_before_the_app_and_what_hooks_left_goes_with_it(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web"), job("bye", "PreDelete"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.drop("web")
    await started(rig, "bye")
    await asyncio.sleep(0)
    assert await rig.live(rig.path("configmaps", "web")) is not None
    await end(rig, "bye")
    await rig.live_when(rig.path("configmaps", "web"), lambda obj: obj is None)
    await rig.live_when(rig.path("jobs", "bye", group="batch/v1"), lambda obj: obj is None)
    await rig.when("web", check=lambda said: said.deleted)


async def test_a46_a_hook_waits_for_an_earlier_run_that_hangs_and_says_so(rig: AgentRig) -> None:
    held = job("before", "PreSync")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await rig.deploy("web", held, config_map("web"))
    first = await started(rig, "before")
    path = rig.path("jobs", "before", group="batch/v1")
    await rig.deploy("web", held, config_map("web", a="2"))
    said = await rig.when("web", check=lambda said: "example.com/hold" in said.message)
    assert said.sync is SyncState.SYNCING
    assert await rig.live(rig.path("configmaps", "web")) is None
    await rig.client.json_patch(path, [{"op": "remove", "path": "/metadata/finalizers"}])
    await started(rig, "before", other_than=first["metadata"]["uid"])


async def test_a46_an_object_of_someone_else_is_never_deleted_for_a_hook(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web"))
    await rig.when("web", sync=SyncState.SYNCED)
    theirs = job("before", "PreSync")
    await rig.client.create(f"/apis/batch/v1/namespaces/{rig.namespace}/jobs", theirs)
    await rig.deploy("web", job("before", "PreSync"), config_map("web", a="2"))
    await rig.when("web", sync=SyncState.FAILED, check=lambda said: "HookConflict" in said.message)
    assert await rig.live(rig.path("jobs", "before", group="batch/v1")) is not None


def waved(name: str, wave: str, **data: str) -> dict[str, Any]:
    obj = config_map(name, **data)
    obj["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": wave}
    return obj


async def test_a_wave_begins_when_the_one_before_is_healthy(rig: AgentRig) -> None:
    first = job("first", "Sync", **{"axletree.dev/wave": "-1"})
    second = config_map("second")
    await rig.deploy("web", second, first, waved("third", "5"))
    await rig.when("web", sync=SyncState.SYNCING, health=HealthState.MISSING)
    await started(rig, "first")  # a round that is slow tells of itself before it wrote anything
    assert await rig.live(rig.path("configmaps", "second")) is None
    await end(rig, "first")
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    assert await rig.live(rig.path("configmaps", "third")) is not None


async def test_nothing_is_pruned_before_the_last_wave(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("old"), config_map("kept"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.deploy("web", job("first", "Sync", **{"axletree.dev/wave": "-1"}), config_map("kept", a="2"))
    await rig.when("web", sync=SyncState.SYNCING)
    await started(rig, "first")
    assert await rig.live(rig.path("configmaps", "old")) is not None
    await end(rig, "first")
    await rig.when("web", sync=SyncState.SYNCED)
    assert await rig.live(rig.path("configmaps", "old")) is None


async def test_a43_a_hook_whose_account_is_missing_makes_no_namespace_either(rig: AgentRig) -> None:
    objects = (job("before", "PreSync"), config_map("web"))
    await rig.deploy("web", *objects, service_account=f"nobody-{rig.cluster}")
    said = await rig.when("web", sync=SyncState.FAILED, check=lambda said: "create it there" in said.message)
    assert said.message.startswith("ServiceAccountMissing: ServiceAccount axletree-agent/nobody-")
    assert await rig.live(f"/api/v1/namespaces/{rig.namespace}") is None


async def test_what_time_does_not_change_is_tried_as_often_as_the_limit_says(rig: AgentRig) -> None:
    """Then a new release, drift and the slow resync come back to it."""
    broken = config_map("web", **{"no key!": "1"})
    await rig.deploy("web", broken, config_map("fine"), retry_limit=0)
    await rig.when("web", sync=SyncState.FAILED, check=lambda said: "(tried once)" in said.message)
    digest = await rig.deploy("web", config_map("web", a="1"), config_map("fine"))
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
