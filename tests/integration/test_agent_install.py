"""What `axle agent install` and the chart put on a spoke is what an agent can live with: exactly those rights."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent.contract.errors import ApiError
from agent.contract.health import SyncState
from agent.contract.names import inventory_name
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.document import read_document
from hub.fleet.install import apply_all
from hub.fleet.tools import ensure_tools
from hub.install.agent import AgentInstall, agent_objects
from hub.install.rights import Account
from tests.integration.agent_rig import AgentRig, config_map, deployment, eventually
from tests.integration.gateway_rig import client_of, new_name, running
from tests.integration.hub_rig import free_port
from tests.integration.test_agent_killed import Process
from tests.unit.hub.install.test_agent_objects import CHART, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster
ACCOUNTS = "/api/v1/namespaces/axletree-agent/serviceaccounts"


class Restricted:
    """A server as the agent sees it: by the token of its own ServiceAccount."""

    def __init__(self, server: ControlPlane, path: Path) -> None:
        self.url = server.url
        self.kubeconfig_path = path


async def as_agent(server: ControlPlane, client: RestClient, path: Path) -> Restricted:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.create(f"{ACCOUNTS}/axletree-agent/token", request)
    admin = _document(server)
    user = {"name": "agent", "user": {"token": answer["status"]["token"]}}
    context = {"name": "agent", "context": {"cluster": admin["clusters"][0]["name"], "user": "agent"}}
    path.write_text(  # noqa: ASYNC240 - a test's own file
        json.dumps(admin | {"users": [user], "contexts": [context], "current-context": "agent"})
    )
    async with RestClient(load_kubeconfig(path), user_agent="tests") as agent:

        async def known() -> bool:
            try:
                return bool(await agent.get("/version"))
            except ApiError as error:
                if error.status != 401:  # the account is new: what checks tokens sees it by a watch
                    raise
                return False

        await eventually(known, wanted=True)
    return Restricted(server, path)


def _document(server: ControlPlane) -> dict[str, Any]:
    document: dict[str, Any] = read_document(server.kubeconfig_path.read_bytes(), source="kubeconfig")
    return document


@pytest.fixture
def install() -> AgentInstall:
    name = new_name()
    accounts = (Account("shop-deployer", (f"ns-{name}", "shop-more")),)
    return AgentInstall(cluster=name, hub_url="https://hub.example.com", image="a:1", accounts=accounts)


@pytest.fixture(params=["manifests", "chart"])
async def rig(
    request: pytest.FixtureRequest, own_server: ControlPlane, install: AgentInstall, tmp_path: Path
) -> AsyncIterator[AgentRig]:
    async with running(own_server) as gateway, client_of(own_server) as client:
        if request.param == "manifests":
            await apply_all(client, agent_objects(install))
        else:
            await uninstalled(client)
            await helm_install(own_server, install, tmp_path)
        server: Any = await as_agent(own_server, client, tmp_path / "agent.kubeconfig")
        made = AgentRig(gateway, server, client, install.cluster)
        await authorized(client, install)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


async def authorized(client: RestClient, install: AgentInstall) -> None:
    """Wait until the API server's authorizer has the rights: what was refused is tried again after a minute."""
    root, ours = "/apis/authorization.k8s.io/v1/subjectaccessreviews", "system:serviceaccount:axletree-agent"
    asked = [
        (f"{ours}:axletree-agent", {"verb": "create", "resource": "secrets", "namespace": "axletree-agent"})
    ]
    for account in install.accounts:
        asked += [
            (f"{ours}:{account.name}", {"verb": "patch", "resource": "configmaps", "namespace": each})
            for each in account.namespaces
        ]
        may_be = {"verb": "impersonate", "resource": "serviceaccounts", "namespace": "axletree-agent"}
        asked.append((f"{ours}:axletree-agent", may_be | {"name": account.name}))
    for user, attributes in asked:

        async def allowed(user: str = user, attributes: dict[str, str] = attributes) -> bool:
            spec = {"user": user, "resourceAttributes": attributes}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
            return bool((await client.request("POST", root, body=review))["status"]["allowed"])

        await eventually(allowed, wanted=True)


