"""Stands between an agent and its API server: knows every write by name, kills at it, and answers as broken servers do.

The agent talks plain HTTP to it; it talks to the real API server with the administrator's certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from agent.contract.names import LABEL_STATE
from agent.kube.config import load_kubeconfig
from agent.kube.yaml import dump

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

_WRITES = {"POST": "create", "PUT": "replace", "PATCH": "apply", "DELETE": "delete"}
_DROPPED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
HTML = "<html><body>Sign in to the network</body></html>"


@dataclass(frozen=True, slots=True)
class Write:
    """One write that went through, or would have: what it is called, and what it is about."""

    name: str
    path: str
    body: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(slots=True)
class Trap:
    """Kill at a write: before the API server has it, or after, when nobody has the answer."""

    name: str
    when: str
    sprung: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """`url` is its address. `writes` are those that the API server had, in order."""

    def __init__(self, server: ControlPlane) -> None:
        self._upstream = load_kubeconfig(server.kubeconfig_path)
        self._session: aiohttp.ClientSession | None = None
        self.url = ""
        self.writes: list[Write] = []
        self.trap: Trap | None = None
        self.kill: Callable[[], Awaitable[None]] | None = None
        self.fault: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
        """Answers in the API server's place, or not (None)."""
        self._watches: dict[asyncio.Task[Any], web.Request] = {}

    def kubeconfig(self, folder: Path) -> Path:
        """For an agent: its API server is here."""
        path = folder / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": self.url}}],
            "users": [{"name": "x", "user": {}}],
        }
        path.write_text(dump(document), encoding="utf-8")
        return path

    @property
    def watched(self) -> set[str]:
        """Paths of the watches that the agent has open, each with its label selector."""
        return {
            f"{each.path}?{each.query.get('labelSelector', '')}"
            for each in self._watches.values()
            if each.transport is not None and not each.transport.is_closing()
        }

    def cut_watches(self) -> None:
        for task in list(self._watches):
            task.cancel()

    async def forward(self, request: web.Request) -> None:
        """Have the API server carry it out, and keep what it says."""
        with contextlib.suppress(aiohttp.ClientError):
            await self._ask(request, await request.read())

    async def answer(self, request: web.Request) -> web.Response:
        """Have the API server carry it out; what it says, for who brings that later."""
        status, headers, payload = await self._ask(request, await request.read())
        return web.Response(status=status, headers=headers, body=payload)

    @staticmethod
    def cut(request: web.Request) -> web.Response:
        """End the connection without an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=502)

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        connector = aiohttp.TCPConnector(ssl=self._upstream.ssl or True, limit=0)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, headers=self._upstream.headers
        ) as self._session:
            await runner.setup()
            site = web.TCPSite(runner, host, 0)
            await site.start()
            assert site._server is not None
            port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
            self.url = f"http://{host}:{port}"
            try:
                yield self
            finally:
                self.cut_watches()
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        body = await request.read()
        write = _write_of(request, body)
        trap = self.trap if write is not None and self.trap and self.trap.name == write.name else None
        if trap is not None and trap.when == "before":
            return await self._spring(trap, request)
        try:
            if request.query.get("watch"):
                return await self._follow(request)
            status, headers, payload = await self._ask(request, body)
        except (aiohttp.ClientError, ConnectionError):
            return self.cut(request)
        if write is not None and status < 300:
            self.writes.append(write)
        if trap is not None and trap.when == "after":
            return await self._spring(trap, request)
        return web.Response(status=status, headers=headers, body=payload)

    async def _spring(self, trap: Trap, request: web.Request) -> web.Response:
        if self.trap is not trap:
            return self.cut(request)  # another request was first: its sender is being killed
        self.trap = None
        assert self.kill is not None
        await self.kill()
        trap.sprung.set()
        return self.cut(request)

    async def _ask(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"{self._upstream.server}{request.raw_path}",
            data=body or None,
            headers={key: value for key, value in request.headers.items() if key.lower() not in _DROPPED},
        ) as answer:
            kept = {"Content-Type": answer.content_type}
            if "Retry-After" in answer.headers:
                kept["Retry-After"] = answer.headers["Retry-After"]
            return answer.status, kept, await answer.read()

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        task = asyncio.current_task()
        assert task is not None
        self._watches[task] = request
        try:
            async with self._session.get(
                f"{self._upstream.server}{request.raw_path}",
                headers={"Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                response = web.StreamResponse(
                    status=answer.status, headers={"Content-Type": "application/json"}
                )
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response
        except asyncio.CancelledError:
            return self.cut(request)
        finally:
            self._watches.pop(task, None)


def _write_of(request: web.Request, body: bytes) -> Write | None:
    """A write and its name: `state app create`, `apply configmaps`, `delete configmaps`; None for what only reads."""
    verb = _WRITES.get(request.method)
    if verb is None or request.query.get("dryRun"):
        return None
    try:
        content = json.loads(body) if body else {}
    except ValueError:
        content = {}
    obj = content if isinstance(content, dict) else {}
    state = ((obj.get("metadata") or {}).get("labels") or {}).get(LABEL_STATE)
    parts = request.path.strip("/").split("/")
    if state:
        return Write(f"state {state} {verb}", request.path, obj)
    if "axletree-agent" in parts and "secrets" in parts:
        return Write(f"state {verb}", request.path, obj)
    after = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts[:-2] else parts[-2:]
    plural = after[0] if after else parts[-1]
    if verb == "create":
        plural = parts[-1]
    return Write(f"{verb} {plural}", request.path, obj)


class Weather:
    """Faults at random, by a seed: too many requests, gone versions, cut bodies, pages of HTML, silence, delay."""

    def __init__(self, chance: random.Random, *, share: float = 0.3) -> None:
        self._chance = chance
        self._share = share

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if self._chance.random() > self._share:
            return None
        kind = self._chance.choice(["429", "410", "html", "cut", "short", "slow", "500"])
        if kind == "slow":
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))
            return None
        if kind == "cut":
            return FaultProxy.cut(request)
        if kind == "html":
            return web.Response(text=HTML, content_type="text/html")
        if kind == "short":
            return web.Response(text='{"kind": "Status", "apiVersion"', content_type="application/json")
        code = {"429": 429, "410": 410, "500": 500}[kind]
        if kind == "410" and request.method != "GET":
            code = 500
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": {429: "TooManyRequests", 410: "Expired", 500: "InternalError"}[code],
            "message": "a fault",
        }
        headers = {"Retry-After": "1"} if code == 429 else {}
        return web.json_response(status, status=code, headers=headers)
