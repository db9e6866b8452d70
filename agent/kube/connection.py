"""One session with an API server, over kept-alive connections: single exchanges, and watches.

It adds as little as it can to each request: this is the hot path of hub and agent. Answers are not compressed (the
server is near, CPU is dear) and redirects are never followed (credentials stay where they belong).
"""

from __future__ import annotations

import asyncio
import io
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from agent.kube.credentials import TokenFile
from agent.kube.encoding import dumps_compact
from agent.kube.proxy import without_users
from agent.kube.response import (
    ApiUnreachable,
    LineSplitter,
    WatchEvent,
    decode_event,
    decode_object,
    raise_for_status,
)
from agent.kube.transport import KEEP_ALIVE, open_socket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType

    from agent.contract.manifest import Manifest
    from agent.kube.config import KubeConfig
    from agent.kube.encoding import Dumps, Loads

_UNAUTHORIZED = 401
_FIRST_FAILURE = 300
_WATCH_GRACE = 20.0
"""Seconds beyond a watch's own end after which its silent connection counts as dead."""
_LARGE_BODY = 1 << 20
"""Above this many bytes aiohttp wants a file, which it sends in pieces: one write would hold the loop up."""
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)


class _Request(NamedTuple):
    method: str
    url: URL
    body: aiohttp.Payload | None
    accept: str
    impersonate: str | None
    timeout: aiohttp.ClientTimeout


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Requests to one API server. An async context manager; safe to share between tasks of one loop.

    At most `limit` requests are under way at once; watches do not count. `loads` and `dumps` may be a faster
    JSON (bytes in, bytes out) where the process has one. HTTP failures raise `ApiError`, no answer
    `ApiUnreachable`.
    """

    def __init__(
        self,
        config: KubeConfig,
        *,
        user_agent: str,
        timeout: float = 30.0,
        limit: int = 64,
        loads: Loads = json.loads,
        dumps: Dumps = dumps_compact,
    ) -> None:
        self.config = config
        self._user_agent = user_agent
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._slots = asyncio.Semaphore(limit)
        self._loads = loads
        self._dumps = dumps
        self._token = TokenFile(config.token_file) if config.token_file else None
        self._open: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop all connections, for good: a request that comes late raises `ApiUnreachable`."""
        self._closed = True
        session, self._open = self._open, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        impersonate: str | None = None,
        accept: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - a request's own limit, handed to aiohttp
    ) -> Manifest:
        """One exchange, with the answer's object. `path` is already escaped; `body` is JSON or ready bytes.

        `impersonate` is a full user name. The API server itself adds the groups of a ServiceAccount, so that
        the caller needs the right to impersonate the account, and none on groups.
        """
        ref = f"{method} {path}"
        data = None if body is None else body if isinstance(body, bytes) else self._dumps(body)
        sent = _Request(
            method,
            self._url(path, params),
            None if data is None else _payload(data, content_type),
            accept,
            impersonate,
            self._timeout if timeout is None else aiohttp.ClientTimeout(total=timeout),
        )
        answer = await self._exchange(sent, ref=ref)
        if answer.status == _UNAUTHORIZED and self._renewed():
            if data is not None:
                sent = sent._replace(body=_payload(data, content_type))
            answer = await self._exchange(sent, ref=ref)
        if answer.status >= _FIRST_FAILURE:
            raise_for_status(answer.status, answer.headers, answer.body, loads=self._loads, ref=ref)
        return decode_object(answer.body, loads=self._loads, ref=ref)

    async def _exchange(self, sent: _Request, *, ref: str) -> _Answer:
        """Send, and read the whole answer while the slot and the time are ours."""
        session, headers = self._session(), self._headers(sent.impersonate)
        if sent.accept:
            headers["Accept"] = sent.accept
        try:
            async with (
                self._slots,
                session.request(
                    sent.method,
                    sent.url,
                    headers=headers,
                    data=sent.body,
                    timeout=sent.timeout,
                    allow_redirects=False,
                    server_hostname=self.config.server_hostname,
                ) as response,
            ):
                return _Answer(response.status, response.headers, await response.read())
        except _NO_ANSWER as error:
            raise _unreachable(ref, error) from error

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout: float = 290,  # noqa: ASYNC109 - the server ends the watch by it
    ) -> AsyncGenerator[WatchEvent, None]:
        """Follow changes after `resource_version`, with bookmarks, until the server ends it (`timeout` s).

        ERROR events raise their `ApiError` (410: list again), a broken connection `ApiUnreachable`. Close the
        generator (`contextlib.aclosing`) when leaving it early.
        """
        ref = f"WATCH {path}"
        params = selection(label_selector, field_selector) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout))),
        }
        splitter = LineSplitter()
        try:
            async with asyncio.timeout(self._timeout.total):
                response = await self._session().get(
                    self._url(path, params),
                    headers=self._headers(None),
                    timeout=aiohttp.ClientTimeout(sock_read=timeout + _WATCH_GRACE),
                    allow_redirects=False,
                    server_hostname=self.config.server_hostname,
                )
            async with response:
                if response.status >= _FIRST_FAILURE:
                    if response.status == _UNAUTHORIZED:
                        self._renewed()
                    payload = await response.read()
                    raise_for_status(response.status, response.headers, payload, loads=self._loads, ref=ref)
                try:
                    async for chunk in response.content.iter_any():
                        for line in splitter.feed(chunk):
                            yield decode_event(line, loads=self._loads, ref=ref)
                finally:
                    _abort(response)
        except _NO_ANSWER as error:
            raise _unreachable(ref, error) from error

    def _session(self) -> aiohttp.ClientSession:
        """Open on first use: a session belongs to the running loop, which construction need not have."""
        if self._closed:
            raise ApiUnreachable(f"the connections with {self.config.server} are closed")
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    ssl=self.config.ssl or True,
                    keepalive_timeout=KEEP_ALIVE,
                    socket_factory=open_socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": self._user_agent,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    **self.config.headers,
                },
                proxy=self.config.proxy,
                timeout=self._timeout,
            )
        return self._open

    def _headers(self, impersonate: str | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self._token is not None:
            try:
                headers["Authorization"] = self._token.header()
            except OSError as error:
                raise ApiUnreachable(f"the token file cannot be read: {error}") from error
        if impersonate:
            headers["Impersonate-User"] = impersonate
        return headers

    def _renewed(self) -> bool:
        return self._token is not None and self._token.reread()

    def _url(self, path: str, params: Mapping[str, str] | None) -> URL:
        query = _query(tuple(params.items())) if params else ""
        return URL(f"{self.config.server}{path}{query}", encoded=True)


@lru_cache(256)
def _query(params: tuple[tuple[str, str], ...]) -> str:
    """Nearly all requests of a process ask with the same few."""
    return f"?{urlencode(params)}"


def _payload(data: bytes, content_type: str) -> aiohttp.Payload:
    """The body as aiohttp wants it in the end: it need not find out what that is."""
    if len(data) > _LARGE_BODY:
        return aiohttp.BytesIOPayload(io.BytesIO(data), content_type=content_type)
    return aiohttp.BytesPayload(data, content_type=content_type)


def selection(label_selector: str, field_selector: str) -> dict[str, str]:
    """Query parameters of a list or a watch."""
    wanted = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in wanted.items() if value}


def _abort(response: aiohttp.ClientResponse) -> None:
    """Drop the connection of a watch that was left early: a polite TLS shutdown would outlive its loop.

    After the server's own end there is none any more: it went back to the pool.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _unreachable(ref: str, error: BaseException) -> ApiUnreachable:
    return ApiUnreachable(f"{ref}: {without_users(str(error)) or type(error).__name__}")