async def uninstalled(client: RestClient) -> None:
    """Rights of another way to install must not be what this one lives by."""
    root = "/apis/rbac.authorization.k8s.io/v1"
    for path in (
        f"{root}/clusterroles/axletree-agent",
        f"{root}/clusterrolebindings/axletree-agent",
        f"{root}/namespaces/axletree-agent/roles/axletree-agent",
        f"{root}/namespaces/axletree-agent/rolebindings/axletree-agent",
        f"{ACCOUNTS}/axletree-agent",
        f"{ACCOUNTS}/shop-deployer",
        "/api/v1/namespaces/axletree-agent/configmaps/axletree-agent",
        "/apis/apps/v1/namespaces/axletree-agent/deployments/axletree-agent",
        *(f"{root}/namespaces/shop-more/roles/axletree-agent",),
        *(
            f"{root}/namespaces/shop-more/rolebindings/{n}"
            for n in ("axletree-agent", "axletree-shop-deployer")
        ),
    ):
        try:
            await client.delete(path)
        except ApiError as error:
            if error.status != 404:
                raise


async def helm_install(server: ControlPlane, install: AgentInstall, folder: Path) -> None:
    chosen = values(install)
    chosen["namespaces"] = {"agent": False}
    file = folder / "values.json"
    file.write_text(json.dumps(chosen))
    command = ("upgrade", "--install", "agent", str(CHART), "--create-namespace", "--take-ownership")
    await helm(server, folder, *command, "-f", str(file))


