"""An API server at the socket: real HTTP, answers by the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from agent.kube.client import RestClient
from agent.kube.config import KubeConfig

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Requests go to `handler`, which a test may exchange at any time; `seen` keeps them."""

    def __init__(self) -> None:
        self.handler: Handler = self._missing
        self.seen: list[tuple[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs))
        return await self.handler(request)

    @staticmethod
    async def _missing(_request: web.Request) -> web.StreamResponse:
        return status(404, "NotFound")


class Collection:
    """A collection that is listed and watched, as an API server keeps it; its `log` feeds open watches."""

    def __init__(self, *objects: dict[str, Any], version: int = 10) -> None:
        self.objects = {item["metadata"]["name"]: item for item in objects}
        self.version = version
        self.feed: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.lists = 0
        self.watched_from: list[str] = []
        self.list_answer: Callable[[], web.Response] | None = None
        self.watch_answer: Callable[[], web.Response] | None = None
        self._asked = asyncio.Event()

    async def asked(self, *, lists: int = 0, watches: int = 0) -> None:
        """Until it was asked so often."""
        async with asyncio.timeout(60):
            while self.lists < lists or len(self.watched_from) < watches:
                self._asked.clear()
                await self._asked.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self._asked.set()
        if request.query.get("watch"):
            return await self._watch(request)
        self.lists += request.query.get("limit") != "1"  # with that one it is asked only how far it is
        if self.list_answer:
            return self.list_answer()
        return listing(list(self.objects.values()), version=self.version)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watched_from.append(request.query["resourceVersion"])
        if self.watch_answer:
            return self.watch_answer()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while (line := await self.feed.get()) is not None:
                await response.write(line)
        return response

    def send(self, kind: str, item: dict[str, Any]) -> None:
        self.feed.put_nowait(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def end_watch(self) -> None:
        self.feed.put_nowait(None)


def config_map(name: str, version: int, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "x", "resourceVersion": str(version)}
    return {"metadata": metadata, "data": data}


def listing(items: list[dict[str, Any]], *, version: int, following: str = "") -> web.Response:
    metadata = {"resourceVersion": str(version)} | ({"continue": following} if following else {})
    return web.json_response(
        {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items}
    )


def status(code: int, reason: str, **fields: Any) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(body | {"message": f"it is {reason}"} | fields, status=code)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
    runner.app.router.add_route("*", "/{path:.*}", made.answer)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[RestClient]:
    async with RestClient(KubeConfig(server=server.url), user_agent="test/1", timeout=60) as made:
        yield made


@pytest.fixture
def kube() -> Any:
    """What builds answers: test modules cannot import this one."""

    class Kube:
        collection = Collection
        config_map = staticmethod(config_map)
        listing = staticmethod(listing)
        status = staticmethod(status)

    return Kube
