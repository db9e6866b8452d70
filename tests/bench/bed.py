"""A fleet to measure: API servers, one hub process, agent processes, a Git server. All of it ours to end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import orjson

from agent.contract.names import API_VERSION
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.fleet import install
from hub.fleet.controlplane import ControlPlane
from hub.fleet.process import end_in_order, recorded, spawn
from hub.fleet.services import HUB, Services, environment
from hub.gateway.identity import HubIdentity
from hub.gateway.tokens import create_token
from tests.bench import requests
from tests.bench.measure import Memory, Meter, memory
from tests.bench.repository import Repository, TimedGitServer
from tests.bench.view import View

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from agent.contract.manifest import Manifest

NAMESPACE = "bench"
HUB_PART = "hub"
"""What a meter calls the hub's processes."""
_ACCOUNT = "bench-deployer"
_TOKEN_LIFE = timedelta(hours=1)
_START_SECONDS = 60.0
_GRACE = 15.0
_FAR = 36000.0
"""Seconds between the hub's own looks at Git: what is measured is asked for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`clusters` says on which API server each is; `agents` which clusters each agent process serves."""

    hub: str
    clusters: Mapping[str, str]
    agents: Mapping[str, Sequence[str]]
    namespaces: Sequence[str]
    """Made on each API server of a spoke beforehand."""

    @property
    def planes(self) -> list[str]:
        return list(dict.fromkeys([self.hub, *self.clusters.values()]))


