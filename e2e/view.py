"""What one API server holds, kept by watches: conditions are checked at each change, never by sleeping."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from agent.kube.reflector import Reflector, key_of
from e2e.words import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.kube.client import RestClient

DEADLINE = 120.0
"""Seconds that a condition may take. Generous, since machines are shared; what is asserted is exact."""
_POLL = 0.05
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; `old` is None when it is new, `new` when it is gone."""

    path: str
    key: str
    old: Object | None
    new: Object | None


class View:
    """Live copies of some collections, and the log of how they came to be.

    Views that share `changed` wake each other: a check may look at all of them.
    """

    def __init__(self, client: RestClient, *paths: str, changed: asyncio.Event | None = None) -> None:
        self.client = client
        self.log: list[Change] = []
        self._changed = changed or asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reflectors = {path: Reflector(client, path) for path in paths}
        for path, reflector in self._reflectors.items():
            reflector.subscribe(lambda old, new, path=path: self._note(path, old, new))  # type: ignore[misc]

    async def __aenter__(self) -> Self:
        for reflector in self._reflectors.values():
            self._tasks.append(asyncio.create_task(reflector.run()))
        for reflector in self._reflectors.values():
            await reflector.wait_synced(DEADLINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def all(self, path: str) -> dict[str, Object]:
        """The collection as it is now, by `namespace/name`, or the name alone."""
        found = self._reflectors[path].items
        return {f"{namespace}/{name}" if namespace else name: obj for (namespace, name), obj in found.items()}

    def get(self, path: str, key: str) -> Object | None:
        namespace, _, name = key.rpartition("/")
        return self._reflectors[path].items.get((namespace, name))

    def since(self, mark: int, path: str) -> list[Change]:
        """Changes of one collection after the log had `mark` entries."""
        return [change for change in self.log[mark:] if change.path == path]

    async def eventually(self, check: Callable[[], None], *, seconds: float = DEADLINE) -> None:
        """Until `check` raises no AssertionError; its last one is raised when time is up."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            self._changed.clear()
            try:
                check()
            except AssertionError:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise
            else:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                check()
                return

    async def level(self, *, seconds: float = DEADLINE) -> None:
        """Until the watches have told all that lists say: one may be behind another, or behind what is known by now."""
        async with asyncio.timeout(seconds):
            for path, reflector in self._reflectors.items():
                while not await self._is_level(path, reflector):  # noqa: ASYNC110 - the server may go on
                    await asyncio.sleep(_POLL)

    async def _is_level(self, path: str, reflector: Reflector) -> bool:
        listed = (await self.client.list(path)).items
        seen = {key: version(obj) for key, obj in reflector.items.items()}
        return {key_of(obj): version(obj) for obj in listed} == seen

    async def throughout(self, check: Callable[[], None], *, seconds: float) -> None:
        """Hold for a while: for what must *not* happen, where nothing that happens later can show it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := deadline - loop.time()) > 0:
            check()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                break
        check()

    def _note(self, path: str, old: Object | None, new: Object | None) -> None:
        metadata = (new or old or {})["metadata"]
        namespace = metadata.get("namespace")
        key = f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
        self.log.append(Change(path, key, old, new))
        self._changed.set()
