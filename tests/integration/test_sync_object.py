"""`axle sync --object` through a whole hub and a real agent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hub.api.registry import APPLICATION
from hub.cli.main import app as axle
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster


async def command(bed: Fleet, *arguments: str) -> Result:
    kubeconfig = ("--kubeconfig", str(bed.server.kubeconfig_path))
    return await asyncio.to_thread(CliRunner().invoke, axle, ["sync", *arguments, *kubeconfig])


def config(name: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": "1"}}
    )


async def test_a_person_has_one_object_put_back_that_the_app_only_tells_of(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as bed:
        port = free_port()
        await bed.hub("hub", port)
        await bed.led_by("hub")
        await bed.join(port)
        await bed.author.commit({f"apps/web/{name}.yaml": config(name) for name in "ab"})
        sync = {"createNamespace": True, "drift": {"mode": "Alert"}}
        await bed.put(APPLICATION, "web", bed.spec("web") | {"sync": sync})
        name = f"{bed.namespace}/web"
        paths = {each: f"/api/v1/namespaces/{bed.namespace}-apps/configmaps/{each}" for each in "ab"}

        async def synced() -> bool:
            return (await bed.app("web")).get("status", {}).get("sync", {}).get("state") == "Synced"

        async def drifted() -> bool:
            return len((await bed.app("web"))["status"]["observed"].get("drift") or ()) == len(paths)

        await bed.until("web is synced", synced)
        for path in paths.values():
            await bed.client.merge_patch(path, {"data": {"v": "2"}}, field_manager="person")
        await bed.until("both differ", drifted)
        done = await command(bed, name, "--object", "configmap/a")
        assert done.exit_code == 0, done.output
        assert f"ConfigMap {bed.namespace}-apps/a of {name} on {bed.cluster}: configured" in done.output
        assert [(await bed.client.get(path))["data"]["v"] for path in paths.values()] == ["1", "2"]
        app = await bed.app("web")
        assert "axletree.dev/sync-object" not in (app["metadata"].get("annotations") or {})
        assert app["status"]["objectSync"]["state"] == "Applied"

        async def over() -> bool:
            return "objectSyncs" not in await bed.assignment()

        await bed.until("nobody asks any more", over)
        wrong = await command(bed, name, "--object", "configmpa/a")
        assert wrong.exit_code == 1, wrong.output
        assert "near it: configmap/a" in wrong.output
        assert (await command(bed, name, "--object", "a")).exit_code == 2
        assert (await command(bed, f"appset/{name}", "--object", "configmap/a")).exit_code == 2
