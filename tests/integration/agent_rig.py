"""An agent at a real gateway, both on real API servers: assign bundles, look at what comes of them."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agent.agent import Agent
from agent.config import AgentConfig
from agent.contract.bundle import ApplyPolicy, Bundle, encode
from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, HUB_NAMESPACE
from hub.gateway import paths
from tests.integration.gateway_rig import Rig, client_of, new_name, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.contract.health import HealthState, SyncState
    from agent.contract.objectsync import ObjectSyncReport
    from agent.contract.wire import AppReport
    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane

KEY = hashlib.sha256(b"the hub's digest key").digest()
SECONDS = 90.0
"""An agent's own waits grow to a minute: an app that failed, an object that is fought for."""


class AgentRig:
    """One cluster: its agent, its Assignment on the hub, its API server as `client`."""

    def __init__(self, rig: Rig, server: ControlPlane, client: RestClient, cluster: str) -> None:
        self.rig = rig
        self.server = server
        self.client = client
        self.cluster = cluster
        self.namespace = f"ns-{cluster}"
        self.kubeconfig = server.kubeconfig_path
        """For the agent: not the API server itself where something stands in between."""
        self.agent: Agent | None = None
        self.sealing_public = b""
        """Of an agent that runs elsewhere; else the agent's own counts."""
        self.task: asyncio.Task[None] | None = None
        self.seq = 0
        self.epoch = 1
        self.apps: dict[str, dict[str, Any]] = {}
        self.tombstones: list[dict[str, Any]] = []
        self.object_syncs: list[dict[str, Any]] = []

    async def start(self, *, hub_url: str = "", **options: Any) -> Agent:
        token = await self.rig.token(self.cluster, auto_accept=True)
        config = AgentConfig(
            cluster=self.cluster,
            hub_url=hub_url or self.rig.gateway.url,
            token=token,
            kubeconfig=self.kubeconfig,
            **options,
        )
        self.agent = Agent(config)
        self.task = asyncio.create_task(self.agent.run())
        return self.agent

    async def stop(self) -> None:
        if self.agent is not None and self.task is not None:
            await self.agent.stop()
            await self.task
        self.agent = None

    async def kill(self) -> None:
        """End it as a kill would: no task is given time."""
        assert self.agent is not None
        await self.stop()

    async def joined(self) -> None:
        await until(lambda: self.agent is not None and self.agent.engine is not None, "joined")

    async def deploy(
        self,
        name: str,
        *objects: dict[str, Any],
        after: tuple[str, ...] = (),
        assign: bool = True,
        **policy: Any,
    ) -> str:
        """Assign the app `shop/<name>`; gives its digest."""
        recipient = self.sealing_public
        if not recipient:
            await self.joined()
            assert self.agent is not None
            assert self.agent.identity is not None
            recipient = self.agent.identity.sealing_public
        bundle = Bundle(
            policy=ApplyPolicy(namespace=self.namespace, create_namespace=True, **policy),
            objects=list(objects),
        )
        stored = encode(bundle, digest_key=KEY, recipient=recipient)
        self.rig.blobs.held[stored.blob] = stored.data
        app = f"shop/{name}"
        release = self.apps.get(app, {}).get("release", 0) + 1
        entry = {"app": app, "digest": stored.digest, "blob": stored.blob, "release": release}
        self.apps[app] = entry | {"after": [f"shop/{each}" for each in after]}
        if assign:
            await self.assign()
        return stored.digest

    async def drop(self, name: str, *, tombstone: bool = True, assign: bool = True, **more: Any) -> None:
        app = f"shop/{name}"
        del self.apps[app]
        if tombstone:
            decided = {"app": app, "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}
            self.tombstones.append(decided | more)
        if assign:
            await self.assign()

    async def assign(self) -> None:
        self.seq += 1
        spec = {
            "epoch": self.epoch,
            "seq": self.seq,
            "apps": list(self.apps.values()),
            "tombstones": self.tombstones,
            "objectSyncs": self.object_syncs,
        }
        assignment = {
            "apiVersion": API_VERSION,
            "kind": "Assignment",
            "metadata": {"name": self.cluster, "namespace": HUB_NAMESPACE},
            "spec": spec,
        }
        path = f"{paths.ASSIGNMENTS}/{self.cluster}"
        await self.rig.client.apply(path, assignment, field_manager="tests", force=True)

    def said(self, name: str) -> AppReport | None:
        """What the agent says of an app now."""
        app = self.agent.engine.apps.get(f"shop/{name}") if self.agent and self.agent.engine else None
        return (
            self.agent.engine._reporter.latest(app.key) if app and self.agent and self.agent.engine else None
        )

    async def when(
        self,
        name: str,
        *,
        sync: SyncState | None = None,
        health: HealthState | None = None,
        digest: str | None = None,
        check: Callable[[AppReport], bool] = lambda _: True,
    ) -> AppReport:
        """Wait until the agent says so."""

        def holds() -> bool:
            said = self.said(name)
            return (
                said is not None
                and (sync is None or said.sync is sync)
                and (health is None or said.health is health)
                and (digest is None or said.digest == digest)
                and check(said)
            )

        await until(holds, f"{name} {sync} {health}", lambda: str(self.said(name)))
        said = self.said(name)
        assert said is not None
        return said

    async def again(self, name: str, digest: str, what: str) -> ObjectSyncReport:
        """Ask for one object of an app, and give what the agent says of it."""
        request = new_name()
        self.object_syncs = [{"app": f"shop/{name}", "digest": digest, "object": what, "request": request}]
        await self.assign()

        def answer() -> ObjectSyncReport | None:
            engine = self.agent.engine if self.agent else None
            said = engine.syncs.answers.given.get(f"shop/{name}") if engine else None
            return said if said is not None and said.request == request else None

        await until(lambda: answer() is not None, f"an answer about {what}")
        said = answer()
        assert said is not None
        return said

    def path(self, plural: str, name: str, *, group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}/{name}"

    async def live(self, path: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def live_when(
        self, path: str, holds: Callable[[dict[str, Any] | None], bool]
    ) -> dict[str, Any] | None:
        found: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(SECONDS):
                while not holds(found := await self.live(path)):  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise AssertionError(f"not in {SECONDS} s: {path}; {found}") from error
        return found


async def eventually(found: Callable[[], Awaitable[Any]], wanted: Any, *, every: float = 0.03) -> None:
    """Wait until that is what is found. To ask is work: `every` so many seconds."""
    seen = None
    try:
        async with asyncio.timeout(SECONDS):
            while (seen := await found()) != wanted:  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(every)
    except TimeoutError as error:
        raise AssertionError(f"not in {SECONDS} s: {wanted}; {seen}") from error


async def until(holds: Callable[[], bool], what: str, seen: Callable[[], str] = str) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not holds():  # noqa: ASYNC110 - anything may change it
                await asyncio.sleep(0.005)
    except TimeoutError as error:
        raise AssertionError(f"not in {SECONDS} s: {what}; {seen()}") from error


@asynccontextmanager
async def agent_on(server: ControlPlane, **options: Any) -> AsyncIterator[AgentRig]:
    """A gateway and an agent whose hub and spoke are one API server."""
    async with running(server) as rig, client_of(server) as client:
        made = AgentRig(rig, server, client, new_name())
        try:
            await made.start(**options)
            yield made
        finally:
            await made.stop()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, image: str = "nginx") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }
