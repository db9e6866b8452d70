"""The generated CRDs on a real API server: installed, defaulting, refusing bad input by the field's name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.yaml import load_all, load_value
from hub.api.registry import APPLICATION, APPLICATION_SET, KINDS, Kind
from hub.api.schema import crds

if TYPE_CHECKING:
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_CASES = load_value(Path(__file__).with_name("data").joinpath("crd_cases.yaml").read_text())
_SOURCES = [{"repoURL": "https://h/x"}]


def _client(server: ControlPlane) -> RestClient:
    return RestClient(load_kubeconfig(server.kubeconfig_path), user_agent="axletree-tests")


async def _established(client: RestClient, name: str) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await client.get(f"{_CRDS}/{name}")
            conditions = {c["type"]: c for c in (found.get("status") or {}).get("conditions") or ()}
            assert "NonStructuralSchema" not in conditions, conditions["NonStructuralSchema"]["message"]
            if conditions.get("Established", {}).get("status") == "True":
                return
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def server(api_server: ControlPlane) -> ControlPlane:
    async def install() -> None:
        async with _client(api_server) as client:
            for manifest in crds():
                path = f"{_CRDS}/{manifest['metadata']['name']}"
                await client.apply(path, manifest, field_manager="tests")
            for manifest in crds():
                await _established(client, manifest["metadata"]["name"])

    asyncio.run(install())
    return api_server


def _object(kind: Kind, name: str, spec: Any) -> dict[str, Any]:
    manifest = kind.manifest(name, namespace="default")
    return manifest if spec is None else {**manifest, "spec": spec}


async def _dry_run(client: RestClient, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    path = kind.path("default", obj["metadata"]["name"])
    return await client.apply(path, obj, field_manager="tests", dry_run=True)


@pytest.mark.parametrize("case", _CASES, ids=[case["case"].replace(" ", "-") for case in _CASES])
async def test_the_api_server_decides(server: ControlPlane, case: dict[str, Any]) -> None:
    obj = _object(KINDS[case["kind"]], case["name"], case.get("spec"))
    async with _client(server) as client:
        if "error" not in case:
            await _dry_run(client, KINDS[case["kind"]], obj)
            return
        with pytest.raises(ApiError) as caught:
            await _dry_run(client, KINDS[case["kind"]], obj)
    assert caught.value.status in (400, 422, 500)  # an unknown field fails server-side apply's own typing
    assert case["error"] in str(caught.value)


async def test_what_the_api_server_accepts_our_models_read(server: ControlPlane) -> None:
    async with _client(server) as client:
        for case in _CASES:
            if "error" not in case:
                kind = KINDS[case["kind"]]
                stored = await _dry_run(client, kind, _object(kind, case["name"], case["spec"]))
                again = kind.model.model_validate(stored).to_json()["spec"]
                kept = await _dry_run(client, kind, _object(kind, case["name"], again))
                assert kind.model.model_validate(kept) == kind.model.model_validate(stored)


async def test_an_applications_cluster_is_immutable(server: ControlPlane) -> None:
    async with _client(server) as client:
        path = APPLICATION.path("default", "moved")
        obj = _object(APPLICATION, "moved", {"cluster": "eu1", "sources": _SOURCES})
        made = await client.apply(path, obj, field_manager="tests")
        assert made["spec"]["namespace"] == "default"
        assert made["spec"]["sources"] == [{"repoURL": "https://h/x", "revision": "HEAD", "path": "."}]
        with pytest.raises(ApiError, match=r"spec\.cluster.*immutable"):
            await client.apply(
                path, {**obj, "spec": {**obj["spec"], "cluster": "eu2"}}, field_manager="tests"
            )
        await client.delete(path)


async def test_two_writers_share_a_status(server: ControlPlane) -> None:
    async with _client(server) as client:
        path = APPLICATION.path("default", "status")
        obj = _object(APPLICATION, "status", {"cluster": "eu1", "sources": _SOURCES})
        await client.apply(path, obj, field_manager="tests")
        base = APPLICATION.manifest("status", namespace="default")
        seen = {"epoch": 1, "seq": 2, "objects": [{"ref": "x", "state": "Healthy"}]}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Healthy",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        await client.apply(
            path, {**base, "status": {"observed": seen}}, field_manager="gateway", subresource="status"
        )
        kept = await client.apply(
            path,
            {**base, "status": {"health": {"state": "Healthy"}, "conditions": [ready]}},
            field_manager="controller",
            subresource="status",
        )
        assert kept["status"] == {"observed": seen, "health": {"state": "Healthy"}, "conditions": [ready]}
        await client.delete(path)


async def test_kubectl_prints_columns(
    server: ControlPlane, controlplane_binary: Path, tmp_path: Path
) -> None:
    async with _client(server) as client:
        path = APPLICATION_SET.path("default", "printed")
        spec = {"generators": [{"list": {}}], "template": {"metadata": {"name": "x"}, "spec": {}}}
        await client.apply(path, _object(APPLICATION_SET, "printed", spec), field_manager="tests")
        status = {"health": {"state": "Healthy"}, "children": 3, "plan": {"id": 42}}
        base = APPLICATION_SET.manifest("printed", namespace="default")
        await client.apply(path, {**base, "status": status}, field_manager="tests", subresource="status")
        process = await asyncio.create_subprocess_exec(
            *(str(controlplane_binary), "kubectl", "--kubeconfig", str(server.kubeconfig_path)),
            *("--cache-dir", str(tmp_path), "get", "axset,axapp,axcl", "-A"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        await client.delete(path)
    rows = [line.split() for line in out.decode().splitlines()]
    assert rows[0] == ["NAMESPACE", "NAME", "HEALTH", "CHILDREN", "PLAN", "READY", "AGE"]
    assert ["default", "applicationset.axletree.dev/printed", "Healthy", "3", "42"] in [
        row[:5] for row in rows
    ]


async def test_a_second_install_changes_nothing(server: ControlPlane) -> None:
    folder = Path(__file__).parents[2] / "crds"
    async with _client(server) as client:
        for file in sorted(folder.glob("*.yaml")):
            (manifest,) = load_all(file.read_text(), source=file.name)
            path = f"{_CRDS}/{manifest['metadata']['name']}"
            before = await client.get(path)
            after = await client.apply(path, manifest, field_manager="tests")
            assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
