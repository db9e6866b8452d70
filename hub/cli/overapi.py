"""A hub over its API: what commands read, do and wait for, as whoever the token is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import GROUP
from agent.kube.response import Listing
from hub.cli.connect import NOT_FOUND
from hub.cli.reach import NoRoute
from hub.cli.watching import LINGER
from hub.web.asked import EventQuery, ObjectQuery
from hub.web.connection import ApiProblem, ApiUnavailable
from hub.web.problems import NothingToDo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.names import Found
    from hub.cli.reach import Body
    from hub.web.client import Client
    from hub.web.models import Done

_GONE = 410
_PAGE = 250
_LOOK_SECONDS = 2.0
"""Between two looks where no event says that there is more: not all that changes is one."""


class OverApi:
    """As whoever the token is; every act is in the hub's audit."""

    stopped = False

    def __init__(self, client: Client) -> None:
        self.client = client

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        namespace, plural, name = _parts(path)
        name = name or field_selector.removeprefix("metadata.name=")
        items: list[Manifest] = []
        cursor = ""
        while True:
            query = ObjectQuery(
                namespace=namespace, name=name, label_selector=label_selector, cursor=cursor, limit=_PAGE
            )
            page = await self._pages(plural)(query)
            items += page.items
            cursor = page.next_cursor
            if not cursor:
                return Listing(items, "")

    async def get(self, path: str) -> Manifest:
        found = (await self.list(path)).items
        if not found:
            raise ApiError(f"{path}: there is nothing here", status=NOT_FOUND, api_reason="NotFound")
        return found[0]

    async def hub_id(self) -> str | None:
        return (await self.client.hub()).id or None

    async def act(self, verb: str, found: Found, body: Body = None) -> Done | None:
        metadata = found.obj["metadata"]
        one = f"{found.kind.kind.lower()}"
        do: Any = getattr(self.client, f"{verb}_{one}")
        where = (metadata["namespace"], metadata["name"]) if found.kind.namespaced else (metadata["name"],)
        key = secrets.token_hex(16)
        given = () if body is None else (body,)
        try:
            done: Done = await do(*where, *given, key=key)
        except ApiProblem as error:
            if error.reason != NothingToDo.reason:
                raise
            return None
        return done

    def _pages(self, plural: str) -> Any:
        return getattr(self.client, f"{plural}_objects")

    @contextlib.asynccontextmanager
    async def following(self, *paths: str, name: str = "") -> AsyncIterator[Heard]:
        """The first list is made here, so that what is forbidden fails at once; a hub that is away is waited for."""
        heard = Heard(self, paths, name=name)
        await heard.look()
        tasks = [asyncio.create_task(each, name="follow") for each in (heard.listen(), heard.keep())]
        try:
            yield heard
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(LINGER)


class Heard:
    """Collections as they were when something was heard of them, or a moment ago."""

    def __init__(self, hub: OverApi, paths: Sequence[str], *, name: str) -> None:
        self._hub = hub
        self._paths = paths
        self._name = name
        self._lists: list[list[Manifest]] = []
        self._told, self._changed = asyncio.Event(), asyncio.Event()
        self._failed: Exception | None = None

    def objects(self, index: int = 0) -> list[Manifest]:
        return self._lists[index]

    async def change(self) -> None:
        """Raises what keeps it from being read, unless that passes."""
        await self._changed.wait()
        self._changed.clear()
        if self._failed is not None:
            raise self._failed

    async def look(self) -> None:
        selector = f"metadata.name={self._name}" if self._name else ""
        found = [(await self._hub.list(path, field_selector=selector)).items for path in self._paths]
        if found != self._lists:
            self._lists = found
            self._changed.set()

    async def listen(self) -> None:
        """Whoever may hear no events is served by looks alone."""
        with contextlib.suppress(ApiProblem):
            async with contextlib.aclosing(self._hub.client.follow(EventQuery(name=self._name))) as events:
                async for _ in events:
                    self._told.set()

    async def keep(self) -> None:
        while self._failed is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter
                    await self._told.wait()
            self._told.clear()
            try:
                await self.look()
            except ApiUnavailable:
                continue
            except AxletreeError as error:
                if not (isinstance(error, ApiProblem) and (error.passing or error.status == _GONE)):
                    self._failed = error
                    self._changed.set()


def _parts(path: str) -> tuple[str, str, str]:
    """Namespace, plural and name of a path of our kinds, or of the hub's Leases. Raises `NoRoute`."""
    words = path.strip("/").split("/")
    ours = words[:2] == ["apis", GROUP]
    if not ours and "/leases" not in path:
        raise NoRoute(f"{path}: the API does not tell of that; name a kubeconfig with --kubeconfig")
    rest = words[3:]
    namespace = rest[1] if rest[:1] == ["namespaces"] else ""
    plural, *name = rest[2:] if namespace else rest
    return namespace if ours else "", plural, name[0] if name else ""
