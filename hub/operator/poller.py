"""Ask Git now and then: a commit that no webhook told of is found within the interval."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Protocol

from agent.contract.errors import AxletreeError
from hub.sources.pins import split_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.operator.context import HubContext

log = logging.getLogger(__name__)


class Plans(Protocol):
    def ask_set(self, key: str, *, fresh: bool = False) -> None: ...

    def ask_app(self, key: str, *, fresh: bool = False) -> None: ...


class Poller:
    """One look an interval at every revision that a plan was made from."""

    def __init__(self, hub: HubContext, plans: Plans) -> None:
        self._hub = hub
        self._plans = plans

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._hub.settings.poll_interval * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            await self.look()

    async def look(self, only: Callable[[str], bool] | None = None) -> None:
        """Fetch each repository once; wake those whose revision has moved. `only` chooses by `repo@revision`."""
        moved = await self._moved(only)
        for key, state in list(self._hub.state.sets.items()):
            if key in self._hub.caches.sets and moved & state.revisions.items():
                self._plans.ask_set(key)
        for key, state in list(self._hub.state.apps.items()):
            if key in self._hub.caches.applications and moved & state.revisions.items():
                self._plans.ask_app(key)

    async def _moved(self, only: Callable[[str], bool] | None) -> set[tuple[str, str]]:
        """(`repo@revision`, old commit) of everything that now names another commit."""
        states = [*self._hub.state.sets.values(), *self._hub.state.apps.values()]
        known = {
            pair for state in states for pair in state.revisions.items() if only is None or only(pair[0])
        }
        asked: set[str] = set()
        moved: set[tuple[str, str]] = set()
        for name, commit in sorted(known):
            repo, revision = split_name(name)
            try:
                now = await self._hub.source.resolve(repo, revision, fresh=repo not in asked)
            except AxletreeError as error:
                log.warning("polling %s: %s", name, error)
                now = ""  # the plan pass will say so on the set, and keep the last good plan
            asked.add(repo)
            if now != commit:
                moved.add((name, commit))
        return moved
