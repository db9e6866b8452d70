"""Edges between Applications and sets: cycles are refused with their path, chains wait and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import GREEN_SECONDS
from e2e.words import APPS, CONFIG_MAPS, SETS, condition, one, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.rig import Rig

import asyncio
import contextlib
import shutil

from agent.contract.errors import ApiError
from hub.fleet.build import cache_root
from hub.operator.admission import PATH as ADMISSION

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]


@contextlib.asynccontextmanager
async def _written(rig: Rig, *, closing: str = "", **needs: str) -> AsyncIterator[None]:
    """Applications in the namespace `shop` on eu1, each with the one that it depends on; deleted at the end.

    `closing` is `name/dependency` of the one that closes a cycle.
    """
    for name, first in needs.items():
        await _apply(rig, name, first)
    if closing:
        name, _, first = closing.partition("/")
        needs[name] = first
        await _let_in(rig, name, first)
    try:
        yield
    finally:
        for name in needs:
            with contextlib.suppress(ApiError):
                await rig.hub.client.delete(one(APPS, f"shop/{name}"))

        def gone() -> None:
            assert not {f"shop/{name}" for name in needs} & rig.hub.all(APPS).keys()

        await rig.hub.eventually(gone)


async def _apply(rig: Rig, name: str, first: str) -> None:
    spec: dict[str, Any] = {
        "cluster": "eu1",
        "namespace": f"shop-{name}",
        "sources": [{"repoURL": rig.fleet.repo_url, "revision": "main", "path": "dev/playground"}],
        "sync": {"createNamespace": True},
    }
    if first:
        spec["dependsOn"] = [{"name": first, "clusters": {"scope": "Same"}}]
    manifest = {
        "apiVersion": "axletree.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    }
    await rig.hub.client.apply(one(APPS, f"shop/{name}"), manifest, field_manager="tests", force=True)


@contextlib.asynccontextmanager
async def _unasked(rig: Rig) -> AsyncIterator[None]:
    """The API server asks nobody, as where it cannot reach the hub: what comes in then has to be told afterwards."""
    config = await rig.hub.client.get(ADMISSION)
    await rig.hub.client.delete(ADMISSION)
    try:
        yield
    finally:
        webhooks = {key: config[key] for key in ("apiVersion", "kind", "webhooks")}
        manifest = {**webhooks, "metadata": {"name": config["metadata"]["name"]}}
        await rig.hub.client.apply(ADMISSION, manifest, field_manager="tests", force=True)


async def _let_in(rig: Rig, name: str, first: str) -> None:
    """Write it as soon as the API server has seen that it is to ask nobody."""
    async with asyncio.timeout(GREEN_SECONDS):
        while True:
            try:
                return await _apply(rig, name, first)
            except ApiError as error:
                if "DependencyCycle" not in str(error):
                    raise
            await asyncio.sleep(0.1)


async def _kept_out(rig: Rig, name: str, first: str) -> str:
    """Why it is refused, as soon as the API server has seen that it is to ask."""
    async with asyncio.timeout(GREEN_SECONDS):
        while True:
            try:
                await _apply(rig, name, first)
            except ApiError as error:
                return str(error)
            await _apply(rig, name, "")


async def test_a_cycle_is_stalled_with_its_whole_path_and_goes_when_it_is_broken(rig: Rig) -> None:
    async with _unasked(rig), _written(rig, one="three", two="one", four="three", closing="three/two"):

        def told() -> None:
            for name in ("one", "two", "three"):
                stalled = condition(rig.app(f"shop/{name}"), "Stalled")
                assert stalled.get("status") == "True", status(rig.app(f"shop/{name}"))
                assert stalled["reason"] == "DependencyCycle"
                for each in ("one@eu1", "two@eu1", "three@eu1"):
                    assert each in stalled["message"], stalled["message"]
                assert "->" in stalled["message"]
            four = rig.app("shop/four")
            assert status(four, "sync", "state") == "Blocked"
            assert "cycle" in status(four, "blockedBy")[0]["root"]

        await rig.hub.eventually(told)
        assert not [name for name in rig.spokes["eu1"].all(CONFIG_MAPS) if name == "shop-one/settings"]

        await _apply(rig, "one", "")

        def healed() -> None:
            for name in ("one", "two", "three", "four"):
                rig.live(f"shop/{name}")

        await rig.hub.eventually(healed)


async def test_f48_a_cycle_that_an_edit_makes_stops_nothing_that_runs(rig: Rig) -> None:
    async with _written(rig, left="", right="left"):

        def live() -> None:
            rig.live("shop/left")
            rig.live("shop/right")

        await rig.hub.eventually(live)
        said = await _kept_out(rig, "left", "right")
        assert "DependencyCycle: left@eu1 -> right@eu1 -> left@eu1" in said, said
        async with _unasked(rig):
            await _let_in(rig, "left", "right")

        def told() -> None:
            assert condition(rig.app("shop/left"), "Stalled").get("reason") == "DependencyCycle"
            assert condition(rig.app("shop/right"), "Stalled").get("reason") == "DependencyCycle"

        await rig.hub.eventually(told)
        await rig.spokes["eu1"].level()
        for name in ("left", "right"):
            assert rig.spokes["eu1"].get(CONFIG_MAPS, f"shop-{name}/settings") is not None


async def test_a_cycle_that_a_set_would_bring_is_refused_by_kubectl_with_its_path(rig: Rig) -> None:
    kubectl = _kubectl()
    if not kubectl:
        pytest.skip("no kubectl is on PATH, and none was built with the control planes")
    async with _written(rig, alpha="beta"):
        manifest = _SET.format(repo=rig.fleet.repo_url)

        async def refused() -> str:
            """Until the hub has seen the Application: what it does not know yet, it lets in."""
            async with asyncio.timeout(GREEN_SECONDS):
                while (found := await _apply_by(kubectl, rig, manifest))[0] == 0:
                    await rig.hub.client.delete(one(SETS, "shop/betas"))
                return found[1]

        said = await refused()
        assert "DependencyCycle: beta@eu1 -> alpha@eu1 -> beta@eu1" in said, said
        code, said = await _apply_by(kubectl, rig, manifest.replace("dependsOn", "dependOn"))
        assert (code, 'unknown field; did you mean "dependsOn"?' in said) == (1, True), said
        assert rig.hub.get(SETS, "shop/betas") is None


_SET = """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {{name: betas, namespace: shop}}
spec:
  generators: [{{clusters: {{names: [eu1]}}}}]
  template:
    metadata: {{name: beta}}
    spec:
      cluster: "{{{{ cluster.name }}}}"
      namespace: shop-beta
      sources: [{{repoURL: {repo}, revision: main, path: dev/playground}}]
      dependsOn: [{{name: alpha, clusters: {{scope: Same}}}}]
"""


def _kubectl() -> str:
    built = sorted((cache_root() / "controlplane").glob("*/kubectl"))
    return str(built[-1]) if built else shutil.which("kubectl") or ""


async def _apply_by(kubectl: str, rig: Rig, manifest: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(kubectl, "--kubeconfig", str(rig.fleet.kubeconfig("hub")), "apply", "-f", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(manifest.encode())
    return process.returncode or 0, said.decode()


async def test_an_edge_that_matches_nothing_blocks_until_something_does(rig: Rig) -> None:
    async with _written(rig, early="late"):

        def waits() -> None:
            early = rig.app("shop/early")
            assert status(early, "sync", "state") == "Blocked", status(early, "sync")
            assert status(early, "blockedBy")[0]["edge"] == "NoMatch"

        await rig.hub.eventually(waits)
        async with _written(rig, late=""):

            def live() -> None:
                rig.live("shop/late")
                rig.live("shop/early")

            await rig.hub.eventually(live)
            await rig.hub.client.delete(one(APPS, "shop/early"))
            await rig.hub.eventually(lambda: _gone(rig, "shop/early"))


def _gone(rig: Rig, key: str) -> None:
    assert rig.hub.get(APPS, key) is None
