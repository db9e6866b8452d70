"""One careful POST: a time limit, no redirects, a bounded answer, and nothing of either in an error."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from agent.kube.proxy import environment_proxy
from hub.notify.errors import SinkAway, SinkInvalid, SinkRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 10.0
_MAX_ANSWER = 64 * 1024
_MAX_WAIT = 3600.0
_BUSY = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to, and who asks. The address may be a secret itself."""

    url: URL = field(repr=False)
    token: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, *, token: str = "", ca: str = "") -> Target:
        """Raises `SinkInvalid`."""
        try:
            found = URL(url)
        except ValueError as error:
            raise SinkInvalid("its url does not read") from error
        if found.scheme not in ("http", "https") or not found.host or found.user or found.password:
            raise SinkInvalid("its url is no http or https address, or holds credentials")
        if not token.isascii() or not token.isprintable():
            raise SinkInvalid("its token holds characters that no header may")
        return cls(found, token, ca)

    def below(self, path: str) -> URL:
        """The address of an encoded path below this one."""
        return URL(f"{str(self.url).rstrip('/')}/{path}", encoded=True)


async def post(
    session: aiohttp.ClientSession,
    url: URL,
    *,
    body: bytes,
    headers: Mapping[str, str],
    ca: str = "",
    accept: frozenset[int] = frozenset(),
) -> tuple[int, bytes]:
    """The status (2xx, or one of `accept`) and the answer. Raises `SinkAway`, `SinkRefused`, `SinkInvalid`."""
    try:
        async with session.post(
            url,
            data=body,
            headers={"User-Agent": "axletree", **headers},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            allow_redirects=False,
            ssl=_trust(ca) if ca else True,
            proxy=environment_proxy(str(url)),
        ) as response:
            status = response.status
            if status < 300 or status in accept:  # noqa: PLR2004 - HTTP statuses, here and below
                return status, await _some(response)
            wait = _retry_after(response.headers.get("Retry-After", ""))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SinkAway(f"{url.host}: {type(error).__name__}") from error
    if status in _BUSY or status >= 500 or wait is not None:  # noqa: PLR2004
        raise SinkAway(f"{url.host} answers {status}", retry_after=wait)
    raise SinkRefused(f"{url.host} answers {status}")


async def _some(response: aiohttp.ClientResponse) -> bytes:
    return await response.content.read(_MAX_ANSWER)


def _retry_after(value: str) -> float | None:
    return min(float(value), _MAX_WAIT) if value.isdigit() else None


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise SinkInvalid("its ca does not read") from error
