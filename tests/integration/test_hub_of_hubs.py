"""Two hubs, each on a cluster of its own; one is the other's spoke. The example of the documentation, on both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import ANNOTATION_REFRESH
from agent.kube.yaml import load_all
from hub.api.registry import APPLICATION, APPLICATION_SET, CLUSTER
from hub.fleet import install
from tests.integration.hub_rig import fleet, free_port
from tests.integration.test_bootstrap import another

if TYPE_CHECKING:
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(480)]
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "hubs"
ADDRESS = "https://git.example.com/fleet.git"


def example(repo: str) -> dict[str, str]:
    paths = [path for path in sorted(EXAMPLE.rglob("*.yaml")) if path.is_file()]
    return {str(path.relative_to(EXAMPLE)): path.read_text().replace(ADDRESS, repo) for path in paths}


async def labelled(hub: Fleet, **labels: str) -> None:
    await hub.client.merge_patch(CLUSTER.path("", hub.cluster), {"metadata": {"labels": labels}})


async def health(hub: Fleet, path: str, state: str, *, said: str = "") -> None:
    found: dict[str, Any] = {}

    async def holds() -> bool:
        nonlocal found
        found = await hub._get(path) or {}
        told = (found.get("status") or {}).get("health") or {}
        return told.get("state") == state and said in f"{told}"

    try:
        await hub.until(f"{path} is {state}", holds)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{found.get('status')}") from error


async def test_the_health_of_a_lower_hubs_apps_rolls_up_to_the_hub_above(
    own_server: ControlPlane, controlplane_binary: Path, namespace: str, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("upper", "lower")]
    for each in folders:
        each.mkdir()
    async with (
        another(controlplane_binary, "region") as region,
        fleet(own_server, namespace, folders[0]) as upper,
        fleet(region, namespace, folders[1]) as lower,
    ):
        files = example(upper.repo)
        await upper.author.commit(files)
        ports = free_port(), free_port()
        fast = {"poll_interval": 1.0}
        await upper.hub("upper", ports[0], **fast)
        await lower.hub("lower", ports[1], **fast)
        await upper.led_by("upper")
        await lower.led_by("lower")
        await lower.join(ports[1])  # a shop on the region's own cluster: two agents, of two hubs, are there
        await upper.join(ports[0], spoke=region)
        await install.apply_all(upper.client, load_all(files["upper/regions.yaml"], source="upper"))
        for hub, role in ((upper, "hub"), (lower, "shop")):

            async def there(hub: Fleet = hub) -> bool:
                return await hub._get(CLUSTER.path("", hub.cluster)) is not None

            await hub.until("the cluster joins", there)
            await labelled(hub, role=role)
        app = APPLICATION.path("regions", f"region-{upper.cluster}")
        child = APPLICATION.path("shop", f"web-{lower.cluster}")
        await health(lower, child, "Healthy")
        await health(upper, app, "Healthy")
        await health(upper, APPLICATION_SET.path("regions", "regions"), "Healthy")
        web = await lower.client.get("/api/v1/namespaces/shop-web/configmaps/web")
        assert web["data"] == {"colour": "blue"}

        await upper.author.commit({"apps/web/config.yaml": "kind: ConfigMap\nmetadata: {name: web}\n"})
        await health(lower, APPLICATION_SET.path("shop", "apps"), "Degraded")
        await health(upper, app, "Degraded", said="apps")
        await health(upper, APPLICATION_SET.path("regions", "regions"), "Degraded")
        assert await lower.client.get("/api/v1/namespaces/shop-web/configmaps/web") == web
        await upper.author.commit({"apps/web/config.yaml": files["apps/web/config.yaml"]})
        refresh = {"metadata": {"annotations": {ANNOTATION_REFRESH: "again"}}}
        await lower.client.merge_patch(APPLICATION_SET.path("shop", "apps"), refresh)
        await health(upper, app, "Healthy")
