"""An artifact of a real registry on a real hub: nothing of it is used until its signature is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.errors import ApiError
from hub.api.registry import APPLICATION_SET, PROJECT
from tests.integration.hub_rig import fleet, free_port
from tests.integration.registry_rig import RealRegistry
from tests.unit.hub.sources.chart_server import FLUX, plain_archive
from tests.unit.hub.sources.cosigned import BUNDLE_TYPE, public, simple_layer, simple_tag
from tests.unit.hub.sources.sigstore_instance import ISSUER, SigstoreInstance

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]


async def push(registry: RealRegistry, value: str) -> str:
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"value": value}}
    archive = plain_archive({"deploy/one.yaml": json.dumps(content).encode()})
    return await registry.push("team/apps", value, [(FLUX, archive, {})])


async def test_s6_an_unsigned_artifact_reaches_no_cluster_and_a_signed_one_does(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    sigstore = SigstoreInstance()
    registry, key = RealRegistry(tmp_path / "registry"), ec.generate_private_key(ec.SECP256R1())
    try:
        await registry.start()
        async with fleet(own_server, namespace, tmp_path) as shop:
            destination = {"clusters": [shop.cluster], "namespaces": [f"{namespace}-*"]}
            project = {
                "sourceRepos": ["oci://**"],
                "destinations": [destination],
                "serviceAccount": "deployer",
            }
            sources = [f"{registry.oci}/team/*"]
            people = {
                "identities": [{"issuer": ISSUER, "subject": "*@example.com"}],
                "trustedRoot": sigstore.root(),
            }
            with pytest.raises(ApiError, match="at least one of keys and identities"):
                await shop.put(PROJECT, "project", project | {"verify": [{"sources": sources}]})
            verify = [{"sources": sources, "keys": [public(key)]}, {"sources": sources, **people}]
            await shop.put(PROJECT, "project", project | {"verify": verify})
            first = await push(registry, "1.0.0")
            await put(shop, registry)
            port = free_port()
            await shop.hub("hub", port)
            await shop.join(port)
            await shop.until("the set says that it is not signed", lambda: says(shop, "SignatureMissing"))
            assert await shop.apps() == {}
            await registry.push("team/apps", simple_tag(first), [simple_layer(first, key)])
            await registry.refer(
                "team/apps", first, BUNDLE_TYPE, sigstore.bundle(first, "release@example.com")
            )
            await refresh(shop, "1")
            await shop.deployed("one", "1.0.0")
            await shop.until("the set says so no more", lambda: _not_any_more(shop, "SignatureMissing"))
            await push(registry, "1.1.0")
            await refresh(shop, "2")
            await shop.until("the set says it again", lambda: says(shop, "SignatureMissing"))
            await shop.deployed("one", "1.0.0")
    finally:
        await registry.stop()


async def put(shop: Fleet, registry: RealRegistry) -> None:
    source = {"repoURL": f"{registry.oci}/team/apps", "revision": "^1.0", "path": "deploy"}
    template = {"metadata": {"name": "{{ name }}"}, "spec": shop.spec("one") | {"sources": [source]}}
    generators = [{"list": {"elements": [{"name": "one"}]}}]
    await shop.put(APPLICATION_SET, "shop", {"generators": generators, "template": template})


async def says(shop: Fleet, reason: str) -> bool:
    conditions = ((await shop.set()).get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Stalled" and each["reason"] == reason for each in conditions)


async def _not_any_more(shop: Fleet, reason: str) -> bool:
    return not await says(shop, reason)


async def refresh(shop: Fleet, value: str) -> None:
    moment = {"metadata": {"annotations": {"axletree.dev/refresh": value}}}
    await shop.client.merge_patch(APPLICATION_SET.path(shop.namespace, "shop"), moment)
