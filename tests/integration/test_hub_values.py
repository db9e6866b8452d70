"""A chart whose values stand on the hub: what the agent's cluster gets of them, and what nobody else sees."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import LABEL_VALUES
from hub.api.registry import APPLICATION, CLUSTER
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster
FIRST, SECOND = "correct-horse-battery", "another-horse-battery"
CHART = {
    "apps/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "apps/web/templates/all.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\n"
        "stringData: {password: {{ .Values.password | quote }}, size: {{ .Values.size | quote }}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata:\n"
        "  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}\n"
        '  ours: {{ .Capabilities.APIVersions.Has "axletree.dev/v1alpha1/Application" | quote }}\n'
        '  others: {{ .Capabilities.APIVersions.Has "example.com/v1/Other" | quote }}\n'
    ),
}


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def _values(shop: Fleet, kind: str, name: str, **data: str) -> None:
    plural = {"Secret": "secrets", "ConfigMap": "configmaps"}[kind]
    metadata = {"name": name, "namespace": shop.namespace, "labels": {LABEL_VALUES: "true"}}
    content = {"stringData": data} if kind == "Secret" else {"data": {"values.yaml": data["values"]}}
    await shop.client.apply(
        f"/api/v1/namespaces/{shop.namespace}/{plural}/{name}",
        {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content},
        field_manager="tests",
        force=True,
    )


async def test_i5_values_of_the_hub_reach_the_spoke_and_no_store(shop: Fleet) -> None:
    port = free_port()
    hub = await shop.hub("first", port)
    await shop.author.commit(CHART)
    await _values(shop, "ConfigMap", "sizes", values="size: small\n")
    await shop.join(port)
    entries = [{"kind": "ConfigMap", "name": "sizes"}]
    entries += [{"kind": "Secret", "name": "db", "valuesKey": "password", "targetPath": "password"}]
    spec = shop.spec("web")
    spec["sources"][0]["helm"] = {"valuesFrom": entries}
    await shop.put(APPLICATION, "web", spec)

    async def told() -> bool:
        status = (await shop.app("web")).get("status") or {}
        return any("ValuesNotFound" in str(one) for one in status.get("blockedBy") or ())

    await shop.until("what is missing is told", told)
    await _values(shop, "Secret", "db", password=FIRST)
    await _arrives(shop, FIRST, "small")

    version = str((await shop.client.get("/version"))["gitVersion"]).partition("+")[0]
    capabilities = {"kubernetes": version, "ours": "true", "others": "false"}

    async def rendered() -> bool:
        found: Any = await shop._get(f"/api/v1/namespaces/{shop.namespace}-apps/configmaps/web")
        return bool((found or {}).get("data") == capabilities)

    await shop.until("it is rendered by what the spoke reported", rendered)
    served = (await shop.client.get(CLUSTER.path("", shop.cluster)))["status"]["agent"]
    assert "axletree.dev/v1alpha1/Application" in served["apiVersions"]
    assert not any(one.startswith("apps/v1/") for one in served["apiVersions"]), "the reports stay small"

    await _values(shop, "Secret", "db", password=SECOND)
    await _values(shop, "ConfigMap", "sizes", values="size: large\n")
    await _arrives(shop, SECOND, "large")
    await hub.stop()  # a folder in use has files that go while they are looked at
    await asyncio.to_thread(_nowhere, shop.folder)


async def _arrives(shop: Fleet, password: str, size: str) -> None:
    async def holds() -> bool:
        found: Any = await shop._get(f"/api/v1/namespaces/{shop.namespace}-apps/secrets/web")
        data = {name: base64.b64decode(text).decode() for name, text in (found or {}).get("data", {}).items()}
        return data == {"password": password, "size": size}

    await shop.until(f"the password is {password}", holds)


def _nowhere(folder: Path) -> None:
    """No file of the hub holds a value: not its bundles, its index, its log."""
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        for secret in (FIRST, SECOND):
            assert secret.encode() not in data, path
            assert base64.b64encode(secret.encode()) not in data, path
