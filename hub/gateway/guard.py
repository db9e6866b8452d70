"""Enforces each route's policy before its handler runs, and turns every failure into one kind of answer."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import ValidationError

from agent.contract.canonical import canonical_json
from agent.contract.errors import ApiError, TransientError
from hub.gateway.errors import (
    BodyTimeout,
    BodyTooLarge,
    CertificateRequired,
    EncodingUnsupported,
    GatewayError,
    NotReady,
    RequestInvalid,
)
from hub.gateway.peers import Peer, peer_of
from hub.gateway.routes import Access, Route
from hub.telemetry.logs import about

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)

_BUSY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed its route's policy. `peer` is set where the policy asks for a certificate."""

    request: web.Request
    body: bytes
    peer: Peer | None

    @property
    def cluster(self) -> str:
        """The caller's own cluster: the only one that a handler may serve."""
        if self.peer is None:
            raise CertificateRequired("this route needs a client certificate")
        return self.peer.cluster


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Admit = Callable[[Peer], Awaitable[None]]
"""Raises unless the certificate is in force."""


class Guard:
    """Wraps handlers by their routes' policies."""

    def __init__(self, *, admit: Admit, ready: Callable[[], bool]) -> None:
        self._admit = admit
        self._ready = ready
        self._running: dict[str, int] = {}

    def wrap(self, route: Route, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Make the aiohttp handler of a route."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            running = self._running.get(route.name, 0)
            if running >= route.concurrency:
                return problem(NotReady("too many requests at once", retry_after=_BUSY_SECONDS))
            self._running[route.name] = running + 1
            try:
                async with asyncio.timeout(route.timeout):
                    call = await self._check(route, request)
                    with about(cluster=call.peer.cluster if call.peer is not None else ""):
                        return await handler(call)
            except Exception as error:  # noqa: BLE001 - the boundary of a request
                return problem(_as_answer(route, error))
            finally:
                self._running[route.name] -= 1

        return guarded

    async def _check(self, route: Route, request: web.Request) -> Call:
        peer = None
        if route.access is not Access.PUBLIC and not self._ready():
            raise NotReady("the hub is starting", retry_after=1)
        if route.access is Access.CERTIFICATE:
            peer = peer_from(request)
            await self._admit(peer)
        elif route.access is Access.PROVEN:
            peer = peer_from(request)
        return Call(request=request, body=await read_body(request, limit=route.max_body), peer=peer)


def peer_from(request: web.Request) -> Peer:
    """Who is at the other end, by the certificate that TLS has verified. Raises `CertificateRequired`."""
    connection: ssl.SSLObject | None = request.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    if not der:
        raise CertificateRequired("this route needs a client certificate")
    return peer_of(der)


async def read_body(request: web.Request, *, limit: int) -> bytes:
    """Read the body, of at most `limit` bytes packed and unpacked. It is never unpacked past that."""
    if limit == 0:
        return b""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise EncodingUnsupported("a body may be plain or gzip")
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(f"a body of this route has at most {limit} bytes")
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise BodyTooLarge(f"a body of this route has at most {limit} bytes")
    return bytes(data) if encoding == "identity" else _gunzip(bytes(data), limit)


def _gunzip(data: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise RequestInvalid("the body is not gzip") from error
    if len(plain) > limit:
        raise BodyTooLarge(f"a body of this route unpacks to at most {limit} bytes")
    if not unpacker.eof:
        raise RequestInvalid("the body's gzip stream is cut")
    return plain


def problem(error: GatewayError) -> web.Response:
    """RFC 9457. The reason is ours, the status what HTTP calls it."""
    content = {
        "type": "about:blank",
        "title": error.reason,
        "status": error.status,
        "reason": error.reason,
        "detail": str(error),
    }
    headers = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return web.Response(
        status=error.status,
        body=canonical_json(content),
        content_type="application/problem+json",
        headers=headers,
    )


def _as_answer(route: Route, error: Exception) -> GatewayError:
    """Choose what the caller learns. Failures of the hub's own parts are told in general terms and logged."""
    match error:
        case GatewayError():
            return error
        case ValidationError():
            return RequestInvalid(_fields(error))
        case TimeoutError():
            return BodyTimeout("the request took too long")
        case ApiError() | TransientError():
            log.warning("%s: %s", route.name, error)
            return NotReady(
                "the hub cannot reach its own state", retry_after=error.retry_after or _BUSY_SECONDS
            )
        case _:
            log.error("%s failed", route.name, exc_info=error)
            return GatewayError("the request failed on the hub")


def _fields(error: ValidationError) -> str:
    """Which fields are wrong and how, without what was sent: it may hold a token."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found[:5])[:1000]
