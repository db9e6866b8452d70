"""`axle adopt` and `axle orphans` through a whole hub and a real agent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.contract.names import AGENT_NAMESPACE, HUB_NAMESPACE
from hub.api.registry import APPLICATION, APPLICATION_SET, CLUSTER
from hub.cli.main import app as axle
from hub.fleet import install
from hub.gateway.identity import SECRET_NAME
from tests.integration.hub_rig import _forget as forget
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from typer.testing import Result

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

IMAGE = "nginx:1"


@pytest.fixture
async def bed(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        port = free_port()
        await made.hub("hub", port)
        await made.led_by("hub")
        await made.join(port)
        yield made


async def command(bed: Fleet, *arguments: str) -> Result:
    kubeconfig = ("--kubeconfig", str(bed.server.kubeconfig_path))
    return await asyncio.to_thread(CliRunner().invoke, axle, [*arguments, *kubeconfig])


def workload(image: str = IMAGE) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def config() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"v": "1"}}


async def deployed_by_argo_cd(bed: Fleet) -> str:
    """As Argo CD leaves it; gives the Deployment's path."""
    namespace = f"{bed.namespace}-apps"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await bed.client.apply(f"/api/v1/namespaces/{namespace}", body, field_manager="tests")
    tracked = {"annotations": {"argocd.argoproj.io/tracking-id": "web:apps/Deployment:x/web"}}
    paths = {
        "Deployment": f"/apis/apps/v1/namespaces/{namespace}/deployments/web",
        "ConfigMap": f"/api/v1/namespaces/{namespace}/configmaps/web",
    }
    for obj in (workload(), config()):
        marked = {**obj, "metadata": {**obj["metadata"], **tracked}}
        await bed.client.apply(paths[str(obj["kind"])], marked, field_manager="argocd-controller")
    return paths["Deployment"]


async def app_of(bed: Fleet, *, image: str = IMAGE, mode: str = "Manual") -> None:
    files = {
        "apps/web/deployment.yaml": json.dumps(workload(image)),
        "apps/web/map.yaml": json.dumps(config()),
    }
    await bed.author.commit(files)
    spec = bed.spec("web")
    await bed.put(APPLICATION, "web", spec | {"sync": {"mode": mode, "createNamespace": True}})

    await bed.until("web is rendered", lambda: _target(bed))


async def test_a13_axle_adopt_plans_without_a_write_and_takes_over_what_was_planned(bed: Fleet) -> None:
    path = await deployed_by_argo_cd(bed)
    await app_of(bed)
    before = await bed.client.get(path)
    name = f"{bed.namespace}/web"

    planned = await command(bed, "adopt", name)
    assert planned.exit_code == 0, planned.output
    assert "2 the same" in planned.output
    assert "2 of Argo CD" in planned.output
    assert await bed.client.get(path) == before
    assert "release" not in ((await bed.app("web"))["status"].get("observed") or {})

    taken = await command(bed, "adopt", name, "--yes")
    assert taken.exit_code == 0, taken.output
    after = await bed.client.get(path)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert "argocd.argoproj.io/tracking-id" not in after["metadata"]["annotations"]
    assert not any(entry["manager"] == "argocd-controller" for entry in after["metadata"]["managedFields"])
    assert "axletree.dev/adopt" not in ((await bed.app("web"))["metadata"].get("annotations") or {})
    assert (await bed.app("web"))["status"]["adoption"]["state"] == "Taken"


async def test_an_adoption_that_would_restart_pods_is_refused_until_that_is_accepted(bed: Fleet) -> None:
    path = await deployed_by_argo_cd(bed)
    await app_of(bed, image="nginx:2")
    before = await bed.client.get(path)
    name = f"{bed.namespace}/web"
    refused = await command(bed, "adopt", name, "--yes")
    assert refused.exit_code == 1, refused.output
    assert "would restart" in refused.output
    assert await bed.client.get(path) == before
    accepted = await command(bed, "adopt", name, "--yes", "--accept-changes")
    assert accepted.exit_code == 0, accepted.output
    after = await bed.client.get(path)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"


async def orphaned(bed: Fleet) -> str:
    """The cluster is removed by force and joins again: its agent holds an app that the hub does not know."""
    await app_of(bed, mode="Auto")
    path = f"/api/v1/namespaces/{bed.namespace}-apps/configmaps/web"

    async def there() -> bool:
        return await bed._get(path) is not None

    await bed.until("web is deployed", there)
    uid = (await bed.client.get(path))["metadata"]["uid"]
    assert bed.agent is not None
    await bed.agent.stop()  # the site is away, and somebody gives it up
    removed = await command(bed, "cluster", "remove", bed.cluster, "--force", "--yes")
    assert removed.exit_code == 0, removed.output
    await install.forget_identity(bed.client, bed.cluster)
    await bed.join(int(bed.agent.config.hub_url.rpartition(":")[2]))

    async def told() -> bool:
        found = await bed._get(CLUSTER.path(name=bed.cluster)) or {}
        return bool((found.get("status") or {}).get("orphans"))

    await bed.until("the orphan is told", told)
    assert (await bed.client.get(path))["metadata"]["uid"] == uid
    return path


async def test_i1_an_orphan_is_listed_and_goes_only_by_a_recorded_purge(bed: Fleet) -> None:
    path = await orphaned(bed)
    key = f"{bed.namespace}/web"
    listed = await command(bed, "orphans", "list", bed.cluster, "-o", "json")
    (orphan,) = json.loads(listed.stdout)
    assert (orphan["app"], orphan["objects"]) == (key, 2)
    assert f"{bed.namespace}-apps" in orphan["namespaces"]
    unknown = await command(bed, "orphans", "purge", bed.cluster, "shop/nothing", "--yes")
    assert unknown.exit_code == 2
    declined = await command(bed, "orphans", "purge", bed.cluster, key)
    assert declined.exit_code == 1
    assert await bed._get(path) is not None
    purged = await command(bed, "orphans", "purge", bed.cluster, key, "--yes", "--timeout", "2m")
    assert purged.exit_code == 0, purged.output
    assert await bed._get(path) is None

    async def forgotten() -> bool:
        return not (await bed.client.get(CLUSTER.path(name=bed.cluster)))["spec"].get("purges")

    await bed.until("the decision is over", forgotten)


