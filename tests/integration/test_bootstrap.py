"""`axle bootstrap` on real API servers: a hub from Git, that keeps itself, is lost, and comes back elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from agent.agent import Agent
from agent.config import AgentConfig
from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, HUB_NAMESPACE, agent_manager
from agent.kube.yaml import dump_all, load_all
from hub.api.registry import APPLICATION, APPLICATION_SET
from hub.fleet import bootstrap, install
from hub.fleet.controlplane import ControlPlane
from hub.fleet.githttp import GitServer
from hub.gateway import paths, tokens
from hub.gateway.identity import SECRET_NAME, HubIdentity
from tests.integration.gateway_rig import client_of, new_name
from tests.integration.git_rig import new_author
from tests.integration.hub_rig import _forget, free_port
from tests.integration.kubelet_rig import HUB, ROOT, Kubelet, kubelet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.kube.client import RestClient
    from tests.integration.git_rig import Author

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SECONDS = 180.0
DEPLOYMENT = f"/apis/apps/v1/namespaces/{HUB_NAMESPACE}/deployments/{HUB}"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusters.axletree.dev"


class Site:
    """A Git repository, one spoke with its agent, and whatever cluster the hub is on at present."""

    def __init__(self, author: Author, spoke: ControlPlane, client: RestClient, folder: Path) -> None:
        self.author = author
        self.spoke = spoke
        self.client = client
        """Of the spoke."""
        self.folder = folder
        self.cluster = new_name()
        self.namespace = f"apps-{self.cluster}"
        self.port = free_port()
        self.agent: Agent | None = None

    async def axle(self, server: ControlPlane, *arguments: str, code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hub.cli.main", *arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "KUBECONFIG": str(server.kubeconfig_path),
                "AXLETREE_KUBECONFIG": str(server.kubeconfig_path),
                "COLUMNS": "200",
            },
        )
        output = (await process.communicate())[0].decode()
        assert process.returncode == code, output
        return output

    async def bootstrap(self, server: ControlPlane, *more: str, code: int = 0) -> str:
        where = ("--repo", self.author.remote, "--path", "clusters/hub", "--timeout", "5m")
        return await self.axle(server, "bootstrap", *where, *more, code=code)

    async def begin(self, server: ControlPlane) -> None:
        """The files that the command itself writes, with what a test needs otherwise, and some apps."""
        folder = self.author.folder / "clusters" / "hub"
        where = ("--repo", self.author.remote, "--path", "clusters/hub", "--host", "127.0.0.1")
        await self.axle(server, "bootstrap", *where, "--write", str(folder))
        self.edit("hub.yaml", controller={"leaseSeconds": 3, "pollInterval": 1}, gateway={"replicas": 0})
        self.edit("agent.yaml", hubUrl=f"https://127.0.0.1:{self.port}")
        (folder / "apps.yaml").write_text(dump_all(self._apps()))
        await self.author.commit(
            {"apps/a/it.yaml": config_map("a", "1"), "apps/b/it.yaml": config_map("b", "1")}
        )

    def edit(self, file: str, **values: Any) -> None:
        path = self.author.folder / "clusters" / "hub" / file
        (app,) = load_all(path.read_text(), source=file)
        app["spec"]["sources"][0]["helm"]["values"] |= values
        path.write_text(dump_all([app]))

    def _apps(self) -> list[dict[str, Any]]:
        repo = self.author.remote
        destination = {"clusters": [self.cluster], "namespaces": [self.namespace]}
        directories = {"repoURL": repo, "revision": "main", "directories": [{"path": "apps/*"}]}
        generators = [{"clusters": {"names": [self.cluster]}}, {"git": directories}]
        spec = {
            "cluster": "{{ cluster.name }}",
            "namespace": self.namespace,
            "sources": [{"repoURL": repo, "revision": "main", "path": "{{ path.path }}"}],
            "sync": {"createNamespace": True},
        }
        project = {"sourceRepos": [repo], "destinations": [destination], "serviceAccount": "deployer"}
        appset = {
            "generators": [{"matrix": {"generators": generators}}],
            "template": {"metadata": {"name": "{{ path.basename }}"}, "spec": spec},
        }
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            {
                "apiVersion": API_VERSION,
                "kind": "Project",
                "metadata": {"name": "project", "namespace": "shop"},
                "spec": project,
            },
            {
                "apiVersion": API_VERSION,
                "kind": "ApplicationSet",
                "metadata": {"name": "apps", "namespace": "shop"},
                "spec": appset,
            },
        ]

    async def join(self, hub: RestClient) -> None:
        """Start the spoke's agent, with a token of the hub that is there now."""
        await self.leave()
        now = datetime.now(UTC)
        identity = await HubIdentity.load_or_create(hub, now=now)
        ttl = timedelta(minutes=10)
        token = await tokens.create_token(
            hub, identity, cluster=self.cluster, ttl=ttl, now=now, auto_accept=True
        )
        config = AgentConfig(
            cluster=self.cluster,
            hub_url=f"https://127.0.0.1:{self.port}",
            token=SecretStr(token),
            kubeconfig=self.spoke.kubeconfig_path,
            heartbeat_seconds=1.0,
        )
        self.start(config)

    def start(self, config: AgentConfig) -> None:
        self.config = config
        self.agent = Agent(config)
        self._running = asyncio.create_task(self.agent.run())

    async def leave(self) -> None:
        if self.agent is not None:
            await self.agent.stop()
            await self._running
            self.agent = None

    async def live(self, name: str) -> dict[str, Any] | None:
        return await found(self.client, f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")

    async def uid(self, name: str) -> str:
        obj = await self.live(name)
        return str(obj["metadata"]["uid"]) if obj else ""

    async def runs(self, node: Kubelet, **values: str) -> None:
        """Wait until the hub on that node has these on the spoke, Healthy, and knows it."""

        async def holds() -> bool:
            for name, value in values.items():
                obj = await self.live(name)
                if obj is None or obj["data"] != {"value": value}:
                    return False
            apps = (await node.client.list(APPLICATION.path("shop"))).items
            states = {obj["metadata"]["name"]: obj.get("status") or {} for obj in apps}
            return states.keys() == values.keys() and all(
                (each.get("sync") or {}).get("state") == "Synced"
                and (each.get("health") or {}).get("state") == "Healthy"
                for each in states.values()
            )

        await until(f"{values} run", holds, node)


def config_map(name: str, value: str) -> str:
    return dump_all(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}]
    )


