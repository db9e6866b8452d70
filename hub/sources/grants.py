"""What each Project may use now: the labelled Secrets, read again when one of them changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hub.sources.credentials import GitCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.contract.manifest import Manifest
    from hub.sources.credentials import Credentials, Granted

log = logging.getLogger(__name__)


class Grants:
    """`secrets` gives all that there are; whoever holds them calls `changed`."""

    def __init__(self, secrets: Callable[[], Iterable[Manifest]]) -> None:
        self._secrets = secrets
        self._all: GitCredentials | None = None
        self._granted: dict[str, Granted] = {}
        self._said: frozenset[str] = frozenset()

    def changed(self, *_: object) -> None:
        """A Secret came, changed or went: nothing that was read of them holds."""
        self._all = None
        self._granted.clear()

    def of(self, namespace: str) -> Granted:
        """What is for the Project of this namespace; for none ("") what is for all."""
        found = self._granted.get(namespace)
        if found is None:
            found = self._granted[namespace] = self._read().granted(namespace)
        return found

    def match(self, repo_url: str) -> Credentials | None:
        """Those for an address that any Project may use."""
        return self.of("").match(repo_url)

    def _read(self) -> GitCredentials:
        if self._all is None:
            self._all = GitCredentials.of(self._secrets())
            for problem in self._all.problems:
                if problem not in self._said:
                    log.warning("%s: it is not used", problem)
            self._said = frozenset(self._all.problems)
        return self._all
