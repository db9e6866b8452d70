"""Health rules that come with a bundle, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.contract.health import HealthState, SyncState
from agent.contract.healthrule import HealthRule
from tests.integration.agent_rig import AgentRig, agent_on, config_map, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(api_server) as rig:
        yield rig


async def test_h_a_bundles_own_rules_judge_its_objects_and_new_ones_judge_anew(rig: AgentRig) -> None:
    rule = HealthRule(kind="ConfigMap", failed="data.phase == 'broken'", current="data.phase == 'fine'")
    await rig.deploy("web", config_map("web", phase="broken"), health_rules=[rule])
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.DEGRADED)
    await rig.deploy("web", config_map("web", phase="fine"), health_rules=[rule])
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY)
    lua = HealthRule(kind="ConfigMap", lua='return {status = "Suspended", message = obj.data.phase}')
    digest = await rig.deploy("web", config_map("web", phase="fine"), health_rules=[lua])
    said = await rig.when("web", digest=digest, health=HealthState.SUSPENDED)
    assert said.health_message.endswith("fine")


async def test_h_rules_that_do_not_read_make_an_app_unknown_and_not_healthy(rig: AgentRig) -> None:
    rule = HealthRule(kind="ConfigMap", current="1 ==")
    digest = await rig.deploy("web", config_map("web"), health_rules=[rule])
    said = await rig.when("web", sync=SyncState.SYNCED, health=HealthState.UNKNOWN, digest=digest)
    assert said.health_message.startswith("RuleInvalid: ")
    assert rig.agent is not None
    assert rig.agent.engine is not None
    app = rig.agent.engine.apps["shop/web"]
    assert not app.healthy_at_target()
    await rig.deploy("web", config_map("web"))
    await until(app.healthy_at_target, "healthy without the rule")