async def found(client: RestClient, path: str) -> dict[str, Any] | None:
    try:
        return await client.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
        return None


async def until(what: str, holds: Callable[[], Any], node: Kubelet) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not await holds():  # noqa: ASYNC110 - other processes change it
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise AssertionError(f"not in {SECONDS} s: {what}\n{node.logs()}") from error


@asynccontextmanager
async def another(binary: Path, name: str) -> AsyncIterator[ControlPlane]:
    """An empty cluster."""
    with tempfile.TemporaryDirectory(prefix="axletree-test-", ignore_cleanup_errors=True) as text:
        plane = ControlPlane(name, Path(text) / name, binary, workloads=False)
        await plane.start()
        try:
            yield plane
        finally:
            await plane.stop()


@pytest.fixture
async def site(api_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(api_server))
        await install.install_spoke(client, service_accounts=("deployer",))
        (tmp_path / "served").mkdir()
        git = GitServer(tmp_path / "served")
        await git.start()
        stack.push_async_callback(git.stop)
        made = Site(await new_author(git, tmp_path, "fleet.git"), api_server, client, tmp_path)
        stack.push_async_callback(made.leave)
        yield made


async def _installed(site: Site, node: Kubelet) -> None:
    """From nothing; again; and an upgrade by a commit."""
    refused = await site.axle(node.server, "bootstrap", "--repo", site.author.remote, code=2)
    assert "SeedNotRendered" in refused or "SeedIncomplete" in refused
    await site.begin(node.server)
    said = await site.bootstrap(node.server)
    assert "keeps itself" in said, said
    assert "axle hub backup" in said
    await site.join(node.client)
    await site.runs(node, a="1", b="1")
    identity = await HubIdentity.load_or_create(node.client, now=datetime.now(UTC))
    assert identity.epoch == 1
    for path in (CRD, DEPLOYMENT):
        managers = {each["manager"] for each in (await node.client.get(path))["metadata"]["managedFields"]}
        assert agent_manager(identity.hub_id, "hub") in managers
        assert "axle" not in managers, "what leaves Git later must leave the object"
    before = [await node.client.get(path) for path in (CRD, DEPLOYMENT)]
    await site.bootstrap(node.server)
    assert [await node.client.get(path) for path in (CRD, DEPLOYMENT)] == before

    site.edit("hub.yaml", staleAfter=7)
    await site.author.commit({})

    async def upgraded() -> bool:
        return "--stale-after=7" in node.arguments.get(HUB, ())

    await until("the hub changed itself", upgraded, node)
    await site.runs(node, a="1", b="1")


