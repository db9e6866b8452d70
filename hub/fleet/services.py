"""What runs on a laptop beside the clusters: the Git server, the hub, one agent a spoke. Each its own process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.fleet.build import cache_root
from hub.fleet.errors import NotReadyError
from hub.fleet.layout import LOOPBACK, write
from hub.fleet.process import end_in_order, log_tail, recorded, settled, spawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.fleet.process import Process

GIT = "git"
HUB = "hub"
API = "api"
"""A port of the hub's process."""
AGENT = "agent-"
STOP_GRACE = 10.0
_PORTS = "ports.json"
_POLL = 0.05
# Below the ephemeral range, and not where control planes choose theirs.
_PORT_RANGE = range(12000, 20000)
_CODE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Services:
    """Processes recorded under `root`/services; ports are chosen once, so that a restart keeps the addresses."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "services"

    @property
    def hub_url(self) -> str:
        return f"https://{LOOPBACK}:{self.port(HUB)}"

    @property
    def git_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port(GIT)}"

    @property
    def api_url(self) -> str:
        return f"https://{LOOPBACK}:{self.port(API)}"

    def port(self, service: str) -> int:
        """The service's port, chosen at the first call."""
        path = self.folder / _PORTS
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        if service not in ports:
            ports[service] = _choose_port(set(ports.values()))
            self.folder.mkdir(parents=True, exist_ok=True)
            write(path, json.dumps(ports).encode())
        return ports[service]

    def processes(self) -> list[Process]:
        return recorded(self.folder)

    def running(self, name: str) -> bool:
        return any(process.name == name and process.alive() for process in self.processes())

    def start_git(self, repositories: Path) -> None:
        self._start(GIT, ["hub.fleet.gitserve", str(repositories), str(self.port(GIT))], port=self.port(GIT))

    def start_hub(self, kubeconfig: Path, *, poll_interval: float, options: Sequence[str] = ()) -> None:
        """`poll_interval` is in seconds between fetches of a repository; `options` are the hub's further ones."""
        self._start(
            HUB,
            [
                *("hub.main", "--kubeconfig", str(kubeconfig)),
                *("--data-dir", str(self.root / "hub"), "--port", str(self.port(HUB))),
                *("--api-port", str(self.port(API))),
                *("--poll-interval", str(poll_interval)),
                *options,
            ],
            port=self.port(HUB),
        )

    def start_agent(self, cluster: str, config: Path) -> None:
        self._start(agent_of(cluster), ["agent.main", "run", "--config", str(config)])

    def _start(self, name: str, module: Sequence[str], *, port: int | None = None) -> None:
        if self.running(name):
            return
        if port is not None and not _becomes_free(port):
            raise NotReadyError(
                f"port {port}, which {name} has had so far, is taken by another program: "
                "end that one, or start anew with `axle down` and `axle up`"
            )
        # -P: what happens to be called `hub` where the command was run is none of ours.
        argv = [sys.executable, "-P", "-m", *module]
        spawn(name, argv, folder=self.folder, env=environment(), cwd=self.root)

    async def wait_port(self, service: str, *, seconds: float) -> None:
        """Until the service accepts connections. Raises `NotReadyError` with the end of its log."""
        deadline = time.monotonic() + seconds
        port = self.port(service)
        while True:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except OSError as error:
                if not self.running(service) or time.monotonic() > deadline:
                    tail = log_tail(self.folder, service)
                    raise NotReadyError(f"{service} did not start on port {port}\n{tail}") from error
                await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            else:
                writer.close()
                return

    async def stop(self, names: frozenset[str] | None = None) -> None:
        """End the named services, or all: agents first, so that none reports a hub that is going."""
        chosen = [one for one in await settled(self.folder) if names is None or one.name in names]
        await end_in_order(chosen, [frozenset({HUB}), frozenset({GIT})], grace=STOP_GRACE)


def agent_of(cluster: str) -> str:
    """What the agent's process of a cluster is called."""
    return f"{AGENT}{cluster}"


def environment() -> dict[str, str]:
    """What a service gets besides the surroundings: the code is found, and no proxy stands before loopback.

    Bytecode is kept, as on an installed system, and outside the checkout: without it each process compiles all of
    its code at every start, and keeps what that took.
    """
    kept = [part for name in ("NO_PROXY", "no_proxy") if (part := os.environ.get(name))]
    direct = ",".join(dict.fromkeys([LOOPBACK, "localhost", *kept]))
    paths = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")]))
    return {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(cache_root() / "bytecode"),
        "PYTHONPATH": paths,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _choose_port(taken: set[int]) -> int:
    candidates = random.sample(_PORT_RANGE, len(_PORT_RANGE))
    return next(port for port in candidates if port not in taken and _is_free(port))


def _becomes_free(port: int, *, seconds: float = 15.0) -> bool:
    """A process that has just ended may hold its port until its last thread is gone."""
    deadline = time.monotonic() + seconds
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
