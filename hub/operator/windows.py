"""Maintenance windows as a gate: nothing is let go to a cluster outside its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hub.api.cluster import MaintenanceWindow
from hub.core.windows import OPEN, WindowState, window_blocker, window_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from hub.core.model import AppNode, Blocker
    from hub.operator.context import HubContext

_LONGEST_SLEEP = 3600.0
_LATE = 0.1


class Windows:
    """`on_open` is called with a cluster whose window may have opened."""

    def __init__(self, hub: HubContext, *, on_open: Callable[[str], None]) -> None:
        self._hub = hub
        self._on_open = on_open
        self._parsed: dict[str, tuple[Manifest, tuple[MaintenanceWindow, ...]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def gate(self, node: AppNode) -> Blocker | None:
        state = self._state(node.cluster)
        held = window_blocker(node.cluster, state)
        if held is not None:
            self._look_again(node.cluster, state)
        return held

    def _state(self, name: str) -> WindowState:
        obj = self._hub.caches.clusters.get(name)
        if obj is None:
            return OPEN
        known = self._parsed.get(name)
        if known is None or known[0] is not obj:
            raw = (obj.get("spec") or {}).get("maintenanceWindows") or ()
            known = self._parsed[name] = (obj, tuple(MaintenanceWindow.model_validate(each) for each in raw))
        return window_state(known[1], self._hub.now()) if known[1] else OPEN

    def _look_again(self, name: str, state: WindowState) -> None:
        """Once for each cluster, when its window opens; sooner where that is far, since clocks are set."""
        if name in self._timers or state.changes is None:
            return
        delay = max(0.0, (state.changes - self._hub.now()).total_seconds()) + _LATE
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(min(delay, _LONGEST_SLEEP), self._due, name)

    def _due(self, name: str) -> None:
        self._timers.pop(name, None)
        self._on_open(name)
