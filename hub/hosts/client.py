"""One careful HTTP client for what generators ask: bounds, pages, rate limits, ETags.

A redirect, and a link to the next page, is followed on the same host only: the token goes nowhere else. A short
`Retry-After` is waited for; with a longer one the set waits at its last plan, and the host is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from agent.kube.proxy import environment_proxy
from hub.hosts.errors import HostBusy, HostDenied, HostNotFound, HostRefused, HostUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

MAX_BODY = 16 * 1024 * 1024
MAX_PAGES = 1000
TIMEOUT = 30.0
PATIENCE = 10.0
"""The longest Retry-After that is waited for within a request, in seconds."""
ATTEMPTS = 3
_REMEMBERED = 1000
_REMEMBERED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    value: Any
    headers: Mapping[str, str]
    next: str = ""
    """The address of the next page, by the `Link` header."""


@dataclass(slots=True)
class Memory:
    """Answers by address and who asked, with their ETags: an unchanged one costs the host next to nothing."""

    known: OrderedDict[tuple[str, str], tuple[str, Answer]] = field(default_factory=OrderedDict)

    def keep(self, key: tuple[str, str], etag: str, answer: Answer) -> None:
        self.known[key] = (etag, answer)
        self.known.move_to_end(key)
        while len(self.known) > _REMEMBERED:
            self.known.popitem(last=False)


class HostClient:
    """Asks one host, as one user. `authorization` is the headers that say who asks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        *,
        authorization: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        memory: Memory | None = None,
        identity: str = "",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._base = base_url(base)
        self._headers = {"Accept": "application/json", "User-Agent": "axletree", **(authorization or {})}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._memory = memory or Memory()
        self._identity = identity
        self._wall = wall

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """The JSON at a path below the base. Raises the errors of `hub.hosts.errors`."""
        return await self._ask("GET", self._url(path, params))

    async def post(self, path: str, body: Any) -> Answer:
        return await self._ask("POST", self._url(path, None), body=body)

    async def exists(self, path: str, params: Mapping[str, str | int] | None = None) -> bool:
        """Whether something is there: 404 is an answer here, not an error."""
        try:
            await self._ask("GET", self._url(path, params), parse=False)
        except HostNotFound:
            return False
        return True

    async def pages(self, path: str, params: Mapping[str, str | int] | None = None) -> AsyncIterator[Answer]:
        """This page, and those that each one's `Link` header names."""
        url = self._url(path, params)
        for _ in range(MAX_PAGES):
            answer = await self._ask("GET", url)
            yield answer
            if not answer.next:
                return
            url = self.below(answer.next)
        raise HostUnreachable(f"{self._base.host}: more than {MAX_PAGES} pages")

    def below(self, address: str) -> URL:
        """An address that the host named. Raises `HostRefused` where it is another host's."""
        url = self._base.join(URL(address))
        if url.origin() != self._base.origin():
            raise HostRefused(
                f"{self._base.host} names a page on another host, {url.host}: it is not followed"
            )
        return url

    async def follow(self, address: str) -> Answer:
        """The JSON at an address that the host named."""
        return await self._ask("GET", self.below(address))

    def _url(self, path: str, params: Mapping[str, str | int] | None) -> URL:
        url = URL(f"{str(self._base).rstrip('/')}/{path.lstrip('/')}", encoded=True)
        return url.update_query({key: str(value) for key, value in params.items()}) if params else url

    async def _ask(self, method: str, url: URL, *, body: Any = None, parse: bool = True) -> Answer:
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(method, url, body=body, parse=parse)
            except HostUnreachable as error:
                last = attempt == ATTEMPTS - 1
                if isinstance(error, HostDenied) or last or (error.retry_after or 0) > PATIENCE:
                    raise
                wait = error.retry_after if error.retry_after is not None else 0.2 * 2**attempt
                await asyncio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311 - jitter
        raise HostUnreachable(f"{url.host} does not answer")  # pragma: no cover - the loop raises before

    async def _once(self, method: str, url: URL, *, body: Any, parse: bool) -> Answer:
        key = (self._identity, str(url))
        known = self._memory.known.get(key) if method == "GET" and parse else None
        headers = {**self._headers, **({"If-None-Match": known[0]} if known else {})}
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                json=body,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=environment_proxy(str(url)),
            ) as response:
                if response.status == 304 and known:  # noqa: PLR2004 - an HTTP status
                    return known[1]
                self._check(response)
                data = await _body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HostUnreachable(f"{url.host}: {type(error).__name__}") from error
        if not parse:
            return Answer(None, response.headers)
        answer = Answer(_json(data, url), response.headers, _next(response))
        etag = response.headers.get("ETag")
        if etag and method == "GET" and len(data) <= _REMEMBERED_BYTES and not _full_at_the_end(url, answer):
            self._memory.keep(key, etag, answer)
        return answer

    def _check(self, response: aiohttp.ClientResponse) -> None:
        status, where = response.status, f"{response.url.host}{response.url.path}"
        if status < 300:  # noqa: PLR2004 - HTTP statuses, here and below
            return
        if status < 400:  # noqa: PLR2004
            raise HostRefused(f"{where} redirects; name the address that it redirects to")
        wait = self._retry_after(response)
        if status == 429 or (status == 403 and wait is not None):  # noqa: PLR2004
            raise HostBusy(f"{where} limits our rate ({status})", retry_after=wait)
        if status == 404:  # noqa: PLR2004
            raise HostNotFound(f"{where} is not there, or not for us (404)")
        if status < 500:  # noqa: PLR2004
            raise HostDenied(f"{where} refuses ({status})")
        raise HostUnreachable(f"{where} fails ({status})", retry_after=wait)

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """Seconds, by `Retry-After` (a number, a date), or by GitHub's and GitLab's words for a limit."""
        value = response.headers.get("Retry-After", "")
        if value.isdigit():
            return float(value)
        with contextlib.suppress(ValueError):
            return max(1.0, parsedate_to_datetime(value).timestamp() - self._wall())
        for family in ("X-RateLimit", "RateLimit"):
            reset = response.headers.get(f"{family}-Reset", "")
            if response.headers.get(f"{family}-Remaining") == "0" and reset.isdigit():
                return max(1.0, int(reset) - self._wall())
        return None


def base_url(text: str) -> URL:
    """An address to ask. Raises `HostRefused`."""
    try:
        url = URL(text)
    except ValueError as error:
        raise HostRefused("an address does not read") from error
    if url.scheme not in ("http", "https") or not url.host or url.user or url.password or url.query:
        raise HostRefused(
            f"{url.scheme}://{url.host}: an http or https address is expected, with no user or query"
        )
    return url


async def _body(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > MAX_BODY:
            raise HostUnreachable(f"{response.url.host}: an answer of more than {MAX_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _json(data: bytes, url: URL) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise HostUnreachable(f"{url.host}{url.path} answers something that is no JSON") from error


def _full_at_the_end(url: URL, answer: Answer) -> bool:
    """Whether it is a last page with no room left: what comes after it later would not change it, nor its ETag."""
    size = url.query.get("per_page") or url.query.get("limit") or ""
    full = isinstance(answer.value, list) and size.isdecimal() and len(answer.value) >= int(size)
    return full and not answer.next


def _next(response: aiohttp.ClientResponse) -> str:
    link = response.links.get("next")
    return str(link["url"]) if link else ""
