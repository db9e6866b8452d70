"""Inputs: who takes what from whom, and the targets that are made of it.

The release loop has an app with inputs looked at whenever something about its producers moved; what is due is
rendered by the plan loop, which alone makes targets. A new value waits a moment for more to come, and one app takes
six in ten minutes: what goes round in a circle through the world must not go round for ever.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, AxletreeError, TerminalError, TransientError
from hub.core.inputs import LIMIT, Bound, bind, flapping, pace
from hub.operator.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Fleet
    from hub.operator.context import HubContext

log = logging.getLogger(__name__)
DEBOUNCE = 1.0
RETRY_SECONDS = 5.0


class Binder:
    """`ask(key)` has `bind` called with the key by the plan loop; `wake(key)` has its status written anew."""

    def __init__(self, hub: HubContext, graph: AppGraph, *, wake: Callable[[AppKey], None]) -> None:
        self.ask: Callable[[AppKey], None] = wake
        self._hub = hub
        self._graph = graph
        self._wake = wake
        self._targets = Targets(hub)
        self._timers: dict[AppKey, asyncio.TimerHandle] = {}

    def look(self, keys: Iterable[AppKey], fleet: Fleet) -> None:
        """Have those bound anew whose inputs are there and are not what their target was made with."""
        for key in keys:
            node = self._graph.get(key)
            if node is None:
                self._forget(key)
            elif node.inputs:
                self._look(node, fleet)

    async def bind(self, keys: Iterable[AppKey]) -> set[AppKey]:
        """Make the targets of these with the values of now; gives those whose target moved. Raises `ApiError`."""
        fleet = self._hub.fleet()
        moved: set[AppKey] = set()
        for key in sorted(keys):
            node = self._graph.get(key)
            if node is None or node.deleting or not node.inputs:
                continue
            values = bind(node, self._graph, fleet)
            if isinstance(values, Bound) and await self._bind(node, values, fleet):
                moved.add(key)
        return moved

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look(self, node: AppNode, fleet: Fleet) -> None:
        values = bind(node, self._graph, fleet)
        held = self._hub.state.bound.get(node.key)
        if node.deleting or node.pinned or isinstance(values, tuple):
            self._calm(node.key)
            return
        if self._unbound(node.key):
            self._calm(node.key)
            self.ask(node.key)
        elif held is not None and held.text == values.text:
            self._calm(node.key)
        elif node.key not in self._timers:
            self._later(node)

    def _later(self, node: AppNode) -> None:
        """A new value: soon, or when it has become quiet."""
        now = self._hub.now()
        until = pace(self._changes(node.key), now)
        if until is None:
            self._timer(node.key, DEBOUNCE, self.ask)
            return
        self._timer(node.key, (until - now).total_seconds(), self._wake)
        self._hub.state.flapping[node.key] = flapping(until)
        log.warning("%s: %s", node.key, flapping(until), extra={"application": node.key})
        self._wake(node.key)

    async def _bind(self, node: AppNode, values: Bound, fleet: Fleet) -> bool:
        state = self._hub.state
        fresh = self._unbound(node.key)
        held = state.bound.get(node.key)
        if not fresh and held is not None and held.text == values.text:
            return False
        try:
            await self._targets.bind(node.key, values, fleet)
        except ApiError:
            raise
        except (TransientError, TimeoutError) as error:
            log.warning(
                "%s is not rendered with its inputs: %s; again in %.0f s",
                node.key,
                error,
                RETRY_SECONDS,
                extra={"application": node.key},
            )
            self._timer(node.key, RETRY_SECONDS, self.ask)
            return False
        except (AxletreeError, ValueError) as error:
            self._targets.fail(node.key, error, permanent=isinstance(error, TerminalError | ValueError))
        state.bound[node.key] = values
        state.bound_at[node.key] = self._hub.now()
        if not fresh and held is not None:
            state.input_changes[node.key] = (*self._changes(node.key), self._hub.now())[-LIMIT:]
        self._calm(node.key)
        return True

    def _changes(self, key: AppKey) -> tuple[datetime, ...]:
        """When it took new values; a hub that starts again knows it from the status: the limit outlasts it."""
        known = self._hub.state.input_changes.get(key)
        if known is None:
            status = (self._hub.caches.applications.get(key) or {}).get("status") or {}
            known = tuple(datetime.fromisoformat(each["at"]) for each in status.get("inputChanges") or ())
            self._hub.state.input_changes[key] = known
        return known

    def _unbound(self, key: AppKey) -> bool:
        """Whether the plan waits for values before there is a target at all."""
        target = self._hub.state.targets.get(key)
        return target is not None and target.unbound

    def _timer(self, key: AppKey, seconds: float, act: Callable[[AppKey], None]) -> None:
        def due() -> None:
            self._timers.pop(key, None)
            self._hub.state.flapping.pop(key, None)
            act(key)

        self._stop(key)
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, due)

    def _stop(self, key: AppKey) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _calm(self, key: AppKey) -> None:
        """Nothing is due."""
        self._stop(key)
        if self._hub.state.flapping.pop(key, None) is not None:
            self._wake(key)

    def _forget(self, key: AppKey) -> None:
        self._stop(key)
        state = self._hub.state
        for known in (state.input_changes, state.bound, state.bound_at, state.flapping, state.outputs):
            known.pop(key, None)