class Bed:
    """`async with`: started, all agents connected and at rest; everything ended and deleted afterwards."""

    def __init__(
        self,
        root: Path,
        binary: Path,
        shape: Shape,
        *,
        files: Mapping[str, str],
        note: Callable[[str], None],
        profiles: Path | None = None,
        lean: bool = False,
    ) -> None:
        self.root = root
        self.shape = shape
        self.view = View()
        self.repository = Repository(root)
        self._files, self._note, self._profiles, self._lean = files, note, profiles, lean
        self._planes = {
            name: ControlPlane(name, root / name, binary, workloads=False) for name in shape.planes
        }
        self._services = Services(root)
        self._git = TimedGitServer(self.repository.served, note=self.view.mark)
        self._clients: dict[str, RestClient] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    # -- what the rows use

    @property
    def hub_api(self) -> RestClient:
        return self._clients[self.shape.hub]

    @property
    def repo_url(self) -> str:
        return self._git.url_of("fleet.git")

    def api_of(self, cluster: str) -> RestClient:
        return self._clients[self.shape.clusters[cluster]]

    def meter(self) -> Meter:
        """CPU from now on, by part. Ours includes the Git server."""
        servers: dict[str, list[int]] = {}
        for plane in self._planes.values():
            for each in plane.processes():
                servers.setdefault(each.name, []).append(each.identity.pid)
        return Meter(
            {
                HUB_PART: self._pids(HUB),
                "agents": [pid for name in self.shape.agents for pid in self._pids(name)],
                **servers,
                "bench and Git": [os.getpid()],
            }
        )

    async def requests(self) -> Counter[str]:
        """What all API servers have answered so far."""
        return await requests.count(client.config for client in self._clients.values())

    def hub_memory(self) -> Memory:
        return memory(self._pids(HUB))

    def agent_memory(self, name: str) -> Memory:
        return memory(self._pids(name))

    def start_hub(self) -> None:
        kubeconfig = str(self._planes[self.shape.hub].kubeconfig_path)
        self._spawn(
            HUB,
            [
                *("hub.main", "--kubeconfig", kubeconfig, "--data-dir", str(self.root / "data")),
                *("--port", str(self._services.port(HUB)), "--poll-interval", str(_FAR)),
            ],
        )

    async def hub_answers(self) -> None:
        await self._services.wait_port(HUB, seconds=_START_SECONDS)

    def start_agents(self, name: str) -> None:
        configs = [str(self._config(cluster)) for cluster in self.shape.agents[name]]
        self._spawn(name, ["agent.main", "run", *(part for each in configs for part in ("--config", each))])

    async def stop(self, *names: str) -> None:
        """End services, as a supervisor would."""
        await self._services.stop(frozenset(names))

    async def _connected(self) -> None:
        """Until the hub says so of every cluster."""
        count = len(self.shape.clusters)

        def all_connected() -> bool:
            found = self.view.clusters()
            states = [(each.get("status") or {}).get("connected") for each in found]
            return states.count("Connected") == count

        await self.view.until(f"{count} clusters are Connected", all_connected, seconds=180)

    # -- life

    async def _start(self) -> None:
        self._note(f"{len(self._planes)} API server(s)")
        slots = asyncio.Semaphore(2)

        async def start(plane: ControlPlane) -> None:
            async with slots:
                await plane.start()

        await asyncio.gather(*(start(plane) for plane in self._planes.values()))
        for name, plane in self._planes.items():
            config = load_kubeconfig(plane.kubeconfig_path)
            self._clients[name] = RestClient(
                config, user_agent="bench", loads=orjson.loads, dumps=orjson.dumps
            )
        await self.repository.create(self._files)
        await self._git.start()
        await self._install()
        self._note("the hub")
        self.start_hub()
        await self.hub_answers()
        self._note(f"{len(self.shape.clusters)} agents in {len(self.shape.agents)} process(es)")
        await self.view.follow_hub(self.hub_api)
        for spoke in dict.fromkeys(self.shape.clusters.values()):
            await self.view.follow_spoke(spoke, self._clients[spoke], state=not self._lean)
        for name in self.shape.agents:
            self.start_agents(name)
        await self._connected()
        await self.view.stop("clusters")
        await self.view.quiet()

    async def _install(self) -> None:
        hub = self.hub_api
        await install.install_hub(hub)
        await install.apply_all(hub, [_namespace(NAMESPACE), _project(self.repo_url)])
        for spoke in dict.fromkeys(self.shape.clusters.values()):
            api = self._clients[spoke]
            await install.install_spoke(api, service_accounts=[_ACCOUNT])
            await install.apply_all(api, [_namespace(name) for name in self.shape.namespaces])
        now = datetime.now(UTC)
        identity = await HubIdentity.load_or_create(hub, now=now)
        for cluster in self.shape.clusters:
            await install.declare_cluster(hub, cluster, labels={"bench": "yes"}, values={})
            token = await create_token(
                hub, identity, cluster=cluster, ttl=_TOKEN_LIFE, now=now, auto_accept=True
            )
            self._configure(cluster, token)

    def _configure(self, cluster: str, token: str) -> None:
        path = self._config(cluster)
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "cluster": cluster,
            "hubUrl": self._services.hub_url,
            "token": token,
            "kubeconfig": str(self._planes[self.shape.clusters[cluster]].kubeconfig_path),
        }
        path.write_text(json.dumps(settings))

    def _config(self, cluster: str) -> Path:
        return self.root / "agents" / f"{cluster}.json"

    def _spawn(self, name: str, module: Sequence[str]) -> None:
        profiled: list[str] = []
        if self._profiles is not None:
            self._profiles.mkdir(parents=True, exist_ok=True)
            profiled = ["-m", "cProfile", "-o", str(self._profiles / f"{name}.prof")]
        spawn(
            name,
            [sys.executable, "-P", *profiled, "-m", *module],
            folder=self._services.folder,
            env=environment(),
            cwd=self.root,
        )

    def _pids(self, name: str) -> list[int]:
        return [
            each.identity.pid for each in self._services.processes() if each.name == name and each.alive()
        ]

    async def _end(self) -> None:
        await self.view.stop()
        for client in self._clients.values():
            await client.close()
        await end_in_order(recorded(self._services.folder), [frozenset({HUB})], grace=_GRACE)
        await self._git.stop()
        await asyncio.gather(*(plane.stop() for plane in self._planes.values()))


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _project(repo_url: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": "project", "namespace": NAMESPACE},
        "spec": {
            "sourceRepos": [repo_url],
            "destinations": [{"clusters": ["*"], "namespaces": ["*"]}],
            "serviceAccount": _ACCOUNT,
        },
    }
