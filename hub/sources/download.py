"""GET over HTTP for sources: bounded in time and size, credentials for one host only, redirects followed without.

A repository's answer decides where the next request goes. So that it cannot lead a secret away, the
`Authorization` header stays with the origin it was given for, and https never becomes http.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from hub.sources.errors import RepositoryDenied, RepositoryRefused, RepositoryUnreachable, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 60.0
MAX_REDIRECTS = 3
_CHUNK = 256 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_OK, _NOT_MODIFIED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 304, 401, 403, 404


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 200, 304 or 401; others are raised. Names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


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
        self, url: str, *, limit_bytes: int, authorization: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises `RepositoryUnreachable`, `RepositoryDenied`, `RepositoryRefused`, `SourceTooLarge`."""
        at = URL(url)
        origin = at.origin()
        for _ in range(MAX_REDIRECTS + 1):
            sent = dict(headers or {})
            if authorization and at.origin() == origin:
                sent["Authorization"] = authorization
            try:
                async with asyncio.timeout(SECONDS):
                    answer = await self._once(at, sent, limit_bytes)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                said = str(error) or type(error).__name__
                raise RepositoryUnreachable(f"{at.with_query(None)}: {said[:300]}") from error
            if not isinstance(answer, URL):
                return answer
            if answer.scheme not in {"https", at.scheme} or not answer.host:
                raise RepositoryRefused(f"{at.with_query(None)}: it redirects to another protocol")
            at = answer
        raise RepositoryRefused(f"{url}: it redirects more than {MAX_REDIRECTS} times")

    async def _once(self, at: URL, headers: Mapping[str, str], limit_bytes: int) -> Answer | URL:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(at, headers=headers, allow_redirects=False) as response:
            shown = at.with_query(None)
            if response.status in _REDIRECTS and "Location" in response.headers:
                return at.join(URL(response.headers["Location"])).with_user(None)
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