async def test_f1_f2_f3_a_hub_that_git_describes_keeps_itself_and_comes_back_elsewhere_with_nothing_deleted(
    site: Site, own_server: ControlPlane, controlplane_binary: Path, tmp_path: Path
) -> None:
    async with client_of(own_server) as client:
        async with kubelet(own_server, client, tmp_path / "first", port=site.port) as node:
            await _installed(site, node)
        secret = await client.get(paths.secret(SECRET_NAME))
    uids = {name: await site.uid(name) for name in "ab"}
    await site.leave()
    # Its cluster is gone, and Git moves on: an app is changed, one is dropped, one is new.
    await site.author.commit(
        {
            "apps/a/it.yaml": config_map("a", "2"),
            "apps/b/it.yaml": None,
            "apps/c/it.yaml": config_map("c", "1"),
        }
    )
    async with another(controlplane_binary, "second") as server, client_of(server) as client:
        await install.apply_all(client, [install.namespace_object(HUB_NAMESPACE)])
        kept = {key: secret[key] for key in ("apiVersion", "kind", "type", "data")}
        await client.create(paths.SECRETS, kept | {"metadata": {"name": SECRET_NAME}})
        async with kubelet(server, client, tmp_path / "second", port=site.port) as node:
            said = await site.bootstrap(server)
            assert "The hub is back" in said, said
            site.start(site.config)  # nobody told it anything; only that it need not wait for its next try

            async def asks() -> bool:
                return await found(client, paths.cluster(site.cluster)) is not None

            await until("the spoke asks to come back", asks, node)
            await site.axle(server, "cluster", "accept", site.cluster)
            await site.runs(node, a="2", c="1")
            assert {name: await site.uid(name) for name in "ab"} == uids

            async def told() -> bool:
                cluster = await client.get(paths.cluster(site.cluster))
                return [each["app"] for each in cluster["status"].get("orphans") or ()] == ["shop/b"]

            await until("its agent tells of what the hub does not know", told, node)
            assert "shop/b" in await site.axle(server, "orphans", "list")
    # That one is gone as well, its identity with it: another hub, of which the agents are told by hand.
    uids["c"] = await site.uid("c")
    async with (
        another(controlplane_binary, "third") as server,
        client_of(server) as client,
        kubelet(server, client, tmp_path / "third", port=site.port) as node,
    ):
        assert "is installed" in await site.bootstrap(server)
        await site.join(client)
        await site.runs(node, a="2", c="1")
        await site.author.commit({"apps/a/it.yaml": config_map("a", "3")})
        await site.runs(node, a="3", c="1")
        assert {name: await site.uid(name) for name in "abc"} == uids

        async def counted() -> bool:
            status = (await client.get(APPLICATION_SET.path("shop", "apps"))).get("status") or {}
            return bool(status.get("children") == 2)

        await until("the set has its two children", counted, node)


async def test_f3_a_restored_identity_is_told_from_one_that_is_at_home(own_server: ControlPlane) -> None:
    async with client_of(own_server) as client:
        await install.install_hub(client)
        await _forget(client)  # what the test before this one left there
        for each in (paths.lease(bootstrap.LEASE), paths.secret(SECRET_NAME)):
            if await found(client, each):
                await client.delete(each)

        async def settled() -> tuple[bool, int]:
            installed = await bootstrap.settle_identity(client)
            await bootstrap.at_home(client, installed)
            return installed.recovered, installed.identity.epoch

        assert await settled() == (False, 1)
        assert await settled() == (False, 1), "a first try that was cut off"
        spec = {"cluster": "hub", "namespace": "a", "sources": [{"repoURL": "https://a.example.com/b"}]}
        app = APPLICATION.manifest("web", namespace=HUB_NAMESPACE) | {"spec": spec}
        path = APPLICATION.path(HUB_NAMESPACE, "web")
        await client.apply(path, app, field_manager="tests")
        released = {"status": {"sync": {"state": "Synced", "released": "d" * 64}}}
        await client.merge_patch(path, released, subresource="status")
        assert await settled() == (True, 2), "its Assignments are gone with its namespace"
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        await client.create(paths.LEASES, lease | {"metadata": {"name": bootstrap.LEASE}})
        assert await settled() == (False, 2)
        elsewhere = {"metadata": {"annotations": {bootstrap.ANNOTATION_HOME: "of another cluster"}}}
        await client.merge_patch(paths.secret(SECRET_NAME), elsewhere)
        assert await settled() == (True, 3)
        for each in (path, paths.lease(bootstrap.LEASE), paths.secret(SECRET_NAME)):
            await client.delete(each)
