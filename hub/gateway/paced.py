"""A listener that lets connections in at the pace at which their handshakes get done.

A handshake is the dearest thing that an agent asks for. When a whole fleet comes back at once and all begin together,
each takes longer than its agent waits, and the work is for nobody. Who is not let in yet waits in the kernel, where
that costs nothing, and whoever is let in is served. Who gave up meanwhile is not let in: its agent comes again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)

AT_ONCE = 128
"""What a core gets done in the fifth of a second that far agents take to answer: fewer would leave it idle."""
AT_ONCE_STARTING = 4
"""While all that can be said is that the hub is starting."""
_PACE_SECONDS = 0.02
"""Another is let in after so long although none is done: those who connect and say nothing keep nobody out."""
_HANDSHAKE_SECONDS = 15.0
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_ENDED = frozenset({7, 8})
"""Linux's numbers for a connection that was reset, and for one whose other end has closed it."""
_FULL_SECONDS = 1.0
"""Before the next try where the process has no descriptors left."""


class PacedSite(web.BaseSite):
    """As `aiohttp.web.TCPSite` with TLS; but `AT_ONCE` handshakes at most go on at once, and few until `ready`."""

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext,
        backlog: int,
        ready: Callable[[], bool],
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=backlog)
        self._tls, self._backlog, self._ready = tls, backlog, ready
        self._host, self._port = host, port
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._going = 0
        self._done = asyncio.Event()

    @property
    def name(self) -> str:
        return f"https://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens. Before `start`, where it is to."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else self._port

    async def start(self) -> None:
        """Listen at all addresses of the host. Raises OSError where one cannot be had."""
        await super().start()
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host or None, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            listener = socket.create_server(address[:2], family=family, backlog=self._backlog)
            listener.setblocking(False)  # noqa: FBT003 - the library's
            self._sockets.append(listener)
        for listener in self._sockets:
            self._keep(self._accept(listener), "accept")

    async def stop(self) -> None:
        """Let nobody in any more. Who is in stays."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._sockets:
            listener.close()
        self._sockets.clear()
        await super().stop()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._turn()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("no connection could be accepted: %s", error)
                await asyncio.sleep(_FULL_SECONDS)
                continue
            if gave_up(accepted):
                accepted.close()
                await asyncio.sleep(0)
                continue
            self._going += 1
            self._keep(self._let_in(accepted), "handshake")

    async def _turn(self) -> None:
        """Until fewer than may be are under way, and no longer than the pace."""
        if self._going < (AT_ONCE if self._ready() else AT_ONCE_STARTING):
            return
        self._done.clear()
        try:
            async with asyncio.timeout(_PACE_SECONDS):
                await self._done.wait()
        except TimeoutError:
            return

    async def _let_in(self, accepted: socket.socket) -> None:
        server = self._runner.server
        assert server is not None  # noqa: S101 - there is one until all sites are stopped
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                server, accepted, ssl=self._tls, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except (OSError, TimeoutError) as error:
            accepted.close()
            log.debug("a connection did not come about: %s", error)
        finally:
            self._going -= 1
            self._done.set()

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"gateway-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def gave_up(accepted: socket.socket) -> bool:
    """Whether the other end has gone already; False where the system does not tell."""
    if _TCP_INFO is None:
        return False
    try:
        return accepted.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _ENDED
    except OSError:
        return False
