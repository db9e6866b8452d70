"""Local control planes: real API servers on which workloads run, fail and end as KWOK plays them."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from hub.fleet.build import KUBERNETES_VERSION
from hub.fleet.controlplane import ControlPlane
from hub.fleet.errors import ProcessExitedError
from hub.fleet.processes import ProcessFleet, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.cluster

STARTER = """
import asyncio, sys
from pathlib import Path
from hub.fleet.processes import ProcessFleet
asyncio.run(ProcessFleet(Path(sys.argv[1]), ["hub", "eu1"], binary=Path(sys.argv[2])).start())
"""


def connect(plane: ControlPlane, folder: Path) -> aiohttp.ClientSession:
    """A session with nothing but what the kubeconfig holds."""
    config = json.loads(plane.kubeconfig_path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pair = folder / "pair.pem"
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
    )
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    context.load_cert_chain(pair)
    assert cluster["server"] == plane.url
    return aiohttp.ClientSession(
        base_url=plane.url,
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def create(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(path, json=body) as response:
        assert response.status == 201, await response.text()
        made: dict[str, Any] = await response.json()
        return made


async def until(
    session: aiohttp.ClientSession, path: str, good: Callable[[dict[str, Any]], bool], *, seconds: float = 120
) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        async with session.get(path) as response:
            found: dict[str, Any] = await response.json()
        if good(found):
            return found
        assert time.monotonic() < deadline, json.dumps(found.get("status"))
        await asyncio.sleep(0.05)


async def _status(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as response:
        return response.status


@pytest.fixture
async def session(workload_cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with connect(workload_cluster, tmp_path) as made:
        yield made


@pytest.fixture
async def core(session: aiohttp.ClientSession, namespace: str) -> str:
    """The path of a new namespace that takes pods."""
    await create(session, "/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = f"/api/v1/namespaces/{namespace}"
    await until(session, f"{path}/serviceaccounts/default", lambda one: one["kind"] == "ServiceAccount")
    return path


def pod_template(image: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": image}], **spec},
    }


def workload(kind: str, image: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": pod_template(image), **spec},
    }


def condition(one: dict[str, Any], kind: str) -> str:
    found = {each["type"]: each["status"] for each in one.get("status", {}).get("conditions", ())}
    return str(found.get(kind, ""))


def waiting_reasons(pods: dict[str, Any]) -> set[str]:
    return {
        status["state"]["waiting"]["reason"]
        for pod in pods["items"]
        for status in pod["status"].get("containerStatuses", ())
        if "waiting" in status["state"]
    }


async def test_the_version_is_the_one_that_was_asked_for(session: aiohttp.ClientSession) -> None:
    async with session.get("/version") as response:
        assert (await response.json())["gitVersion"] == KUBERNETES_VERSION


async def test_strangers_see_health_and_nothing_else(workload_cluster: ControlPlane, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(workload_cluster.layout.pki / "ca.crt"))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(base_url=workload_cluster.url, connector=connector) as stranger:
        status = 500
        async with asyncio.timeout(60):
            while status == 500:  # a busy store is not ready for a moment
                status = await _status(stranger, "/readyz")
        assert status == 200
        async with stranger.get("/api/v1/namespaces") as response:
            assert response.status == 401


async def test_accounts_get_tokens_and_rbac_refuses_them(
    session: aiohttp.ClientSession, core: str, workload_cluster: ControlPlane
) -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await create(session, f"{core}/serviceaccounts/default/token", request)
    context = ssl.create_default_context(cafile=str(workload_cluster.layout.pki / "ca.crt"))
    connector = aiohttp.TCPConnector(ssl=context)
    headers = {"Authorization": f"Bearer {made['status']['token']}"}
    async with (
        aiohttp.ClientSession(base_url=workload_cluster.url, connector=connector, headers=headers) as account,
        account.get(f"{core}/secrets") as response,
    ):
        assert response.status == 403
        assert "system:serviceaccount:" in (await response.json())["message"]


async def test_a_deployment_becomes_available_and_its_service_gets_endpoints(
    session: aiohttp.ClientSession, core: str
) -> None:
    apps = core.replace("/api/v1", "/apis/apps/v1")
    await create(session, f"{apps}/deployments", workload("Deployment", "app:1", replicas=3))
    service = {"metadata": {"name": "x"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}
    await create(session, f"{core}/services", service)
    found = await until(
        session,
        f"{apps}/deployments/x",
        lambda one: condition(one, "Available") == "True" and one["status"].get("readyReplicas") == 3,
    )
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    await until(
        session,
        f"{core}/endpoints/x",
        lambda one: len(one.get("subsets", [{}])[0].get("addresses", ())) == 3,
    )


async def test_a_stateful_set_gets_its_volumes(session: aiohttp.ClientSession, core: str) -> None:
    apps = core.replace("/api/v1", "/apis/apps/v1")
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    body = workload("StatefulSet", "db:1", serviceName="x", replicas=2, volumeClaimTemplates=[claim])
    await create(session, f"{apps}/statefulsets", body)
    await until(session, f"{apps}/statefulsets/x", lambda one: one["status"].get("readyReplicas") == 2)
    await until(
        session, f"{core}/persistentvolumeclaims/data-x-1", lambda one: one["status"]["phase"] == "Bound"
    )


@pytest.mark.parametrize(
    ("image", "wanted"), [("app:1", "Complete"), ("app:crashloop", "Failed")], ids=["ends", "crashes"]
)
async def test_a_job_ends_as_its_image_says(
    session: aiohttp.ClientSession, core: str, image: str, wanted: str
) -> None:
    jobs = core.replace("/api/v1", "/apis/batch/v1") + "/jobs"
    spec = {"backoffLimit": 0, "template": pod_template(image, restartPolicy="Never")}
    await create(session, jobs, {"metadata": {"name": "x"}, "spec": spec})
    await until(session, f"{jobs}/x", lambda one: condition(one, wanted) == "True")


@pytest.mark.parametrize(
    ("image", "reason", "phase"),
    [
        ("registry:5000/app:broken", "ImagePullBackOff", "Pending"),
        ("app:crashloop", "CrashLoopBackOff", "Running"),
    ],
    ids=["broken", "crashloop"],
)
async def test_a_failing_image_shows_its_reason_and_a_good_one_heals(
    session: aiohttp.ClientSession, core: str, image: str, reason: str, phase: str
) -> None:
    deployments = core.replace("/api/v1", "/apis/apps/v1") + "/deployments"
    await create(session, deployments, workload("Deployment", image))
    pods = await until(session, f"{core}/pods", lambda found: waiting_reasons(found) == {reason})
    assert {pod["status"]["phase"] for pod in pods["items"]} == {phase}
    # Its controller tells of the Deployment after KWOK has told of the Pods.
    await until(session, f"{deployments}/x", lambda one: condition(one, "Available") == "False")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:1"}]}}}}
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    async with session.patch(f"{deployments}/x", json=patch, headers=headers) as response:
        assert response.status == 200
    await until(session, f"{deployments}/x", lambda one: condition(one, "Available") == "True")
    await until(session, f"{core}/pods", lambda found: not waiting_reasons(found))


async def test_an_init_container_that_cannot_start_holds_the_rest(
    session: aiohttp.ClientSession, core: str
) -> None:
    spec = pod_template("app:1", initContainers=[{"name": "i", "image": "init:broken"}])["spec"]
    await create(session, f"{core}/pods", {"metadata": {"name": "x"}, "spec": spec})
    pod = await until(session, f"{core}/pods/x", lambda one: "initContainerStatuses" in one["status"])
    (init,), (main,) = pod["status"]["initContainerStatuses"], pod["status"]["containerStatuses"]
    assert init["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert main["state"]["waiting"]["reason"] == "PodInitializing"
    assert (pod["status"]["phase"], condition(pod, "Initialized")) == ("Pending", "False")


async def test_a_deleted_namespace_goes_with_all_that_ran_in_it(
    session: aiohttp.ClientSession, core: str
) -> None:
    apps = core.replace("/api/v1", "/apis/apps/v1")
    await create(session, f"{apps}/deployments", workload("Deployment", "app:1"))
    await until(session, f"{apps}/deployments/x", lambda one: condition(one, "Available") == "True")
    async with session.delete(core) as response:
        assert response.status == 200
    await until(session, core, lambda one: one.get("code") == 404)


async def test_a_control_plane_that_starts_again_is_the_same_cluster(
    controlplane_binary: Path, tmp_path: Path
) -> None:
    plane = ControlPlane("again", tmp_path / "again", controlplane_binary, workloads=True)
    pods = "/api/v1/namespaces/default/pods"
    (tmp_path / "elsewhere").mkdir()
    try:
        await plane.start()
        url = plane.url
        async with connect(plane, tmp_path / "elsewhere") as session:
            made = await create(session, "/api/v1/namespaces", {"metadata": {"name": "kept"}})
            await create(session, pods, {**pod_template("app:1"), "metadata": {"name": "before"}})
            await until(session, f"{pods}/before", lambda one: condition(one, "Ready") == "True")
        pids = {process.identity for process in plane.processes()}
        await plane.start()
        assert {process.identity for process in plane.processes()} == pids
        await plane.stop()
        assert plane.processes() == []
        await plane.start()
        assert plane.url == url
        async with connect(plane, tmp_path / "elsewhere") as session:
            found = await until(session, "/api/v1/namespaces/kept", lambda one: one["kind"] == "Namespace")
            await create(session, pods, {**pod_template("app:1"), "metadata": {"name": "after"}})
            await until(session, f"{pods}/after", lambda one: condition(one, "Ready") == "True")
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
    finally:
        await plane.stop()
    assert plane.processes() == []


async def test_a_taken_port_is_given_up_for_another(controlplane_binary: Path, tmp_path: Path) -> None:
    plane = ControlPlane("moved", tmp_path / "moved", controlplane_binary, workloads=False)
    try:
        await plane.start()
        ports = plane.layout.load_ports()
        assert ports is not None
        await plane.stop()
        squatter = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", ports.api)
        async with squatter:
            await plane.start()
            moved = plane.layout.load_ports()
        assert moved is not None
        assert moved.api != ports.api
        assert str(moved.api) in plane.kubeconfig_path.read_text()
    finally:
        await plane.stop()


async def test_a_part_that_cannot_run_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    broken = tmp_path / "controlplane"
    broken.write_text("#!/bin/sh\necho this part is broken >&2\nexit 3\n")
    broken.chmod(0o755)
    plane = ControlPlane("broken", tmp_path / "broken", broken, workloads=False)
    with pytest.raises(ProcessExitedError, match="this part is broken"):
        await plane.start()
    assert plane.processes() == []


async def test_what_a_killed_starter_left_is_found_and_ended(
    controlplane_binary: Path, tmp_path: Path
) -> None:
    root = tmp_path / "fleet"
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(root), str(controlplane_binary)
    )
    try:
        deadline = time.monotonic() + 120
        while not list(root.glob("clusters/*/run/kube-apiserver.pid")):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    finally:
        starter.kill()
        await starter.wait()
    fleet = load(root)
    assert fleet is not None
    assert fleet.names == ["hub", "eu1"]
    left = fleet.processes()
    assert any(process.alive() for process in left)
    await fleet.stop_all()
    assert not any(process.alive() for process in left)
    assert fleet.processes() == []
    await fleet.delete()
    assert load(root) is None


async def test_a_fleet_grows_and_shrinks(controlplane_binary: Path, tmp_path: Path) -> None:
    fleet = ProcessFleet(tmp_path, ["hub"], binary=controlplane_binary)
    try:
        (hub,) = await fleet.start()
        assert (hub.name, hub.workloads) == ("hub", False)
        added = await fleet.add("eu1")
        assert (added.name, added.workloads) == ("eu1", True)
        again = load(tmp_path)
        assert again is not None
        assert [handle.url for handle in again.handles()] == [hub.url, added.url]
        await again.remove("eu1")
        assert {process.record.parent.parent.name for process in again.processes()} == {"hub"}
        assert not (tmp_path / "clusters" / "eu1").exists()
    finally:
        await fleet.delete()
    assert fleet.processes() == []
