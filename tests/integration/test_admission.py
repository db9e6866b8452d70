"""Cycles and fields that there are not are refused when they are written; where nobody answers they are let in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from hub.api.registry import APPLICATION, APPLICATION_SET, CLUSTER
from hub.operator.admission import PATH
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hub.api.registry import Kind
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SLOWEST = 60.0
"""Seconds: far under what the templates would take, far over what admission lets them on a busy machine."""


async def test_a_cycle_is_refused_with_its_path_and_a_set_with_the_one_that_it_would_close(
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
        await _sets(made)

        await hub.kill()  # a dead hub is in nobody's way
        await _put(made, "c", "a")
        await _set(made, needs=["front"])
        await made.client.delete(PATH)


async def test_h_a_health_rule_or_condition_that_does_not_read_is_refused_when_it_is_written(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as made:
        with pytest.raises(ApiError, match=r"dependsOn\[0\].ready"):  # the schema's, with no hub there
            await made.put(APPLICATION, "a", made.spec("a", dependsOn=[{"name": "b", "ready": "healthy"}]))
        await made.hub("first", free_port())
        await made.led_by("first")
        bad = [{"kind": "Database", "group": "example.com", "current": "status.phase =="}]
        good = [{"kind": "Database", "group": "example.com", "current": "status.phase == 'Running'"}]
        await _refused(made, APPLICATION, "a", made.spec("a", healthRules=bad), "RuleInvalid: healthRules[0]")
        await made.put(APPLICATION, "a", made.spec("a", healthRules=good))
        template = {"metadata": {"name": "b"}, "spec": made.spec("b", healthRules=bad)}
        parent = {"generators": [{"list": {"elements": [{}]}}], "template": template}
        await _refused(made, APPLICATION_SET, "b", parent, "RuleInvalid")
        template["spec"]["healthRules"] = [{**good[0], "current": "status.phase == '{{ path }}'"}]
        await made.put(APPLICATION_SET, "b", parent)
        await _conditions(made)
        await made.client.delete(PATH)


async def _refused(made: Fleet, kind: Kind, name: str, spec: dict[str, Any], why: str) -> None:
    """It is let in while the API server has not heard of the webhook, or the hub has no time for a look."""

    async def refused() -> bool:
        try:
            await made.put(kind, name, spec)
        except ApiError as error:
            assert why in str(error)  # noqa: PT017 - the point of the test
            return True
        return False

    await made.until(f"{name} is refused: {why}", refused)


async def _conditions(made: Fleet) -> None:
    """An edge whose condition does not read is refused."""
    bad = [{"name": "b", "ready": "dep.health =="}]
    await _refused(
        made, APPLICATION, "a", made.spec("a", dependsOn=bad), "ConditionInvalid: dependsOn[0].ready"
    )
    good = [{"name": "b", "ready": "dep.health == 'Healthy' && dep.outputs.size >= 2", "soak": "1m"}]
    await made.put(APPLICATION, "a", made.spec("a", dependsOn=good))


async def _sets(made: Fleet) -> None:
    """A set is refused with the cycle that it would close, or the field that there is not."""
    where = f"@{made.cluster}"
    cluster = CLUSTER.manifest(made.cluster) | {"spec": {"accepted": True}}
    await made.client.apply(CLUSTER.path("", made.cluster), cluster, field_manager="tests", force=True)
    await _put(made, "front", "back")

    async def refused(said: str, **spec: Any) -> None:
        """Until the hub has seen what is before, and has the time for a look, the set may be let in."""

        async def holds() -> bool:
            try:
                await _set(made, **spec)
            except ApiError as error:
                assert said in str(error).replace('\\"', '"')  # noqa: PT017 - the point of the test
                return True
            await made.client.delete(APPLICATION_SET.path(made.namespace, "backs"))
            return False

        await made.until(f"it is refused: {said}", holds)

    await refused(f"DependencyCycle: back{where} -> front{where} -> back{where}", needs=["front"])
    await refused(f"DependencyCycle: back{where} -> back{where}", needs=["back"])
    await refused('dependOn: unknown field; did you mean "dependsOn"?', dependOn=[])
    loops = (
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}" + "{% endfor %}" * 3
    )
    started = asyncio.get_running_loop().time()
    await _set(made, name="slow", templatePatch=loops)
    assert asyncio.get_running_loop().time() - started < SLOWEST, "what takes long is let in, and told later"
    await _set(made, needs=["nobody"])


async def _set(
    made: Fleet, name: str = "backs", needs: Sequence[str] = (), generators: Any = None, **more: Any
) -> dict[str, Any]:
    """One child, `back`, which needs these."""
    top = {key: more.pop(key) for key in ("templatePatch",) if key in more}
    spec = made.spec("back", dependsOn=[{"name": each} for each in needs]) | more
    one = {"list": {"elements": [{"n": "back"}]}}
    template = {"metadata": {"name": "{{ n }}"}, "spec": spec}
    return await made.put(
        APPLICATION_SET, name, {"generators": generators or [one], "template": template, **top}
    )


async def _put(made: Fleet, name: str, needs: str) -> dict[str, Any]:
    return await made.put(APPLICATION, name, made.spec(name, dependsOn=[{"name": needs}]))
