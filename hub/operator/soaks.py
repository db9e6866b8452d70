"""Edges that have to soak, as a gate: judged with each step, and looked at again when the time has come.

Since when each holds is in `status.soaks` of its app, from where another process goes on counting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hub.core.soaks import Soaks, soaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Blocker, Fleet
    from hub.operator.context import HubContext

_LONGEST_SLEEP = 3600.0
_LATE = 0.1


class Soaking:
    """`on_due` is called with an app of which an edge has soaked."""

    def __init__(self, hub: HubContext, graph: AppGraph, *, on_due: Callable[[AppKey], None]) -> None:
        self._hub = hub
        self._graph = graph
        self._on_due = on_due
        self._soaks = Soaks(graph)
        self._timers: dict[AppKey, asyncio.TimerHandle] = {}

    def look(self, keys: Iterable[AppKey], fleet: Fleet) -> None:
        """Take note of these apps' edges: what does not hold now begins anew when it does."""
        now = self._hub.now()
        for key in keys:
            node = self._graph.get(key)
            if node is not None and soaks(node):
                self._restored(node)
                self._soaks.look(node, fleet, now)
            elif self._soaks.knows(key):
                self._soaks.forget(key)

    def gate(self, node: AppNode) -> Blocker | None:
        if not soaks(node):
            return None
        self._restored(node)
        now = self._hub.now()
        held = self._soaks.blocker(node, now)
        if held is not None:
            self._look_again(node)
        return held

    def status(self, key: AppKey) -> list[dict[str, str]] | None:
        return self._soaks.to_json(key)

    def _restored(self, node: AppNode) -> None:
        if not self._soaks.knows(node.key):
            obj = self._hub.caches.applications.get(node.key)
            self._soaks.restore(node.key, ((obj or {}).get("status") or {}).get("soaks") or ())

    def _look_again(self, node: AppNode) -> None:
        now = self._hub.now()
        until = self._soaks.until(node, now)
        if node.key in self._timers or until is None:
            return
        delay = min((until - now).total_seconds() + _LATE, _LONGEST_SLEEP)
        self._timers[node.key] = asyncio.get_running_loop().call_later(delay, self._due, node.key)

    def _due(self, key: AppKey) -> None:
        self._timers.pop(key, None)
        self._on_due(key)
