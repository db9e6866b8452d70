"""What an agent watches: kinds that it applied, by its own label, and Pods only of what is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.health import HealthState, SyncState
from agent.contract.names import APPLYSET_PART_OF
from tests.integration.agent_rig import config_map, deployment, until
from tests.integration.test_agent_weather import Behind, behind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def agent(api_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind(api_server, tmp_path) as made:
        yield made


def kinds(agent: Behind) -> set[str]:
    return {path.partition("?")[0].rpartition("/")[2] for path in agent.proxy.watched}


async def tell(agent: Behind, name: str, *, ready: int) -> None:
    """Say of a Deployment what its controller would say."""
    path = agent.rig.path("deployments", name, group="apps/v1")
    live = await agent.rig.live(path)
    assert live is not None
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), ready)
    conditions = [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    status: dict[str, Any] = {"observedGeneration": live["metadata"]["generation"], "conditions": conditions}
    await agent.rig.client.merge_patch(path, {"status": {**status, **counts}}, subresource="status")


async def test_only_applied_kinds_are_watched_by_our_label_and_pods_while_a_workload_is_not_there(
    agent: Behind,
) -> None:
    await agent.rig.deploy("web", config_map("web", v="1"), deployment("web"))
    await agent.rig.when("web", sync=SyncState.SYNCED, health=HealthState.PROGRESSING)
    await until(
        lambda: kinds(agent) == {"configmaps", "deployments", "pods"},
        "watches",
        lambda: str(agent.proxy.watched),
    )
    assert all(APPLYSET_PART_OF in path for path in agent.proxy.watched if "/pods" not in path)

    await tell(agent, "web", ready=1)
    await agent.rig.when("web", health=HealthState.HEALTHY)
    await until(lambda: "pods" not in kinds(agent), "no Pods are watched", lambda: str(agent.proxy.watched))

    await agent.rig.deploy("web", config_map("web", v="1"))
    await until(lambda: kinds(agent) == {"configmaps"}, "one kind", lambda: str(agent.proxy.watched))


async def test_what_becomes_available_while_it_is_still_being_applied_is_seen(agent: Behind) -> None:
    """The kind is watched already, for another app: no list comes afterwards that would tell of it."""
    rig, proxy = agent.rig, agent.proxy
    await rig.deploy("first", deployment("first"), assign=False)
    await rig.deploy("second", deployment("second"), after=("first",))
    await rig.when("first", sync=SyncState.SYNCED, health=HealthState.PROGRESSING)
    path = rig.path("deployments", "second", group="apps/v1")

    async def answer_late(request: web.Request) -> web.StreamResponse | None:
        if request.path != path or request.method != "PATCH" or request.query.get("dryRun"):
            return None
        proxy.fault = None
        said = await proxy.answer(request)
        await tell(agent, "second", ready=1)
        await tell(agent, "first", ready=0)
        await rig.when("first", health=HealthState.PROGRESSING)  # by then, the watch has told of both
        return said

    proxy.fault = answer_late
    await tell(agent, "first", ready=1)
    await rig.when("second", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
