"""GET over HTTP for sources: bounded in time and size, credentials for one host only, redirects followed without.

A repository's answer decides where the next request goes. So that it cannot lead a secret away, the
`Authorization` header stays with the origin it was given for, and https never becomes http.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from agent.kube.proxy import environment_proxy, without_users
from hub.sources.errors import RepositoryDenied, RepositoryRefused, RepositoryUnreachable, SourceTooLarge
from hub.sources.reach import is_never_asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.abc import ResolveResult

SECONDS = 60.0
MAX_REDIRECTS = 3
_CHUNK = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_REDIRECTS = {301, 302, 303, 307, 308}
_OK, _NOT_MODIFIED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 304, 401, 403, 404


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 200, 304 or 401; others are raised. Names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class _Resolver(aiohttp.ThreadedResolver):
    """Names that lead to where no source is are refused as such addresses are."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if any(is_never_asked(one["host"]) for one in found):
            raise RepositoryRefused(f"{host[:200]!a}: it leads to a link-local or metadata address")
        return found


class Downloader:
    """One client session, made with the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self,
        url: str,
        *,
        limit_bytes: int,
        authorization: str = "",
        headers: Mapping[str, str] | None = None,
        packed: bool = False,
    ) -> Answer:
        """One answer, redirects followed.

        `packed` lets the server compress what it sends, for texts; `limit_bytes` holds packed and unpacked.
        Archives come as they are, also where a server calls their own compression an encoding. Raises
        `RepositoryUnreachable`, `RepositoryDenied`, `RepositoryRefused`, `SourceTooLarge`.
        """
        at = _address(url, url)
        origin = at.origin()
        encoding = {"Accept-Encoding": "gzip" if packed else "identity"}
        for _ in range(MAX_REDIRECTS + 1):
            sent = {**(headers or {}), **encoding}
            if authorization and at.origin() == origin:
                sent["Authorization"] = authorization
            try:
                async with asyncio.timeout(SECONDS):
                    answer = await self._once(at, sent, limit_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                said = without_users(str(error)) or type(error).__name__
                raise RepositoryUnreachable(f"{at.with_query(None)}: {said[:300]}") from error
            if not isinstance(answer, URL):
                return _unpacked(answer, limit_bytes, str(at.with_query(None))) if packed else answer
            if answer.scheme not in {"https", at.scheme}:
                raise RepositoryRefused(f"{at.with_query(None)}: it redirects to another protocol")
            at = answer
        raise RepositoryRefused(f"{url}: it redirects more than {MAX_REDIRECTS} times")

    async def _once(self, at: URL, headers: Mapping[str, str], limit_bytes: int) -> Answer | URL:
        if self._session is None:
            # `trust_env` would bring ~/.netrc along with the proxies: credentials that no Secret gave
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_Resolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        proxy = environment_proxy(str(at))
        async with self._session.get(at, headers=headers, allow_redirects=False, proxy=proxy) as response:
            shown = at.with_query(None)
            if response.status in _REDIRECTS and "Location" in response.headers:
                return _address(response.headers["Location"], str(shown), base=at)
            found = {name.lower(): value for name, value in response.headers.items()}
            if response.status in (_UNAUTHORIZED, _NOT_MODIFIED):
                return Answer(response.status, b"", found)
            if response.status in (_FORBIDDEN, _NOT_FOUND):
                raise RepositoryDenied(f"{shown}: it answered {response.status}")
            if response.status != _OK:
                raise RepositoryUnreachable(f"{shown}: it answered {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > limit_bytes:
                    raise SourceTooLarge(f"{shown}: more than {limit_bytes} bytes")
            return Answer(response.status, bytes(body), found)


def _address(text: str, shown: str, *, base: URL | None = None) -> URL:
    """What a repository said, as an address without a user. Raises `RepositoryRefused`, whatever stands there."""
    try:
        found = (base.join(URL(text)) if base is not None else URL(text)).with_user(None)
    except ValueError as error:
        raise RepositoryRefused(f"{shown}: it names an address that does not read") from error
    if found.host and is_never_asked(found.host):
        raise RepositoryRefused(f"{shown}: it names a link-local or metadata address")
    if found.host and found.port:
        return found
    raise RepositoryRefused(f"{shown}: it names an address without a host")


def _unpacked(answer: Answer, limit_bytes: int, shown: str) -> Answer:
    """The answer's text, never unpacked past the bound."""
    if answer.headers.get("content-encoding", "").lower() != "gzip" or not answer.body:
        return answer
    inflate = zlib.decompressobj(_GZIP)
    try:
        plain = inflate.decompress(answer.body, limit_bytes + 1)
    except zlib.error as error:
        raise RepositoryUnreachable(f"{shown}: what it sent is not the gzip that it says") from error
    if len(plain) > limit_bytes:
        raise SourceTooLarge(f"{shown}: it unpacks to more than {limit_bytes} bytes")
    if not inflate.eof:
        raise RepositoryUnreachable(f"{shown}: what it sent is cut")
    return Answer(answer.status, plain, answer.headers)
