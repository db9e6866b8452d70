"""Workloads on a cluster that runs them: availability, broken rollouts, completed Jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.contract.health import HealthState, SyncState
from tests.integration.agent_rig import AgentRig, agent_on, deployment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(workload_cluster: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(workload_cluster) as rig:
        yield rig


async def test_a_deployment_becomes_healthy_and_its_dependent_follows(rig: AgentRig) -> None:
    await rig.deploy("db", deployment("db"), assign=False)
    await rig.deploy("web", deployment("web"), after=("db",))
    await rig.when("db", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY)


async def test_a_broken_rollout_says_why_and_recovers(rig: AgentRig) -> None:
    await rig.deploy("web", deployment("web"))
    await rig.when("web", health=HealthState.HEALTHY)
    await rig.deploy("web", deployment("web", image="nginx:broken"))
    await rig.when("web", health=HealthState.DEGRADED, check=lambda said: "Image" in said.health_message)
    await rig.deploy("web", deployment("web", image="nginx:2"))
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY)


async def test_pods_that_cannot_be_made_are_the_reason_that_is_told(rig: AgentRig) -> None:
    """A StatefulSet and a hook's Job say nothing of it themselves."""
    pod = {"serviceAccountName": "ghost", "containers": [{"name": "main", "image": "nginx:1"}]}
    labels = {"app": "db"}
    database = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    migrate = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {"axletree.dev/hook": "PreSync"}},
        "spec": {"template": {"spec": {**pod, "restartPolicy": "Never"}}},
    }
    await rig.deploy("db", database)
    await rig.deploy("web", migrate)
    missing = 'serviceaccount "ghost" not found'
    await rig.when("db", check=lambda said: missing in said.health_message)
    await rig.when("web", sync=SyncState.SYNCING, check=lambda said: missing in said.message)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ghost"}}
    await rig.client.create(f"/api/v1/namespaces/{rig.namespace}/serviceaccounts", account)
    await rig.when("db", sync=SyncState.SYNCED, health=HealthState.HEALTHY)


async def test_a26_a_completed_job_is_healthy_and_runs_once(rig: AgentRig) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {
            "ttlSecondsAfterFinished": 1,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "migrate"}]}
            },
        },
    }
    await rig.deploy("db", job)
    await rig.when("db", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    path = rig.path("jobs", "migrate", group="batch/v1")
    await rig.live_when(path, lambda obj: obj is None)  # its TTL took it
    await rig.stop()
    await rig.start()
    await rig.when("db", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    assert await rig.live(path) is None
