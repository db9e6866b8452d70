"""The one HTTPS session to the hub: pinned to its CA, by its name, never redirected, bounded.

Whatever is not plainly the hub's own answer is `NoInformation`: it says nothing about what should run here, and
changes nothing. A refused connection, a captive portal, a 404 and a hub that was replaced are all the same.
"""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import aiohttp
from yarl import URL

from agent.contract.errors import TransientError
from agent.kube.config import load_identity
from agent.kube.proxy import environment_proxy, without_users
from agent.kube.retryafter import seconds_asked
from agent.kube.transport import open_socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.link.identity import Identity

MAX_ANSWER = 64 * 1024 * 1024
"""An upper bound in bytes on any answer."""
REQUEST_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
"""Until a connection stands. Long: a hub that comes back lets a whole fleet in one after the other."""
_KEEP_ALIVE = 75.0
_CONNECTIONS = 6
_CHUNK = 256 * 1024
_MAX_PROBLEM = 16 * 1024


class NoInformation(TransientError):
    """An answer, or the lack of one, from which nothing follows."""

    reason = "NoInformation"


class HubUnreachable(NoInformation):
    """No connection that proves to be the hub's, or no answer in time."""

    reason = "HubUnreachable"


class HubNotVerified(HubUnreachable):
    """Something answers at the hub's address that no CA which is trusted here vouches for."""

    reason = "HubNotVerified"


class HubRefused(NoInformation):
    """The hub, or what stands in its place, answered with an unexpected status."""

    reason = "HubRefused"

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status


class Listener(Protocol):
    """Who wants to know how the hub answers, whatever was asked."""

    def answered(self, answer: Answer) -> None: ...

    def unverified(self) -> None: ...

    def cut(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer with its body exactly as it came over the wire: nothing was decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds, bounded to an hour, so that no answer silences an agent for longer."""
        return seconds_asked(self.headers.get("Retry-After", ""), now=time.time())

    @property
    def problem(self) -> str:
        """The gateway's reason in an answer that is a problem of its own (RFC 9457); empty in any other."""
        if not self.headers.get("Content-Type", "").startswith("application/problem+json"):
            return ""
        try:
            reason = json.loads(self.body[:_MAX_PROBLEM]).get("reason")
        except (ValueError, AttributeError, RecursionError):  # anybody may stand in the hub's place
            return ""
        return reason if isinstance(reason, str) and reason.isalnum() else ""

    def refused(self, what: str) -> HubRefused:
        """The failure that a status which nobody expected stands for."""
        told = f" ({self.problem})" if self.problem else ""
        return HubRefused(
            f"{what}: status {self.status}{told}", status=self.status, retry_after=self.retry_after
        )


def pinned_context(ca: str) -> ssl.SSLContext:
    """Trust this CA and no other, and check the server's name. Raises `ssl.SSLError` for what is no PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca)
    return context


def client_context(identity: Identity) -> ssl.SSLContext:
    """The pinned context with the agent's own certificate."""
    context = pinned_context(identity.ca)
    load_identity(context, certificate=identity.certificate, key=identity.private_key)
    return context


class HubSession:
    """Kept-alive connections to one hub. Safe to share between tasks of one loop; opened on first use."""

    def __init__(
        self, url: str, context: ssl.SSLContext, *, user_agent: str, listener: Listener | None = None
    ) -> None:
        self._listener = listener
        self._url = url
        self._context = context
        self._user_agent = user_agent
        self._open: aiohttp.ClientSession | None = None
        self._closed = False

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 - a request's own limit, handed to aiohttp
        quiet: float | None = None,
        limit: int = MAX_ANSWER,
    ) -> Answer:
        """One request, one answer of any status. Raises `HubUnreachable`.

        `timeout` bounds all of it, `quiet` the time without a byte: of what is large on a thin line, that says more.
        """
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        what = f"{method} {path}"
        if self._closed:
            raise HubUnreachable(f"{what}: the session has ended")
        try:
            async with self._session().request(
                method,
                URL(self._url + path, encoded=True),
                data=body,
                headers=sent,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS, sock_read=quiet),
            ) as response:
                answer = Answer(response.status, response.headers, await _read(response, limit, what))
        except aiohttp.ClientConnectorCertificateError as error:
            if self._listener is not None:
                self._listener.unverified()
            raise HubNotVerified(f"{what}: {without_users(str(error))}") from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if self._listener is not None and _is_cut(error):
                self._listener.cut()
            said = without_users(str(error)) or type(error).__name__
            raise HubUnreachable(f"{what}: {said}") from error
        if self._listener is not None:
            self._listener.answered(answer)
        return answer

    async def close(self) -> None:
        """For good: who still holds it, such as a download that waited for its turn, opens no connection any more."""
        self._closed = True
        session, self._open = self._open, None
        if session is not None:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS,
                    ssl=self._context,
                    keepalive_timeout=_KEEP_ALIVE,
                    socket_factory=open_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
                proxy=environment_proxy(self._url),
                auto_decompress=False,
            )
        return self._open


def _is_cut(error: Exception) -> bool:
    """Whether a connection stood, and ended without an answer.

    That is how TLS 1.3 refuses a client's certificate: after the handshake, by an alert that gets lost as often as not.
    """
    if isinstance(error, aiohttp.ClientConnectorError):
        return False
    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


async def _read(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    if (response.content_length or 0) > limit:
        raise HubUnreachable(f"{what}: the answer is longer than {limit} bytes")
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_chunked(_CHUNK):
        size += len(piece)
        if size > limit:
            raise HubUnreachable(f"{what}: the answer is longer than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)
