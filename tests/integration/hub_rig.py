"""Whole hubs, as processes, with one real agent and real Git: start, kill, look at everything that is written."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import signal
import socket
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import SecretStr

from agent.agent import Agent
from agent.config import AgentConfig
from agent.contract.errors import ApiError
from agent.contract.names import AGENT_NAMESPACE, ANNOTATION_REFRESH, HUB_NAMESPACE
from hub.api.registry import APPLICATION, APPLICATION_SET, ASSIGNMENT, CLUSTER, CLUSTER_SET, PROJECT
from hub.fleet import install
from hub.fleet.githttp import GitServer
from hub.gateway import tokens
from hub.gateway.identity import HubIdentity
from hub.operator import paths
from tests.integration.gateway_rig import client_of, new_name
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.kube.client import RestClient
    from hub.api.registry import Kind
    from hub.fleet.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
SECONDS = 100.0
FULL_PASS = 0.3
OURS = (APPLICATION, APPLICATION_SET, ASSIGNMENT, CLUSTER, CLUSTER_SET, PROJECT)
WATCHED = (*(kind.path() for kind in OURS), "/api/v1/namespaces", "/api/v1/configmaps", "/api/v1/secrets")
"""Everything that a hub writes, or makes an agent write, but Leases."""
SHOP = ("db", "api", "web")
_TRANSPORT = ("boot", "count", "epoch", "seq", "receivedAt")
"""Where a report stood in its agent's count: a new gateway asks for everything again, and notes that anew."""
_OF_A_WRITE = ("resourceVersion", "managedFields")
Versions = dict[str, tuple[str, str]]
"""Object -> (uid, its state)."""
_PORTS = range(10_000, 12_000)


