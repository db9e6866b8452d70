"""Decisions about deletion, recorded on the Applications, from which alone tombstones are made.

Dependents come first, a generation of the graph after the other. So whatever is recorded so far, also where a write
fails or the process ends between two, is closed under dependents: no tombstone is sent for what others still need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from hub.core.breaker import Breaker, breaker_of
from hub.operator import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hub.core.model import AppKey
    from hub.operator.context import HubContext

Order: TypeAlias = "Callable[[], list[list[AppKey]]]"
"""Generations of the graph's keys, each depending only on earlier ones."""


class Decisions:
    """`order` is asked at each recording: the graph moves."""

    def __init__(self, hub: HubContext, order: Order) -> None:
        self._hub = hub
        self._order = order

    async def record(self, decisions: Mapping[AppKey, dict[str, Any] | None]) -> None:
        """Write each `status.deletion`; None withdraws one. Raises ApiError at the first write that fails.

        What is withdrawn comes before what is decided, and what others need before them.
        """
        if not decisions:
            return
        generations = self._order() if len(decisions) > 1 else []
        placed = {key for generation in generations for key in generation}
        generations = [*generations, [key for key in sorted(decisions) if key not in placed]]
        withdrawn = {key for key, decision in decisions.items() if decision is None}
        for generation in generations:
            await self._write(decisions, (key for key in generation if key in withdrawn))
        for generation in reversed(generations):
            keys = (key for key in generation if key in decisions and key not in withdrawn)
            await self._write(decisions, keys)

    async def _write(self, decisions: Mapping[AppKey, dict[str, Any] | None], keys: Iterable[AppKey]) -> None:
        hub = self._hub
        for failure in await hub.writer.all(
            hub.writer.status(hub.caches.applications, paths.application(key), {"deletion": decisions[key]})
            for key in keys
        ):
            raise failure


def breaker_now(hub: HubContext) -> Breaker:
    """What may still go within this hour, by what is recorded."""
    drops = (each for state in hub.state.sets.values() for each in state.plan.get("drops") or ())
    return breaker_of(len(hub.caches.applications), hub.caches.decisions(), drops, now=hub.now())
