"""Sees every write in the order in which the API server made them, and says which of the rules one broke."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.kube.client import RestClient
    from agent.kube.response import WatchEvent

_GONE = 410


class Witness:
    """Follows collections while it is open. `broken` is what was seen that must not be, in words."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self.broken: list[str] = []

    @asynccontextmanager
    async def following(self, *paths: tuple[str, Callable[[WatchEvent], str]]) -> AsyncIterator[None]:
        """From now on. Each event of a path is judged by its function, which gives what is wrong with it."""
        starts = [(await self._client.list(path)).resource_version for path, _ in paths]
        tasks = [
            asyncio.create_task(self._follow(path, judge, start))
            for (path, judge), start in zip(paths, starts, strict=True)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    self.broken.append(f"the witness itself: {ended!r}")

    async def _follow(self, path: str, judge: Callable[[WatchEvent], str], version: str) -> None:
        while True:
            try:
                async with aclosing(self._client.watch(path, resource_version=version)) as events:
                    async for event in events:
                        version = event.object["metadata"]["resourceVersion"]
                        if event.type != "BOOKMARK":
                            wrong = judge(event)
                            if wrong:
                                self.broken.append(wrong)
            except (ApiError, TransientError) as error:
                if isinstance(error, ApiError) and (not error.transient or error.status == _GONE):
                    raise  # what it cannot see it cannot judge
                await asyncio.sleep(0.1)


class Order:
    """I6: what comes after another app is never ahead of it, and goes before it. By the number in `data.v`."""

    def __init__(self, first: str, second: str) -> None:
        self._first, self._second = first, second
        self.at: dict[str, int] = {}
        self.seen: set[str] = set()

    def __call__(self, event: WatchEvent) -> str:
        name = event.object["metadata"]["name"]
        if name not in {self._first, self._second}:
            return ""
        self.seen.add(name)
        if event.type == "DELETED":
            self.at.pop(name, None)
        else:
            self.at[name] = int(event.object["data"]["v"])
        if self._second not in self.at or self.at[self._second] <= self.at.get(self._first, 0):
            return ""
        return (
            f"I6: {self._second} is at {self.at[self._second]}, {self._first} at {self.at.get(self._first)}"
        )


class Forward:
    """I7: of each Application, what is observed is never older than what was."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, Any]] = {}
        self._gone: set[tuple[str, str]] = set()

    @property
    def seen(self) -> set[str]:
        """The Applications of which anything was observed."""
        return set(self._last)

    def __call__(self, event: WatchEvent) -> str:
        name = event.object["metadata"]["name"]
        now = (event.object.get("status") or {}).get("observed")
        if not now:
            return ""
        before = self._last.get(name)
        self._last[name] = now
        if before is None or now == before:
            return ""
        if now["boot"] != before["boot"]:
            self._gone.add((name, before["boot"]))
        same = now["boot"] == before["boot"]
        wrong = [
            (
                now["boot"] != before["boot"] and (name, now["boot"]) in self._gone,
                "an ended process is heard again",
            ),
            (now["receivedAt"] < before["receivedAt"], "it was received earlier"),
            (same and now["count"] < before["count"], "its process said it earlier"),
            # A process that was killed may have told of what it had not stored yet: the next one knows the one before.
            (same and now["release"] < before["release"], "it is of an earlier release"),
            (
                same and (now["epoch"], now["seq"]) < (before["epoch"], before["seq"]),
                "it is of an earlier assignment",
            ),
        ]
        words = [why for holds, why in wrong if holds]
        return f"I7: {name}: {', '.join(words)}: {before} -> {now}" if words else ""
