"""Small servers that answer as sinks do, at the socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass
class Taken:
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """Answers as told, and keeps what it was sent."""

    url: str = ""
    taken: list[Taken] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    hang: bool = False
    asked: int = 0
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        async with self.came:
            self.came.notify_all()
        if self.hang:
            await asyncio.sleep(3600)
        body = await request.json() if request.can_read_body else None
        if self.status < 300:
            self.taken.append(Taken(request.raw_path, dict(request.headers), body))
        async with self.came:
            self.came.notify_all()
        return web.json_response(self.body or {}, status=self.status, headers=self.headers)

    async def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        try:
            async with asyncio.timeout(seconds), self.came:
                await self.came.wait_for(holds)
        except TimeoutError as error:
            came = "\n".join(f"{each.path} {each.body}" for each in self.taken)
            raise AssertionError(f"not within {seconds:g} s; asked {self.asked} times:\n{came}") from error


@asynccontextmanager
async def receiver(**told: Any) -> AsyncIterator[Receiver]:
    made = Receiver(**told)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
