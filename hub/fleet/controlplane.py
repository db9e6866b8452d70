"""One control plane of processes: start, wait until it is ready, stop.

Its folder is durable: stopping keeps the data, the keys and the port, so that a cluster which starts again is
the same cluster at the same address. Deleting the folder is the fleet's business.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import socket
import ssl
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from hub.fleet import kwok, parts
from hub.fleet.errors import NotReadyError, PortTakenError, ProcessExitedError
from hub.fleet.layout import LOOPBACK, Layout, Ports, prepare
from hub.fleet.process import Process, end_in_order, log_tail, recorded, settled, spawn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READY_TIMEOUT = 150.0
STOP_GRACE = 10.0
_PORT_ATTEMPTS = 5
_POLL = 0.05
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)
_IN_USE = "address already in use"
# Below the ephemeral range (from 32768): an outgoing connection of anybody cannot take a port from there.
_PORT_RANGE = range(20000, 32000)


class ControlPlane:
    """A Kubernetes API server with its store and managers, in `folder`.

    With `workloads` there are a scheduler, the workload controllers and a KWOK node too, so that Deployments
    become Available and Jobs complete. Without, it is an API server that collects garbage: enough for a hub.
    """

    def __init__(self, name: str, folder: Path, binary: Path, *, workloads: bool) -> None:
        self.name = name
        self.workloads = workloads
        self.layout = Layout(folder.absolute())
        self._binary = binary

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's; self-contained. There once `start` got that far."""
        return self.layout.kubeconfig()

    @property
    def url(self) -> str:
        ports = self.layout.load_ports()
        if ports is None:
            raise NotReadyError(f"control plane {self.name} was never started in {self.layout.folder}")
        return f"https://{LOOPBACK}:{ports.api}"

    def processes(self) -> list[Process]:
        """List what was started and may still run, whoever started it."""
        return recorded(self.layout.run)

    def is_running(self) -> bool:
        """Whether every part runs (which does not say that it is ready)."""
        wanted = {
            parts.ETCD,
            parts.API_SERVER,
            *parts.managers(Path(), self.layout, workloads=self.workloads),
        }
        return wanted <= {process.name for process in self.processes() if process.alive()}

    async def start(self, *, timeout: float = READY_TIMEOUT) -> None:  # noqa: ASYNC109 - one deadline for all
        """Start it and wait until it is ready; nothing is done where it already runs.

        Raises `ProcessExitedError` or `NotReadyError`, and then leaves nothing running.
        """
        deadline = time.monotonic() + timeout
        try:
            if not self.is_running():
                await self.stop()
                await self._start_on_free_ports(deadline)
                self._spawn(parts.managers(self._binary, self.layout, workloads=self.workloads))
            await self.wait_ready(timeout=deadline - time.monotonic())
        except BaseException:
            await self.stop()
            raise

    async def wait_ready(self, *, timeout: float = READY_TIMEOUT) -> None:  # noqa: ASYNC109 - as above
        """Until objects can be made that its controllers act on; sets up node and storage class by itself."""
        deadline = time.monotonic() + timeout
        async with self._session() as session:
            await self._until(session, "/readyz", _ok, deadline)
            if self.workloads:
                await self._create(session, "/api/v1/nodes", kwok.node(self.name), deadline)
                classes = "/apis/storage.k8s.io/v1/storageclasses"
                await self._create(session, classes, kwok.storage_class(), deadline)
                await self._until(session, f"/api/v1/nodes/{self.name}-node", _schedulable, deadline)
            # Pods are refused until their namespace has its account.
            await self._until(session, "/api/v1/namespaces/default/serviceaccounts/default", _ok, deadline)

    async def stop(self, *, grace: float = STOP_GRACE) -> None:
        """End every part, in order, whoever started it. The folder stays."""
        await end_in_order(await settled(self.layout.run), parts.STOP_ORDER, grace=grace)

    async def _start_on_free_ports(self, deadline: float) -> None:
        ports = self.layout.load_ports()
        for attempt in range(_PORT_ATTEMPTS):
            if ports is None or not (_is_free(ports.api) and _is_free(ports.etcd)):
                ports = _free_ports()
            prepare(self.layout, name=self.name, ports=ports, now=dt.datetime.now(dt.UTC))
            try:
                self._spawn(parts.store_and_server(self._binary, self.layout, ports))
                async with self._session() as session:
                    await self._until(session, "/readyz", _ok, deadline)
            except PortTakenError:
                if attempt + 1 == _PORT_ATTEMPTS:
                    raise
                await self.stop()
                ports = None
            else:
                return

    def _spawn(self, commands: dict[str, list[str]]) -> None:
        for name, argv in commands.items():
            spawn(name, argv, folder=self.layout.run, env=parts.environment(name))

    async def _until(
        self, session: aiohttp.ClientSession, path: str, good: Callable[[int, Any], bool], deadline: float
    ) -> None:
        await self._tried(path, lambda: _get(session, path), good, deadline)

    async def _create(
        self, session: aiohttp.ClientSession, path: str, body: kwok.Document, deadline: float
    ) -> None:
        await self._tried(f"POST {path}", lambda: _post(session, path, body), _there, deadline)

    async def _tried(
        self,
        what: str,
        ask: Callable[[], Awaitable[tuple[int, Any]]],
        good: Callable[[int, Any], bool],
        deadline: float,
    ) -> None:
        """Ask until the answer is good: a server that is about to be ready may refuse, or be slow, once."""
        last = "no answer"
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                status, body = await ask()
                if good(status, body):
                    return
                last = f"HTTP {status}" if status < HTTPStatus.BAD_REQUEST else f"HTTP {status}: {body}"
            except (aiohttp.ClientError, TimeoutError) as e:
                last = str(e) or type(e).__name__
            await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise NotReadyError(
            f"control plane {self.name} is not ready: {what}: {last}\n"
            f"{log_tail(self.layout.run, parts.API_SERVER)}"
        )

    def _check_alive(self) -> None:
        for process in self.processes():
            if not process.alive():
                tail = log_tail(self.layout.run, process.name)
                message = f"{process.name} of control plane {self.name} ended\n{tail}"
                raise PortTakenError(message) if _IN_USE in tail else ProcessExitedError(message)

    def _session(self) -> aiohttp.ClientSession:
        pki = self.layout.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return aiohttp.ClientSession(
            base_url=self.url, connector=aiohttp.TCPConnector(ssl=context), timeout=_REQUEST_TIMEOUT
        )


async def _get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else None


async def _post(session: aiohttp.ClientSession, path: str, body: kwok.Document) -> tuple[int, Any]:
    async with session.post(path, json=body) as response:
        return response.status, await response.text()


def _ok(status: int, _: object) -> bool:
    return status == HTTPStatus.OK


def _there(status: int, _: object) -> bool:
    """Made, or found to be there."""
    return status in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}


def _schedulable(status: int, node: Any) -> bool:
    if status != HTTPStatus.OK:
        return False
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ())
    )
    return ready and not node["spec"].get("taints")


def _free_ports() -> Ports:
    free = (port for port in random.sample(_PORT_RANGE, len(_PORT_RANGE)) if _is_free(port))
    return Ports(api=next(free), etcd=next(free))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
