"""Ask Git now and then: a commit that no webhook told of is found within the interval."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Protocol

from agent.contract.errors import AxletreeError
from hub.sources.pins import split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hub.operator.context import HubContext
    from hub.sources.port import Source

    Seen = tuple[str, str, str]
    """A namespace, `repo@revision` as its sets and apps read it, and the commit that it was."""

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
            if key in self._hub.caches.sets and moved & _read(key, state.revisions):
                self._plans.ask_set(key)
        for key, state in list(self._hub.state.apps.items()):
            if key in self._hub.caches.applications and moved & _read(key, state.revisions):
                self._plans.ask_app(key)

    async def _moved(self, only: Callable[[str], bool] | None) -> set[Seen]:
        """All that now names another commit."""
        states = [*self._hub.state.sets.items(), *self._hub.state.apps.items()]
        known = {
            one
            for key, state in states
            for one in _read(key, state.revisions)
            if only is None or only(one[1])
        }
        answers: dict[tuple[str, str], str] = {}
        asked: set[tuple[str, str]] = set()
        moved: set[Seen] = set()
        for namespace, name, commit in sorted(known):
            source, (repo, revision) = self._hub.source.seen_by(namespace), split_name(name)
            reader = source.reader(repo)
            if (reader, name) not in answers:
                answers[reader, name] = await _now(source, repo, revision, fresh=(reader, repo) not in asked)
                asked.add((reader, repo))
            if answers[reader, name] != commit:
                moved.add((namespace, name, commit))
        return moved


def _read(key: str, revisions: Mapping[str, str]) -> set[Seen]:
    namespace = key.partition("/")[0]
    return {(namespace, name, commit) for name, commit in revisions.items()}


async def _now(source: Source, repo: str, revision: str, *, fresh: bool) -> str:
    """The commit; empty where it cannot be told: the plan pass says so on the set, and keeps the last good plan."""
    try:
        return await source.resolve(repo, revision, fresh=fresh)
    except AxletreeError as error:
        log.warning("polling %s@%s: %s", repo, revision, error)
        return ""