async def test_f15_an_orphan_is_bound_to_the_application_of_its_name_and_nothing_is_made_anew(
    bed: Fleet,
) -> None:
    path = await orphaned(bed)
    key = f"{bed.namespace}/web"
    uid = (await bed.client.get(path))["metadata"]["uid"]
    nothing = await command(bed, "orphans", "adopt", bed.cluster, key)
    assert nothing.exit_code == 2
    assert "NothingToBind" in nothing.output
    await app_of(bed)
    refused = await command(bed, "orphans", "purge", bed.cluster, key, "--yes")
    assert refused.exit_code == 2
    assert "NotAnOrphan" in refused.output
    bound = await command(bed, "orphans", "adopt", bed.cluster, key)
    assert bound.exit_code == 0, bound.output
    assert (await bed.client.get(path))["metadata"]["uid"] == uid
    assert AGENT_NAMESPACE not in path


async def test_f1_f2_what_a_lost_hub_left_is_told_taken_over_and_the_rest_purged_by_a_person(
    bed: Fleet,
) -> None:
    """Its database and identity are gone: a new hub is another one, and finds the old one's inventories."""
    await app_of(bed, mode="Auto")
    root = f"/api/v1/namespaces/{bed.namespace}-apps/configmaps"
    workload_path = f"/apis/apps/v1/namespaces/{bed.namespace}-apps/deployments/web"
    await bed.until("web is deployed", lambda: bed._get(f"{root}/web"))
    await bed.until("web runs", lambda: bed._get(workload_path))
    before = await bed.client.get(workload_path)
    assert bed.agent is not None
    await bed.agent.stop()
    await bed.hubs[0].kill()
    await forget(bed.client)
    await bed.client.delete(f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{SECRET_NAME}")
    port = free_port()
    await bed.hub("new", port)
    await bed.led_by("new")
    await bed.project()
    await bed.join(port)
    key = f"{bed.namespace}/web"

    async def told() -> bool:
        found = await bed._get(CLUSTER.path(name=bed.cluster)) or {}
        return bool((found.get("status") or {}).get("orphans"))

    await bed.until("the former hub's inventory is told", told)
    (orphan,) = json.loads((await command(bed, "orphans", "list", "-o", "json")).stdout)
    assert (orphan["app"], orphan["objects"]) == (key, 2)
    assert orphan["hub"]

    await bed.author.commit({"apps/web/map.yaml": None})
    spec = bed.spec("web")
    await bed.put(APPLICATION, "web", spec | {"sync": {"mode": "Manual", "createNamespace": True}})
    await bed.until("web is rendered", lambda: _target(bed))
    taken = await command(bed, "adopt", key, "--yes")
    assert taken.exit_code == 0, taken.output
    assert "another hub's agent" in taken.output
    after = await bed.client.get(workload_path)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert await bed._get(f"{root}/web") is not None

    purge = ("orphans", "purge", bed.cluster, key, "--yes", "--timeout", "2m")
    assert (await command(bed, *purge)).exit_code == 2
    purged = await command(bed, *purge, "--of-hub", orphan["hub"])
    assert purged.exit_code == 0, purged.output
    assert await bed._get(f"{root}/web") is None
    assert (await bed.client.get(workload_path))["metadata"]["uid"] == before["metadata"]["uid"]


async def _target(bed: Fleet) -> bool:
    status = (await bed.app("web")).get("status") or {}
    return bool((status.get("sync") or {}).get("target"))


async def test_a_set_is_adopted_child_by_child_and_only_what_was_planned(bed: Fleet) -> None:
    namespace = f"{bed.namespace}-apps"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await bed.client.apply(f"/api/v1/namespaces/{namespace}", body, field_manager="tests")
    for name in ("db", "api", "web"):
        live = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "1"}}
        await bed.client.apply(
            f"/api/v1/namespaces/{namespace}/configmaps/{name}", live, field_manager="helm"
        )
    await bed.commit(db="1", api="1", web="2")
    spec = bed.spec("{{ name }}") | {"cluster": bed.cluster, "sync": {"mode": "Manual"}}
    await bed.put(
        APPLICATION_SET,
        "shop",
        {
            "generators": [{"list": {"elements": [{"name": name} for name in ("db", "api", "web")]}}],
            "template": {"metadata": {"name": "{{ name }}"}, "spec": spec},
        },
    )

    async def rendered() -> bool:
        found = (await bed.apps()).values()
        return len(found) == 3 and all(
            (obj.get("status") or {}).get("sync", {}).get("target") for obj in found
        )

    await bed.until("all are rendered", rendered)
    planned = await command(bed, "adopt", f"appset/{bed.namespace}/shop")
    assert planned.exit_code == 0, planned.output
    assert planned.output.count("1 the same; 1 of Helm") == 2
    assert ".data.value" in planned.output
    taken = await command(bed, "adopt", f"appset/{bed.namespace}/shop", "--yes")
    assert taken.exit_code == 0, taken.output
    for name, value in (("db", "1"), ("api", "1"), ("web", "2")):
        live = await bed.client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        assert live["data"] == {"value": value}
        assert not any(entry["manager"] == "helm" for entry in live["metadata"]["managedFields"])
