"""What the typed client speaks through: one session, problems as errors, events that resume by themselves."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from pydantic import BaseModel

from agent.contract.errors import TransientError
from hub.web import asked as q
from hub.web import models as m
from hub.web.policy import PREFIX
from hub.web.problems import WebError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

T = TypeVar("T", bound=BaseModel)

_SECONDS = 30.0
_SILENT_SECONDS = 45.0
"""A stream says something every 15 seconds; one that does not is dead."""
_RETRY_SECONDS = 1.0
_PASSING = frozenset({429, 502, 503, 504})


class ApiProblem(WebError):
    """A refusal as the API said it: `reason` and `status` are its own."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("detail") or f"the API answered {status}"))
        self.status = status
        self.reason = str(body.get("reason") or "ApiFailed")

    @property
    def passing(self) -> bool:
        """Whether the same may be answered in a moment: the database is away, or a proxy finds no hub."""
        return self.status in _PASSING


class ApiUnavailable(TransientError):
    """Nobody answers there, or not in time."""

    reason = "ApiUnavailable"


class Connection:
    """An async context manager. `ca` is a context that trusts the hub's CA; `token` a Kubernetes bearer token."""

    def __init__(self, url: str, *, token: str, ca: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ca),
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
        )
        self._url = url.rstrip("/") + PREFIX

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: BaseModel | None = None,
        body: BaseModel | None = None,
        key: str = "",
        seconds: float = _SECONDS,
    ) -> T:
        """One request. Raises `ApiProblem`, `ApiUnavailable`."""
        headers = {"Idempotency-Key": key} if key else {}
        sent = None if body is None else body.model_dump(mode="json", by_alias=True)
        try:
            async with self._session.request(
                method,
                self._url + path,
                params=_params(query),
                json=sent,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {error}", retry_after=_RETRY_SECONDS) from error
        if response.status >= 300:  # noqa: PLR2004
            raise ApiProblem(response.status, _object(raw))
        return answer.model_validate_json(raw)

    async def follow(
        self,
        query: q.EventQuery | None = None,
        *,
        last: int = 0,
        away: Callable[[ApiUnavailable], None] | None = None,
    ) -> AsyncGenerator[m.Event, None]:
        """Events as they happen, from now on or after the id `last`; comes back by itself where it is cut off.

        Raises `ApiProblem` where it may not listen; a hub that cannot answer for now is asked again, and `away`
        is told so once until it answers.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SILENT_SECONDS)
        told = False
        while True:
            headers = {"Last-Event-ID": str(last)} if last else {}
            try:
                async with self._session.get(
                    f"{self._url}/events", params=_params(query), headers=headers, timeout=timeout
                ) as response:
                    if response.status != 200:  # noqa: PLR2004
                        raise _refusal(response.status, await response.read())
                    told = False
                    async for raw in response.content:
                        if raw.startswith(b"data: "):
                            event = m.Event.model_validate_json(raw[6:])
                            last = event.id
                            yield event
            except (aiohttp.ClientError, TimeoutError, OSError, ApiUnavailable) as error:
                if away is not None and not told:
                    away(ApiUnavailable(f"GET /events: {str(error) or type(error).__name__}"))
                told = True  # it goes on after the last one
            await asyncio.sleep(_RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _refusal(status: int, raw: bytes) -> ApiProblem | ApiUnavailable:
    """What passes is no refusal of a stream, which is asked for again."""
    error = ApiProblem(status, _object(raw))
    return ApiUnavailable(str(error)) if error.passing else error


def _params(query: BaseModel | None) -> list[tuple[str, str]]:
    if query is None:
        return []
    given = query.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return [
        (key, str(each))
        for key, value in given.items()
        for each in (value if isinstance(value, list) else [value])
    ]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
