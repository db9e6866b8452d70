"""An artifact of a registry on a real hub: nothing of it is used until its signature is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hub.api.registry import APPLICATION_SET, PROJECT
from tests.integration.hub_rig import fleet, free_port
from tests.unit.hub.sources.chart_server import ChartServer, plain_archive
from tests.unit.hub.sources.test_artifacts import FLUX, cosign, public

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def push(registry: ChartServer, value: str) -> str:
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"value": value}}
    archive = plain_archive({"deploy/one.yaml": json.dumps(content).encode()})
    return registry.push("team/apps", value, [(FLUX, archive, {})])


async def test_s6_an_unsigned_artifact_reaches_no_cluster_and_a_signed_one_does(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    registry, key = ChartServer(), ec.generate_private_key(ec.SECP256R1())
    await registry.start()
    try:
        async with fleet(own_server, namespace, tmp_path) as shop:
            destination = {"clusters": [shop.cluster], "namespaces": [f"{namespace}-*"]}
            project = {
                "sourceRepos": ["oci://**"],
                "destinations": [destination],
                "serviceAccount": "deployer",
            }
            verify = [{"sources": [f"{registry.oci}/team/*"], "keys": [public(key)]}]
            await shop.put(PROJECT, "project", project | {"verify": verify})
            first = push(registry, "1.0.0")
            await put(shop, registry)
            port = free_port()
            await shop.hub("hub", port)
            await shop.join(port)
            await shop.until("the set says that it is not signed", lambda: says(shop, "SignatureMissing"))
            assert await shop.apps() == {}
            cosign(registry, first, key)
            await refresh(shop, "1")
            await shop.deployed("one", "1.0.0")
            push(registry, "1.1.0")
            await refresh(shop, "2")
            await shop.until("the set says it again", lambda: says(shop, "SignatureMissing"))
            await shop.deployed("one", "1.0.0")
    finally:
        await registry.stop()


async def put(shop: Fleet, registry: ChartServer) -> None:
    source = {"repoURL": f"{registry.oci}/team/apps", "revision": "^1.0", "path": "deploy"}
    template = {"metadata": {"name": "{{ name }}"}, "spec": shop.spec("one") | {"sources": [source]}}
    generators = [{"list": {"elements": [{"name": "one"}]}}]
    await shop.put(APPLICATION_SET, "shop", {"generators": generators, "template": template})


async def says(shop: Fleet, reason: str) -> bool:
    conditions = ((await shop.set()).get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Stalled" and each["reason"] == reason for each in conditions)


async def refresh(shop: Fleet, value: str) -> None:
    moment = {"metadata": {"annotations": {"axletree.dev/refresh": value}}}
    await shop.client.merge_patch(APPLICATION_SET.path(shop.namespace, "shop"), moment)
