"""A project that wants signed commits, on a real hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.api.registry import APPLICATION_SET, PROJECT
from tests.integration.hub_rig import fleet, free_port
from tests.integration.signers import sign_nothing, ssh_signer

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster


async def test_s6_an_unsigned_commit_never_reaches_a_child_and_the_last_good_plan_stays(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    signer = ssh_signer(tmp_path, "release")
    async with fleet(own_server, namespace, tmp_path) as shop:
        destination = {"clusters": [shop.cluster], "namespaces": [f"{namespace}-*"]}
        project = {"sourceRepos": ["http://**"], "destinations": [destination], "serviceAccount": "deployer"}
        verify = [{"sources": ["**"], "keys": [signer.public]}]
        await shop.put(PROJECT, "project", project | {"verify": verify})
        await signer.take(shop.author)
        await shop.commit(one="1")
        template = {"metadata": {"name": "{{ name }}"}, "spec": shop.spec("{{ name }}")}
        generators = [{"list": {"elements": [{"name": "one"}]}}]
        await shop.put(APPLICATION_SET, "shop", {"generators": generators, "template": template})
        port = free_port()
        await shop.hub("hub", port)
        await shop.join(port)
        await shop.deployed("one", "1")
        await shop.until("the set is Ready", lambda: _ready(shop))
        plan = (await shop.set())["status"]["plan"]

        await sign_nothing(shop.author)
        with pytest.raises(AssertionError):
            await _refreshed_to(shop, "2", stop="SignatureMissing")
        assert (await shop.set())["status"]["plan"] == plan
        app = await shop.app("one")
        assert app["status"]["sync"]["target"] == app["status"]["sync"]["released"]
        await shop.deployed("one", "1")

        await signer.take(shop.author)
        await _refreshed_to(shop, "3")
        await shop.deployed("one", "3")


async def _ready(shop: Fleet) -> bool:
    conditions = ((await shop.set()).get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _refreshed_to(shop: Fleet, value: str, *, stop: str = "") -> None:
    """Commit and tell the hub; AssertionError once the set says `stop`."""
    await shop.commit(one=value)
    moment = {"metadata": {"annotations": {"axletree.dev/refresh": value}}}
    await shop.client.merge_patch(APPLICATION_SET.path(shop.namespace, "shop"), moment)
    if stop:

        async def said() -> bool:
            found = await shop.set()
            return any(each["reason"] == stop for each in found["status"].get("conditions") or ())

        await shop.until(f"the set says {stop}", said)
        raise AssertionError(stop)
