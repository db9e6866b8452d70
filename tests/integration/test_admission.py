"""A cycle is refused when it is written, with its path; where nobody answers it is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from hub.api.registry import APPLICATION, APPLICATION_SET
from hub.operator.admission import PATH
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


async def test_a_cycle_is_refused_with_its_path(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as made:
        hub = await made.hub("first", free_port())
        await made.led_by("first")
        await _put(made, "a", "b")
        await _put(made, "b", "c")
        where = f"@{made.cluster}"

        async def refused() -> bool:
            """Until the hub has seen the two before, the third may be let in."""
            try:
                await _put(made, "c", "a")
            except ApiError as error:
                path = " -> ".join(f"{name}{where}" for name in ("c", "a", "b", "c"))
                assert f"DependencyCycle: {path}" in str(error)  # noqa: PT017 - the point of the test
                return True
            await made.client.delete(APPLICATION.path(made.namespace, "c"))
            return False

        await made.until("the cycle is refused", refused)
        await _put(made, "c", "d")

        await hub.kill()  # a dead hub is in nobody's way
        await _put(made, "c", "a")
        await made.client.delete(PATH)


async def test_h_a_health_rule_that_does_not_read_is_refused_when_it_is_written(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as made:
        await made.hub("first", free_port())
        await made.led_by("first")
        bad = [{"kind": "Database", "group": "example.com", "current": "status.phase =="}]
        good = [{"kind": "Database", "group": "example.com", "current": "status.phase == 'Running'"}]

        async def refused() -> bool:
            """Until the API server has heard of the webhook, it is let in."""
            try:
                await made.put(APPLICATION, "a", made.spec("a", healthRules=bad))
            except ApiError as error:
                assert "RuleInvalid: healthRules[0]" in str(error)  # noqa: PT017 - the point of the test
                return True
            return False

        await made.until("the rule is refused", refused)
        await made.put(APPLICATION, "a", made.spec("a", healthRules=good))
        template = {"metadata": {"name": "b"}, "spec": made.spec("b", healthRules=bad)}
        parent = {"generators": [{"list": {"elements": [{}]}}], "template": template}
        with pytest.raises(ApiError, match="RuleInvalid"):
            await made.put(APPLICATION_SET, "b", parent)
        template["spec"]["healthRules"] = [{**good[0], "current": "status.phase == '{{ path }}'"}]
        await made.put(APPLICATION_SET, "b", parent)
        await made.client.delete(PATH)


async def _put(made: Fleet, name: str, needs: str) -> dict[str, Any]:
    return await made.put(APPLICATION, name, made.spec(name, dependsOn=[{"name": needs}]))
