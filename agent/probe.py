"""What a kubelet asks: `GET /livez` (does the process answer?) and `GET /readyz` (does it enforce what it holds?).

By hand over a stream, since a web framework would take more memory than all that it would say. The answers tell
nothing that needs a secret: which clusters' agents have not begun. An agent whose hub is away is ready: it enforces.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

_LIMIT = 4096
"""Bytes of a request's head."""
_AT_ONCE = 16


class Served(Protocol):
    """An agent, as far as it is asked."""

    @property
    def cluster(self) -> str: ...

    @property
    def enforcing(self) -> bool:
        """Whether what the spoke holds is known and kept."""


class Probe:
    """Answers on `port` of every address while it is open; `port` 0 is any that is free."""

    def __init__(self, agents: Sequence[Served], *, seconds: float = 5.0) -> None:
        self._agents, self._seconds = agents, seconds
        self._open = 0
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Raises `OSError` where the port is taken."""
        self._server = await asyncio.start_server(self._one, None, port, limit=_LIMIT)
        # Where it is any, each family has another one, in no order.
        families = {each.family: each for each in self._server.sockets}
        self.port = families.get(socket.AF_INET, self._server.sockets[0]).getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _AT_ONCE:
                async with asyncio.timeout(self._seconds):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            logger.debug("a probe was not answered: %r", error)
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].partition(b"?")[0]
        status, text = "404 Not Found", "there are /livez and /readyz"
        if method not in {b"GET", b"HEAD"}:
            status, text = "405 Method Not Allowed", "GET"
        elif path == b"/livez":
            status, text = "200 OK", "ok"
        elif path == b"/readyz":
            idle = [agent.cluster for agent in self._agents if not agent.enforcing]
            status, text = (
                ("503 Service Unavailable", f"not yet: {', '.join(idle)}") if idle else ("200 OK", "ok")
            )
        body = f"{text}\n".encode()
        lines = (
            f"HTTP/1.1 {status}",
            "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + (b"" if method == b"HEAD" else body)
