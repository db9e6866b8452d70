"""The reflector on a real API server, with a connection that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


class Wire:
    """A TCP proxy before the API server, which can cut all connections and refuse new ones."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.up = True
        self.opened = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.close()
            return
        self.opened += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        pumps = [asyncio.create_task(self._pump(a, b)) for a, b in ((reader, back), (there, writer))]
        self._tasks.update(pumps)
        await asyncio.wait(pumps)

    def cut(self) -> None:
        self.up = False
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[RestClient]:
    async with RestClient(load_kubeconfig(api_server.kubeconfig_path), user_agent="axletree-test") as made:
        yield made


@contextlib.asynccontextmanager
async def _running(reflector: Reflector) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        await reflector.wait_synced(60)
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_f36_a_cut_watch_resumes_without_a_list(
    api_server: ControlPlane, client: RestClient, namespace: str
) -> None:
    await client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("a", "b"):
        await client.create(path, {"metadata": {"name": name, "labels": {"t": "1"}}})
    config = load_kubeconfig(api_server.kubeconfig_path)
    wire = Wire(int(config.server.rpartition(":")[2]))
    proxy = await asyncio.start_server(wire.connected, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    through = replace(config, server=f"https://127.0.0.1:{port}")
    told: list[tuple[str, str]] = []

    def changed(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        told.append(
            (
                (new or old or {})["metadata"]["name"],
                "gone" if new is None else "new" if old is None else "new version",
            )
        )

    try:
        async with RestClient(through, user_agent="axletree-test") as cut_off:
            reflector = Reflector(cut_off, path, label_selector="t=1", resync_backoff=(0.05, 0.2))
            reflector.subscribe(changed)
            async with _running(reflector):
                assert set(reflector.items) == {(namespace, "a"), (namespace, "b")}
                assert reflector.items[namespace, "a"]["kind"] == "ConfigMap"
                changed_b = await client.merge_patch(f"{path}/b", {"data": {"k": "1"}})
                await reflector.wait_version((namespace, "b"), changed_b["metadata"]["resourceVersion"], 60)
                assert reflector.items[namespace, "b"]["data"] == {"k": "1"}

                wire.cut()
                await client.delete(f"{path}/a")
                made = await client.create(path, {"metadata": {"name": "c", "labels": {"t": "1"}}})
                assert (namespace, "a") in reflector.items
                wire.up = True
                await reflector.wait_version((namespace, "c"), made["metadata"]["resourceVersion"], 60)
                assert set(reflector.items) == {(namespace, "b"), (namespace, "c")}
    finally:
        proxy.close()
        wire.cut()
        await proxy.wait_closed()
    assert told == [("a", "new"), ("b", "new"), ("b", "new version"), ("a", "gone"), ("c", "new")]
