"""What people get wrong on sets and Applications: refused by the API server, or said by the hub on the object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from agent.kube.yaml import load_value
from hub.api.registry import KINDS
from hub.operator import paths
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster

_CASES = load_value(Path(__file__).with_name("data").joinpath("hub_cases.yaml").read_text())
_REFUSED = [case for case in _CASES if "refused" in case]
_SAID = [case for case in _CASES if "refused" not in case]


def _path(shop: Fleet, number: int, case: dict[str, Any]) -> tuple[str, str]:
    namespace = f"{shop.namespace}-bare" if case.get("in") == "bare" else shop.namespace
    name = case.get("name", f"case-{number}")
    return KINDS[case["kind"]].path(namespace, name), name


async def _put(shop: Fleet, number: int, case: dict[str, Any]) -> None:
    path, name = _path(shop, number, case)
    text = json.dumps(case["spec"])
    for word, value in (("REPO", shop.repo), ("CLUSTER", shop.cluster), ("NAMESPACE", shop.namespace)):
        text = text.replace(f"${word}", value)
    manifest = KINDS[case["kind"]].manifest(name, namespace=path.split("/")[-3])
    await shop.client.apply(path, manifest | {"spec": json.loads(text)}, field_manager="tests")


def _said(obj: dict[str, Any], case: dict[str, Any]) -> str:
    """What is missing of the words that the case wants; empty when they are there."""
    conditions = {each["type"]: each for each in (obj.get("status") or {}).get("conditions") or ()}
    stalled = conditions.get("Stalled", {})
    told = f"{stalled.get('status')} {stalled.get('reason')}: {stalled.get('message')}"
    found = stalled.get("status") == "True" and conditions["Ready"]["status"] == "False"
    found = found and case.get("reason", stalled["reason"]) == stalled["reason"]
    return "" if found and case["says"] in stalled["message"] else told


async def test_what_is_wrong_is_said_where_it_was_written(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as shop:
        port = free_port()
        await shop.hub("hub", port)
        await shop.author.commit({"apps/broken/it.yaml": "a: [", "apps/nameless/it.yaml": "kind: ConfigMap"})
        await shop.shop()
        await shop.join(port)
        before = await shop.settled()
        bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-bare"}}
        await shop.client.apply(f"{paths.NAMESPACES}/{namespace}-bare", bare, field_manager="tests")

        for number, case in enumerate(_REFUSED):
            with pytest.raises(ApiError) as caught:
                await _put(shop, number, case)
            assert caught.value.status in (400, 422, 500), case["case"]
            assert case["refused"] in str(caught.value), case["case"]

        for number, case in enumerate(_SAID):
            await _put(shop, number, case)
        missing: dict[str, str] = {}

        async def all_said() -> bool:
            missing.clear()
            for number, case in enumerate(_SAID):
                told = _said(await shop.client.get(_path(shop, number, case)[0]), case)
                if told:
                    missing[case["case"]] = told
            return not missing

        try:
            await shop.until("everything that is wrong is said", all_said)
        except AssertionError as error:
            raise AssertionError(f"{json.dumps(missing, indent=1)}\n{error}") from error

        after = await shop.versions()
        assert {name: after.get(name) for name in before if name.startswith("ConfigMap ")} == {
            name: state for name, state in before.items() if name.startswith("ConfigMap ")
        }, "what is wrong in one place holds up nothing elsewhere"
        children = set(await shop.apps()) - {_path(shop, n, case)[1] for n, case in enumerate(_SAID)}
        assert children == {"db", "api", "web", "extra"}, "a set that is wrong makes no children"
        wrong = {name for name, app in (await shop.apps()).items() if name not in children and _released(app)}
        assert not wrong


def _released(app: dict[str, Any]) -> bool:
    return bool(((app.get("status") or {}).get("sync") or {}).get("release"))