async def helm(server: ControlPlane, folder: Path, *command: str) -> None:
    program = str(await ensure_tools() / "helm")
    done = await asyncio.to_thread(
        subprocess.run,
        [program, *command, "-n", "axletree-agent"],
        capture_output=True,
        text=True,
        env={"HOME": str(folder), "KUBECONFIG": str(server.kubeconfig_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def secret(name: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


async def test_a43_an_agent_lives_with_exactly_the_rights_that_were_installed(rig: AgentRig) -> None:
    """It keeps its state, applies and prunes as the Project's account, and corrects drift."""
    account = {"service_account": "shop-deployer"}
    digest = await rig.deploy(
        "web", config_map("a"), config_map("b"), deployment("web"), secret("s", k="v"), **account
    )
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    live = await rig.live(rig.path("deployments", "web", group="apps/v1"))
    assert live is not None
    assert rig.agent is not None
    assert rig.agent.identity is not None
    name = inventory_name(rig.agent.identity.hub_id, rig.cluster, "shop/web")
    assert await rig.live(f"/api/v1/namespaces/axletree-agent/secrets/{name}") is not None
    digest = await rig.deploy("web", config_map("a"), secret("s", k="w"), **account)
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    assert await rig.live(rig.path("configmaps", "b")) is None
    assert await rig.live(rig.path("deployments", "web", group="apps/v1")) is None
    await rig.client.delete(rig.path("configmaps", "a"))
    await rig.live_when(rig.path("configmaps", "a"), lambda obj: obj is not None)
    await rig.drop("web")
    await rig.live_when(rig.path("secrets", "s"), lambda obj: obj is None)


async def test_a43_s11_what_the_account_may_not_do_is_told_as_forbidden(rig: AgentRig) -> None:
    """By kind, by namespace, and by an account that the agent may not be."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": rig.cluster},
    }
    await rig.deploy("greedy", role | {"rules": []}, service_account="shop-deployer")
    said = await rig.when("greedy", sync=SyncState.FAILED)
    assert "Forbidden" in said.message
    assert "shop-deployer" in said.message
    elsewhere = config_map("a")
    elsewhere["metadata"]["namespace"] = "default"
    await rig.deploy("abroad", elsewhere, service_account="shop-deployer")
    assert "Forbidden" in (await rig.when("abroad", sync=SyncState.FAILED)).message
    unlisted = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "unlisted"}}
    await rig.client.apply(f"{ACCOUNTS}/unlisted", unlisted, field_manager="tests")
    await rig.deploy("other", config_map("o"), service_account="unlisted")
    said = await rig.when("other", sync=SyncState.FAILED)
    assert "Forbidden" in said.message
    assert "impersonate" in said.message
    await rig.deploy("trusting", config_map("t"))
    assert "Forbidden" in (await rig.when("trusting", sync=SyncState.FAILED)).message
    for name in ("o", "t"):
        assert await rig.live(rig.path("configmaps", name)) is None


async def test_s11_the_agent_itself_may_write_nothing_but_its_own_state(rig: AgentRig) -> None:
    async with RestClient(load_kubeconfig(rig.server.kubeconfig_path), user_agent="tests") as client:
        attempts: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.create(f"/api/v1/namespaces/{rig.namespace}/configmaps", config_map("x")),
            lambda: client.create("/api/v1/namespaces/kube-system/secrets", secret("x")),
            lambda: client.get("/api/v1/namespaces/kube-system/secrets"),
            lambda: client.create("/api/v1/namespaces", {"metadata": {"name": "x"}}),
            lambda: client.create(f"{ACCOUNTS}/axletree-agent/token", {"spec": {}}),
        ]
        for attempt in attempts:
            with pytest.raises(ApiError) as refused:
                await attempt()
            assert refused.value.status == 403


async def test_the_process_runs_as_the_manifests_start_it(
    own_server: ControlPlane, install: AgentInstall, tmp_path: Path
) -> None:
    """The command of the Deployment, with its ConfigMap and its Secret as files, and its ServiceAccount's token."""
    async with running(own_server) as gateway, client_of(own_server) as client:
        token = await gateway.token(install.cluster, auto_accept=True)
        whole = replace(install, hub_url=gateway.gateway.url, token=token, ca=gateway.identity.ca_pem)
        await apply_all(client, agent_objects(whole))
        server: Any = await as_agent(own_server, client, tmp_path / "agent.kubeconfig")
        await authorized(client, install)
        namespace = "/api/v1/namespaces/axletree-agent"
        config = json.loads(
            (await client.get(f"{namespace}/configmaps/axletree-agent"))["data"]["agent.json"]
        )
        mounted = await client.get(f"{namespace}/secrets/axletree-agent-join")
        for name, value in mounted["data"].items():
            (tmp_path / name).write_bytes(base64.b64decode(value))
        config |= {name: str(tmp_path / config[name].rpartition("/")[2]) for name in ("tokenFile", "caFile")}
        file = tmp_path / "agent.json"
        file.write_text(json.dumps(config | {"kubeconfig": str(server.kubeconfig_path)}))
        rig = AgentRig(gateway, server, client, install.cluster)
        path = "/apis/apps/v1/namespaces/axletree-agent/deployments/axletree-agent"
        container = (await client.get(path))["spec"]["template"]["spec"]["containers"][0]
        assert container["args"][:2] == ["run", "--config"]
        port = free_port()
        probed = tuple(str(port) if each == "8081" else each for each in container["args"][3:])
        process = Process(rig, file, options=probed)
        await process.start()
        try:
            rig.sealing_public = (await process.identity()).sealing_public
            await rig.deploy("web", config_map("a", v="1"), service_account="shop-deployer")
            await rig.live_when(rig.path("configmaps", "a"), lambda obj: obj is not None)
            async with aiohttp.ClientSession() as http:
                for probe in (container["livenessProbe"], container["readinessProbe"]):
                    async with http.get(f"http://127.0.0.1:{port}{probe['httpGet']['path']}") as answer:
                        assert answer.status == 200
            assert await process.end(signal.SIGTERM) == 0
        finally:
            await process.end(signal.SIGKILL)


async def test_i1_uninstalling_the_chart_takes_no_tenants_namespace_along(
    own_server: ControlPlane, install: AgentInstall, tmp_path: Path
) -> None:
    """Nor anything in it; the agent's rights go."""
    async with client_of(own_server) as client:
        await uninstalled(client)
        await helm_install(own_server, install, tmp_path)
        tenant = install.accounts[0].namespaces[0]
        path = f"/api/v1/namespaces/{tenant}/configmaps/theirs"
        await client.apply(path, config_map("theirs"), field_manager="tests")
        await helm(own_server, tmp_path, "uninstall", "agent")
        namespace = await client.get(f"/api/v1/namespaces/{tenant}")
        assert "deletionTimestamp" not in namespace["metadata"]
        assert (await client.get(path))["metadata"]["name"] == "theirs"
        with pytest.raises(ApiError):
            await client.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/axletree-agent")
