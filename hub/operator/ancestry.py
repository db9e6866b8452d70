"""Whether a commit is behind what a set runs: it came between two fetches, and no plan was ever made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.sources.pins import split_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.operator.context import HubContext

    Contains = Callable[[str, str, str, str], Awaitable[bool]]
    """(namespace of who reads, address, commit, revision): whether the commit's history has the revision."""


class Ancestry:
    def __init__(self, hub: HubContext, contains: Contains) -> None:
        self._hub = hub
        self._contains = contains

    async def behind(self, key: str, revision: str) -> bool:
        """Whether what the set's plan reads has the revision in its history. Raises the errors of `hub.sources`."""
        known = self._hub.state.sets.get(key)
        for name, commit in (known.revisions if known is not None else {}).items():
            if await self._contains(key.partition("/")[0], split_name(name)[0], commit, revision):
                return True
        return False
