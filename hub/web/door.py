"""The listening socket of the API, and what one connection may cost: a request's size, time in silence, a share."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hub.web.problems import ParameterInvalid, WebError, problem

if TYPE_CHECKING:
    import ssl

    from aiohttp.web_request import BaseRequest

log = logging.getLogger(__name__)

MAX_HEADER = 24 * 1024
"""Bytes of one header or of the request's line: a token has up to 16 KiB."""
IDLE_SECONDS = 75.0
"""Until the whole head of a request is there: the first one, or another on the same connection."""
UNREAD_SECONDS = 60.0
"""In which whoever is written to must take something of it."""
MAX_CONNECTIONS = 12_000
_HANDSHAKE_SECONDS = 15.0
_SHUTDOWN_SECONDS = 2.0
_BACKLOG = 4096
"""Connections that wait to be taken: when a hub comes back, all clients of its streams come at once."""


class Line(web.RequestHandler):
    """One caller's. What cannot be read as HTTP is refused in the same form as everything else."""

    door: Door
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.door.full:
            log.warning("a connection is closed: there are %d", MAX_CONNECTIONS)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = asyncio.get_running_loop().call_later(self.door.unread_seconds, self._abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses by itself: nothing of it is worth a line of the log."""
        if request.writer.output_size > 0:
            raise ConnectionError("it is answered in part")
        bad = status < 500  # noqa: PLR2004
        log.log(logging.DEBUG if bad else logging.ERROR, "a request failed: %s", message, exc_info=exc)
        said = ParameterInvalid("the request cannot be read: is a header, or the address, too long?")
        answer = problem(said if bad else WebError("it failed inside"))
        answer.force_close()
        return answer

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Door:
    """Listens between `open` and `close`."""

    def __init__(
        self,
        app: web.Application,
        *,
        idle_seconds: float = IDLE_SECONDS,
        unread_seconds: float = UNREAD_SECONDS,
    ) -> None:
        self.idle_seconds = idle_seconds
        self.unread_seconds = unread_seconds
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._listener: asyncio.Server | None = None

    @property
    def full(self) -> bool:
        server = self._runner.server
        return server is not None and len(server.connections) > MAX_CONNECTIONS

    @property
    def port(self) -> int:
        """Where it listens; 0 before `open`."""
        return int(self._listener.sockets[0].getsockname()[1]) if self._listener is not None else 0

    async def open(self, host: str, port: int, *, tls: ssl.SSLContext) -> None:
        """Port 0 takes a free one. Raises OSError where it cannot."""
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._line,
                host,
                port,
                ssl=tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except OSError:
            await self._runner.cleanup()
            raise

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()

    def _line(self) -> Line:
        server: Any = self._runner.server
        limits: dict[str, Any] = {
            "max_line_size": MAX_HEADER,
            "max_field_size": MAX_HEADER,
            "access_log": None,
            "auto_decompress": False,
        }
        made = Line(server, loop=asyncio.get_running_loop(), keepalive_timeout=self.idle_seconds, **limits)
        made.door = self
        return made
