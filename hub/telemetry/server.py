"""Where Prometheus asks: `/metrics` over plain HTTP, on a port of its own that only the cluster should reach."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client.metrics_core import Metric

    from hub.telemetry.meters import Meters

_SHUTDOWN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Route:
    """One route. Anyone who reaches the port may ask: nothing that it tells is a secret. `timeout` in seconds."""

    method: str
    path: str
    timeout: float
    concurrency: int


ROUTES = (
    Route("GET", "/metrics", timeout=10.0, concurrency=4),
    Route("GET", "/healthz", timeout=5.0, concurrency=16),
)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    found: list[Metric]

    def collect(self) -> list[Metric]:
        return self.found


class MetricsServer:
    """Listens between `start` and `stop`."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._runner: web.AppRunner | None = None
        self.port = 0

    def application(self) -> web.Application:
        """The routes of the table, and nothing beside them."""
        handlers = {"/metrics": self._metrics, "/healthz": _healthz}
        app = web.Application(client_max_size=1024)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, _bounded(route, handlers[route.path]))
        return app

    async def start(self, host: str, port: int) -> None:
        """Port 0 takes a free one. Raises OSError where it cannot listen."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        snapshot = _Snapshot(self._meters.collect())
        # thousands of lines take a while to write out: agents are answered meanwhile
        body = await asyncio.to_thread(encode, snapshot)
        return web.Response(body=body, headers={"Content-Type": content_type})


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def _bounded(
    route: Route, handler: Callable[[web.Request], Awaitable[web.Response]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    slots = asyncio.Semaphore(route.concurrency)

    async def answer(request: web.Request) -> web.Response:
        if slots.locked():
            return web.Response(status=503, text="too many ask at once", headers={"Retry-After": "5"})
        try:
            async with slots, asyncio.timeout(route.timeout):
                return await handler(request)
        except TimeoutError:
            return web.Response(status=503, text="it took too long")

    return answer
