"""Objects that other tools really made are looked at without a write, and taken over with nothing restarted."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.adopt import tools_of
from agent.apply.handover import Handover
from agent.apply.scoping import prepared
from agent.contract.adoption import AdoptionChange
from agent.kube.config import load_kubeconfig
from agent.kube.discovery import RestMapper
from hub.fleet.tools import ensure_tools
from tests.integration.apply.rig import MANAGER, App, CountingClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.contract.adoption import AdoptionEntry
    from agent.contract.manifest import Manifest
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


def service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def workload(image: str = "nginx:1") -> Manifest:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]
                },
            },
        },
    }


class Bed:
    """One namespace, where a tool is first and we come second."""

    def __init__(self, server: ControlPlane, binary: Path, app: App, folder: Path) -> None:
        self.server = server
        self.kubectl = binary.parent / "kubectl"
        self.app = app
        self.folder = folder
        self.mapper = RestMapper(app.client)
        self.handover = Handover(app.client, self.mapper, manager=MANAGER)

    async def made_by_kubectl(self, *objects: Manifest) -> None:
        file = self.folder / "objects.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        await self._run(str(self.kubectl), "-n", self.app.namespace, "apply", "-f", str(file))

    async def made_by_helm(self, *objects: Manifest, server_side: bool) -> None:
        chart = self.folder / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
        for number, obj in enumerate(objects):
            (chart / "templates" / f"{number}.yaml").write_text(json.dumps(obj))
        helm = str(await ensure_tools() / "helm")
        side = f"--server-side={str(server_side).lower()}"
        await self._run(helm, "install", "web", str(chart), "-n", self.app.namespace, side)

    async def made_by_manager(self, manager: str, *objects: Manifest, **metadata: Any) -> None:
        for obj in objects:
            marked = {**obj, "metadata": {**obj["metadata"], **metadata}}
            path = await self.path(obj)
            await self.app.client.apply(path, marked, field_manager=manager)

    async def namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.app.namespace}}
        await self.app.client.apply(f"/api/v1/namespaces/{self.app.namespace}", body, field_manager="tests")

    async def path(self, obj: Manifest) -> str:
        resource = await self.mapper.resource(obj["apiVersion"], obj["kind"])
        return resource.path(self.app.namespace, obj["metadata"]["name"])

    async def look(self, *objects: Manifest) -> list[AdoptionEntry]:
        return [await self.handover.look(item, user=None) for item in await self._desired(objects)]

    async def take(self, *objects: Manifest) -> list[AdoptionEntry | None]:
        """As the agent does it: our apply first, the handover when it is done."""
        result = await self.app.run(list(objects))
        assert result.ok, result.failed
        return [await self.handover.take(item, user=None) for item in await self._desired(objects)]

    async def state(self, *objects: Manifest) -> list[tuple[Any, ...]]:
        """What a restart, a rollout or a second making would change."""
        found = []
        for obj in objects:
            live = await self.app.need(await self.path(obj))
            # Not the generation: a Deployment's counts its annotations, too.
            found.append((live["metadata"]["uid"], json.dumps(live.get("spec"))))
        return found

    async def managers(self, *objects: Manifest) -> set[tuple[str, ...]]:
        return {tools_of(await self.app.need(await self.path(obj)), MANAGER) for obj in objects}

    async def _desired(self, objects: tuple[Manifest, ...]) -> list[Any]:
        desired, failed = await prepared(
            self.mapper, objects, self.app.policy(), applyset=self.app.applyset, app=self.app.name
        )
        assert not failed
        return desired

    async def _run(self, *command: str) -> None:
        environment = {"KUBECONFIG": str(self.server.kubeconfig_path), "HOME": str(self.folder)}
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
async def bed(api_server: ControlPlane, controlplane_binary: Path, app: App, tmp_path: Path) -> Bed:
    made = Bed(api_server, controlplane_binary, app, tmp_path)
    await made.namespace()
    return made


MAKERS: dict[str, tuple[str, Callable[[Bed], Awaitable[None]]]] = {
    "kubectl": ("kubectl", lambda bed: bed.made_by_kubectl(service(), workload())),
    "helm": ("Helm", lambda bed: bed.made_by_helm(service(), workload(), server_side=True)),
    "helm client-side": ("Helm", lambda bed: bed.made_by_helm(service(), workload(), server_side=False)),
    "argo cd": (
        "Argo CD",
        lambda bed: bed.made_by_manager(
            "argocd-controller",
            service(),
            workload(),
            annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"},
            labels={"app": "web", "app.kubernetes.io/instance": "shop"},
        ),
    ),
    "flux": (
        "Flux",
        lambda bed: bed.made_by_manager(
            "kustomize-controller",
            service(),
            workload(),
            labels={
                "app": "web",
                "kustomize.toolkit.fluxcd.io/name": "shop",
                "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            },
        ),
    ),
}


@pytest.mark.parametrize("maker", MAKERS)
async def test_a13_a14_what_another_tool_made_is_taken_over_and_nothing_restarts(
    bed: Bed, maker: str
) -> None:
    tool, make = MAKERS[maker]
    await make(bed)
    objects = (service(), workload())
    before = await bed.state(*objects)
    planned = await bed.look(*objects)
    assert [entry.change for entry in planned] == [AdoptionChange.SAME] * 2, planned
    assert all(entry.tools == [tool] for entry in planned)
    assert not any(entry.restarts for entry in planned)
    assert await bed.state(*objects) == before
    assert await bed.managers(*objects) == {(tool,)}
    await bed.take(*objects)
    assert await bed.managers(*objects) == {()}
    assert await bed.state(*objects) == before
    for obj in objects:
        live = await bed.app.need(await bed.path(obj))
        told = {**(live["metadata"].get("annotations") or {}), **live["metadata"]["labels"]}
        for mark in ("argocd", "helm.sh", "fluxcd", "last-applied", "app.kubernetes.io/instance"):
            assert not any(mark in name for name in told), told
    assert await bed.take(*objects) == [None, None]


async def test_a9_a_handover_that_is_done_writes_nothing_more(bed: Bed) -> None:
    await bed.made_by_manager("argocd-controller", workload())
    await bed.take(workload())
    client: CountingClient = bed.app.client
    version = (await bed.app.need(await bed.path(workload())))["metadata"]["resourceVersion"]
    client.asked.clear()
    await bed.take(workload())
    assert {method for method, _ in client.asked} <= {
        "GET",
        "POST",
    }  # POST: the namespace that may be missing
    assert (await bed.app.need(await bed.path(workload())))["metadata"]["resourceVersion"] == version


async def test_the_plan_tells_what_differs_and_what_would_restart(bed: Bed) -> None:
    await bed.made_by_helm(service(), workload("nginx:1"), server_side=True)
    wanted_service = service()
    wanted_service["spec"]["ports"][0]["targetPort"] = 9090
    planned = {
        entry.ref.split(" ")[0].split("/")[0]: entry
        for entry in await bed.look(wanted_service, workload("nginx:2"))
    }
    different, restarting = planned.values()
    assert different.change is restarting.change is AdoptionChange.DIFFERS
    assert not different.restarts
    assert any("targetPort" in path for path in different.paths)
    assert restarting.restarts
    assert any("image" in path for path in restarting.paths)


async def test_the_plan_tells_what_kubectl_would_remove_and_what_stays_of_others(bed: Bed) -> None:
    more = workload()
    more["metadata"]["annotations"] = {"team": "shop"}
    more["spec"]["template"]["metadata"]["annotations"] = {"build": "7"}
    await bed.made_by_kubectl(more)
    (entry,) = await bed.look(workload())
    assert entry.restarts
    assert {path for path in entry.paths if path.startswith("-")} == {
        "-.metadata.annotations.team",
        "-.spec.template.metadata.annotations.build",
    }
    assert entry.left == []


async def test_fields_of_other_tools_that_the_bundle_does_not_have_stay_as_they_are(bed: Bed) -> None:
    more = workload()
    more["spec"]["template"]["metadata"]["annotations"] = {"build": "7"}
    await bed.made_by_manager("helm-controller", more)
    (entry,) = await bed.look(workload())
    assert entry.change is AdoptionChange.SAME
    assert entry.left == [".spec.template.metadata.annotations.build"]
    before = await bed.state(workload())
    await bed.take(workload())
    assert await bed.state(workload()) == before
    assert await bed.managers(workload()) == {()}


async def test_what_cannot_be_applied_is_refused_in_the_plan_and_what_is_missing_is_made(bed: Bed) -> None:
    await bed.made_by_kubectl(workload())
    wanted = workload()
    wanted["spec"]["selector"]["matchLabels"] = {"app": "other"}
    wanted["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    refused, made = await bed.look(wanted, service())
    assert refused.change is AdoptionChange.REFUSED
    assert refused.restarts
    assert "ImmutableField" in refused.message
    assert made.change is AdoptionChange.CREATE
    assert await bed.app.get(await bed.path(service())) is None


async def test_a13_an_object_that_must_not_conflict_is_refused_while_another_tool_owns_it(bed: Bed) -> None:
    await bed.made_by_manager("helm", workload("nginx:1"))
    wanted = workload("nginx:2")
    wanted["metadata"]["annotations"] = {"axletree.dev/sync-options": "FailOnConflict"}
    (entry,) = await bed.look(wanted)
    assert entry.change is AdoptionChange.REFUSED
    assert "helm" in entry.message
    await bed.take(workload("nginx:1"))
    (entry,) = await bed.look(wanted)
    assert entry.change is AdoptionChange.DIFFERS


async def test_an_owner_that_would_take_the_object_along_is_told(bed: Bed) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}
    await bed.made_by_manager("tests", owner)
    uid = (await bed.app.need(await bed.path(owner)))["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    await bed.made_by_manager("work-agent", service(), ownerReferences=[reference])
    (entry,) = await bed.look(service())
    assert entry.tools == ["Open Cluster Management"]
    assert "ConfigMap owner" in entry.message


async def test_f2_another_hubs_agent_is_told_and_taken_over(bed: Bed) -> None:
    await bed.made_by_manager(
        "axletree-0123abcd-4567cdef", workload(), labels={"applyset.kubernetes.io/part-of": "x"}
    )
    (entry,) = await bed.look(workload())
    assert entry.tools == ["another hub's agent"]
    await bed.take(workload())
    assert await bed.managers(workload()) == {()}


async def test_fields_of_controllers_and_of_people_are_left_alone(bed: Bed) -> None:
    await bed.made_by_kubectl(workload())
    path = await bed.path(workload())
    patch = {
        "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}
    }
    await bed.app.client.merge_patch(path, patch, field_manager="kubectl-rollout")
    (entry,) = await bed.look(workload())
    assert entry.change is AdoptionChange.SAME, entry
    before = await bed.state(workload())
    await bed.take(workload())
    assert await bed.state(workload()) == before


async def test_a14_running_pods_outlive_a_takeover(
    workload_cluster: ControlPlane, controlplane_binary: Path, namespace: str, tmp_path: Path
) -> None:
    """The proof that nothing restarts: the very Pods that Helm's and kubectl's Deployments had are still there."""
    config = load_kubeconfig(workload_cluster.kubeconfig_path)
    async with CountingClient(config, user_agent="axletree-test") as client:
        app = App(client, namespace, f"{namespace}/web")
        bed = Bed(workload_cluster, controlplane_binary, app, tmp_path)
        await bed.namespace()
        await bed.made_by_helm(service(), workload(), server_side=False)
        other = workload()
        other["metadata"]["name"] = "worker"
        await bed.made_by_kubectl(other)

        async def pods() -> dict[str, str]:
            found = await client.list(f"/api/v1/namespaces/{namespace}/pods")
            return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found.items}

        async def available() -> bool:
            live = [await app.need(await bed.path(obj)) for obj in (workload(), other)]
            return all((obj.get("status") or {}).get("availableReplicas") == 2 for obj in live)

        await app.until(available)
        before = await pods()
        assert len(before) == 4
        await bed.take(service(), workload(), other)
        assert await bed.managers(service(), workload(), other) == {()}

        async def observed() -> bool:
            live = [await app.need(await bed.path(obj)) for obj in (workload(), other)]
            return all(
                obj["status"].get("observedGeneration") == obj["metadata"]["generation"] for obj in live
            )

        await app.until(observed)
        assert await pods() == before
        sets = await client.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets")
        assert len(sets.items) == 2


async def test_s9_a_plan_tells_no_value_of_a_secret(bed: Bed) -> None:
    def secret(value: str) -> Manifest:
        metadata = {"name": "login"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": value}}

    await bed.made_by_kubectl(secret("one-of-theirs"))
    (entry,) = await bed.look(secret("one-of-ours"))
    assert entry.change is AdoptionChange.DIFFERS
    assert entry.paths[0] == ".data.password"
    told = entry.model_dump_json()
    for value in ("one-of-theirs", "one-of-ours"):
        assert value not in told
        assert base64.b64encode(value.encode()).decode() not in told
