"""Folders of mirrors, and a server in front of Git's own that somebody else speaks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from aiohttp import web

from hub.fleet.githttp import GitServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def mirrors(tmp_path: Path, cache: str = "cache") -> list[Path]:
    return list((tmp_path / cache).glob("*.git"))


def temporary(tmp_path: Path, cache: str = "cache") -> list[Path]:
    return list((tmp_path / cache).glob("tmp-*"))


class Served:
    """One handler for every request, on a port of its own."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self._handler = handler

    async def __aenter__(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class Front:
    """A Git server whose first requests can be held back, and which counts fetches."""

    def __init__(self, tmp_path: Path, name: str = "front") -> None:
        self.root = tmp_path / name
        self.fetches = 0
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self.root.mkdir()
        self.behind = GitServer(self.root)
        await self.behind.start()
        self._served = Served(self._handle)
        self._port = await self._served.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self._served.__aexit__()
        await self.behind.stop()

    def url_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def hold(self) -> None:
        self._open.clear()
        self.arrived.clear()

    def release(self) -> None:
        self._open.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/info/refs"):
            self.fetches += 1
            self.arrived.set()
            await self._open.wait()
        # answered here, not forwarded: both serve the same folder
        return await self.behind._handle(request)