@dataclass
class HubProcess:
    name: str
    process: asyncio.subprocess.Process
    log: Path
    port: int = 0

    async def kill(self) -> None:
        """As the kernel would, when it is out of memory."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.wait(), SECONDS)


class Fleet:
    """One namespace of apps on one cluster, which is the hub's own API server."""

    def __init__(
        self, server: ControlPlane, client: RestClient, author: Author, namespace: str, folder: Path
    ) -> None:
        self.server = server
        self.client = client
        self.author = author
        self.namespace = namespace
        self.folder = folder
        self.cluster = new_name()
        self.repo = author.remote
        self.hubs: list[HubProcess] = []
        self.agent: Agent | None = None
        self.seen: dict[str, Any] = {}
        self.seen_before: dict[str, Any] = {}

    # -- processes

    async def hub(self, name: str, port: int, *, kubeconfig: Path | None = None, **more: Any) -> HubProcess:
        """Start one. All share their folder: bundles, mirrors and renders outlive a process."""
        told = {
            "kubeconfig": str(kubeconfig or self.server.kubeconfig_path),
            "data_dir": str(self.folder / "data"),
            "identity": name,
            "port": port,
            "full_pass": FULL_PASS,
            "settle": FULL_PASS,
            "poll_interval": 600.0,
            "lease_seconds": 3.0,
        }
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.integration.hub_process", json.dumps(told | more)),
                cwd=ROOT,
                stdout=out,
                stderr=out,
            )
        self.hubs.append(HubProcess(name, process, log, port))
        return self.hubs[-1]

    async def leader(self) -> str:
        lease = await self._get(f"{paths.LEASES}/axletree-controller")
        return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")

    async def led_by(self, name: str) -> None:
        await self.until(f"{name} leads", self._is_led_by(name))

    def _is_led_by(self, name: str) -> Callable[[], Any]:
        async def holds() -> bool:
            return await self.leader() == name

        return holds

    async def join(
        self, port: int, *, heartbeat_seconds: float = 1.0, spoke: ControlPlane | None = None
    ) -> None:
        """An agent, in this process; on the hub's own API server, where no other spoke is named.

        Not before its hub is there: one that finds nobody asks again later and later.
        """
        for hub in self.hubs:
            if hub.port == port and hub.process.returncode is None:
                await self.until(f"{hub.name} serves agents", partial(_serves, port))
        identity = await HubIdentity.load_or_create(self.client, now=datetime.now(UTC))
        token = await tokens.create_token(
            self.client,
            identity,
            cluster=self.cluster,
            ttl=timedelta(minutes=10),
            now=datetime.now(UTC),
            auto_accept=True,
        )
        config = AgentConfig(
            cluster=self.cluster,
            hub_url=f"https://127.0.0.1:{port}",
            token=SecretStr(token),
            kubeconfig=(spoke or self.server).kubeconfig_path,
            heartbeat_seconds=heartbeat_seconds,
        )
        self.agent = Agent(config)
        self.running = asyncio.create_task(self.agent.run())

    async def close(self) -> None:
        if self.agent is not None:
            await self.agent.stop()
            await self.running
        for hub in self.hubs:
            await hub.kill()

    # -- what people write

    async def put(self, kind: Kind, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
        manifest = kind.manifest(name, namespace=self.namespace)
        manifest["metadata"] |= metadata
        path = kind.path(self.namespace, name)
        return await self.client.apply(path, manifest | {"spec": spec}, field_manager="tests", force=True)

    async def project(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        await self.client.apply(f"{paths.NAMESPACES}/{self.namespace}", namespace, field_manager="tests")
        destination = {"clusters": [self.cluster], "namespaces": [f"{self.namespace}-*"]}
        spec = {"sourceRepos": [self.repo], "destinations": [destination], "serviceAccount": "deployer"}
        await self.put(PROJECT, "project", spec)

    async def shop(self) -> None:
        """A set of three that depend on each other, and an Application written by hand."""
        await self.commit(**dict.fromkeys((*SHOP, "extra"), "1"))
        elements = [{"name": "db", "needs": "none"}, {"name": "api", "needs": "db"}]
        elements.append({"name": "web", "needs": "api"})
        spec = self.spec("{{ name }}") | {"cluster": self.cluster}
        edge = {"name": "{{ needs }}", "optional": True}
        await self.put(
            APPLICATION_SET,
            "shop",
            {
                "generators": [{"list": {"elements": elements}}],
                "template": {"metadata": {"name": "{{ name }}"}, "spec": spec | {"dependsOn": [edge]}},
            },
        )
        await self.put(APPLICATION, "extra", self.spec("extra"))

    def spec(self, name: str, **more: Any) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "namespace": f"{self.namespace}-apps",
            "sources": [{"repoURL": self.repo, "revision": "main", "path": f"apps/{name}"}],
            "sync": {"createNamespace": True},
        } | more

    async def commit(self, **values: str) -> None:
        """One ConfigMap an app."""
        await self.author.commit(
            {f"apps/{name}/it.yaml": _map(name, value) for name, value in values.items()}
        )

    async def release(self, **values: str) -> None:
        """Commit, tell the hub, and wait until it is there."""
        await self.commit(**values)
        await self.refresh()
        for name, value in values.items():
            await self.deployed(name, value)

    async def refresh(self) -> None:
        moment = {"metadata": {"annotations": {ANNOTATION_REFRESH: datetime.now(UTC).isoformat()}}}
        await self.client.merge_patch(APPLICATION_SET.path(self.namespace, "shop"), moment)

    # -- what is there

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def app(self, name: str) -> dict[str, Any]:
        return await self.client.get(APPLICATION.path(self.namespace, name))

    async def apps(self) -> dict[str, dict[str, Any]]:
        found = await self.client.list(APPLICATION.path(self.namespace))
        return {obj["metadata"]["name"]: obj for obj in found.items}

    async def set(self, name: str = "shop") -> dict[str, Any]:
        return await self.client.get(APPLICATION_SET.path(self.namespace, name))

    async def assignment(self) -> dict[str, Any]:
        found = await self.client.get(ASSIGNMENT.path(HUB_NAMESPACE, self.cluster))
        spec: dict[str, Any] = found["spec"]
        return spec

    async def deployed(self, name: str, value: str) -> None:
        async def holds() -> bool:
            found = await self._get(f"/api/v1/namespaces/{self.namespace}-apps/configmaps/{name}")
            return found is not None and found["data"] == {"value": value}

        await self.until(f"{name} is {value}", holds)

    async def versions(self) -> Versions:
        found: Versions = {}
        self.seen, self.seen_before = {}, self.seen
        for path in WATCHED:
            for obj in (await self.client.list(path)).items:
                meta = obj["metadata"]
                if meta.get("namespace") == AGENT_NAMESPACE:
                    continue  # an agent's own memory, which it writes when it likes
                key = f"{obj['kind']} {meta.get('namespace', '')}/{meta['name']}"
                found[key] = (meta["uid"], _state(obj))
                self.seen[key] = obj
        return found

    def moved(self) -> str:
        """What differs between the last two looks, in words."""
        lines = []
        for key in sorted(self.seen.keys() | self.seen_before.keys()):
            old, new = self.seen_before.get(key), self.seen.get(key)
            if old != new:
                lines += [f"{key}: {each}" for each in _differences(old, new)]
        return "\n".join(lines)

    async def settled(self) -> Versions:
        """Everything is Ready as it was released last, and nothing is written any more."""

        async def ready() -> bool:
            apps = await self.apps()
            objects = [*apps.values(), await self.set()]
            cluster = await self._get(f"{paths.CLUSTERS}/{self.cluster}")  # whose health comes last
            whole = ((cluster or {}).get("status") or {}).get("health") == "Healthy"
            if not whole or len(objects) != len(SHOP) + 2 or not all(_ready(obj) for obj in objects):
                return False
            assigned = {each["app"].rpartition("/")[2]: each for each in (await self.assignment())["apps"]}
            return all(_seen_last(apps[name], assigned[name]) for name in apps if name in assigned)

        await self.until("everything is Ready", ready)
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(SECONDS):
                began = clock()
                before = await self.versions()
                took = clock() - began  # where a look takes longer, what is on its way does, too
                while True:
                    await asyncio.sleep(3 * FULL_PASS + took)
                    after = await self.versions()
                    if after == before:
                        return after
                    before = after
        except TimeoutError as error:
            raise AssertionError(f"it does not come to rest:\n{self.moved()}\n{self.logs()}") from error

    async def until(self, what: str, holds: Callable[[], Any]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                while not await holds():  # noqa: ASYNC110 - other processes change it
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise AssertionError(f"not in {SECONDS} s: {what}\n{self.logs()}") from error

    def logs(self) -> str:
        return "\n".join(f"--- {hub.name}\n{hub.log.read_text()[-4000:]}" for hub in self.hubs)


async def _serves(port: int) -> bool:
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"https://127.0.0.1:{port}/healthz", ssl=False) as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def free_port() -> int:
    """A port that is nobody else's for as long as this process lives, however late and often it is listened on.

    Below the range that connections take theirs from, and below those that fleets choose from; kept by a lock, so
    that no other session of tests is given the same. The lock's file stays open on purpose.
    """
    folder = Path(tempfile.gettempdir(), "axletree-test-ports")
    folder.mkdir(exist_ok=True)
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        return port
    raise AssertionError(f"no port of {_PORTS} is free")


@asynccontextmanager
async def fleet(server: ControlPlane, namespace: str, folder: Path) -> AsyncIterator[Fleet]:
    """A Fleet with its project; nothing runs yet. Whatever the hub is asked to keep is forgotten at the end."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(server))
        await install.install_hub(client)
        await install.install_spoke(client, service_accounts=("deployer",))
        root = folder / "served"
        root.mkdir()
        git = GitServer(root)
        await git.start()
        stack.push_async_callback(git.stop)
        made = Fleet(server, client, await new_author(git, folder, "shop.git"), namespace, folder)
        stack.push_async_callback(_forget, client)
        stack.push_async_callback(made.close)
        await made.project()
        yield made


async def _forget(client: RestClient) -> None:
    await _gone(
        client, f"{paths.LEASES}/axletree-controller"
    )  # its holder was killed: the next one leads at once
    for kind in OURS:
        try:
            found = (await client.list(kind.path())).items
        except ApiError as error:
            if error.status != 404:
                raise
            continue  # its CRD is gone
        for obj in found:
            metadata = obj["metadata"]
            path = kind.path(metadata.get("namespace", ""), metadata["name"])
            if metadata.get("finalizers"):
                await client.merge_patch(path, {"metadata": {"finalizers": None}})
            await _gone(client, path)


async def _gone(client: RestClient, path: str) -> None:
    try:
        await client.delete(path)
    except ApiError as error:
        if error.status != 404:
            raise


def _ready(obj: dict[str, Any]) -> bool:
    status = obj.get("status") or {}
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()
    )


def _seen_last(app: dict[str, Any], assigned: dict[str, Any]) -> bool:
    """Whether what is said of it is said of what its cluster was given last."""
    observed = (app.get("status") or {}).get("observed") or {}
    return bool(observed.get("release") == assigned["release"])


def _state(obj: dict[str, Any]) -> str:
    """The resourceVersion; for what the gateway writes to as well, all of it but how a report came."""
    if obj["kind"] not in ("Application", "Cluster"):
        return str(obj["metadata"]["resourceVersion"])
    metadata = {key: obj["metadata"][key] for key in obj["metadata"] if key not in _OF_A_WRITE}
    status = dict(obj.get("status") or {})
    for part in ("observed", "agent"):
        if part in status:
            status[part] = {key: value for key, value in status[part].items() if key not in _TRANSPORT}
    return json.dumps([metadata, obj["spec"], status], sort_keys=True)


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in _differences(old.get(key), new.get(key), f"{path}.{key}")
        ]
    return [] if old == new else [f"{path} {old!r} -> {new!r}"]


def _map(name: str, value: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
    )
