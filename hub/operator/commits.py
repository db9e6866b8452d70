"""One pass's view of Git: a revision is resolved once, and every set of the pass reads that commit."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.sources.port import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.sources.port import RepoListing, Source
    from hub.sources.signing import Trusted


class Commits:
    """A `Source` that remembers what each revision was, errors included, for as long as a pass lasts."""

    def __init__(self, source: Source, *, fresh: bool) -> None:
        self._source = source
        self.fresh = fresh
        self._known: dict[tuple[str, str, str], asyncio.Task[str]] = {}
        self._pinned: dict[str, str] = {}

    def seen_by(self, namespace: str) -> Commits:
        """See `Source.seen_by`. What one reader found out in this pass, every Project with that reader knows."""
        source = self._source.seen_by(namespace)
        if source is self._source:
            return self
        view = copy.copy(self)
        view._source = source  # noqa: SLF001 - of our own kind
        return view

    def reader(self, repo_url: str) -> str:
        return self._source.reader(repo_url)

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        pinned = self._pinned.get(f"{repo_url}@{revision}")
        if pinned is not None:
            return pinned
        key = (self.reader(repo_url), repo_url, revision)
        if key not in self._known:
            resolving = self._source.resolve(repo_url, revision, fresh=fresh or self.fresh)
            self._known[key] = asyncio.ensure_future(resolving)
        return await asyncio.shield(self._known[key])

    @property
    def revisions(self) -> dict[str, str]:
        """`repo@revision` -> commit of everything that resolved in this pass, as its reader sees it."""
        return {
            f"{repo}@{revision}": task.result()
            for (reader, repo, revision), task in self._known.items()
            if task.done() and not isinstance(task.exception(), AxletreeError) and reader == self.reader(repo)
        }

    def pin(self, revisions: Mapping[str, str]) -> None:
        """From here on, these `repo@revision` mean these commits: a frozen plan reads no newer one."""
        self._pinned = dict(revisions)

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        return await self._source.tree_id(repo_url, commit, path)

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        return await self._source.listing(repo_url, commit)

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        return await self._source.files(repo_url, commit, path, limit_bytes=limit_bytes)

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        return await self._source.read(repo_url, commit, paths)

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        await self._source.verify(repo_url, commit, keys, revision=revision)

    def known_at(self, repo_url: str) -> float | None:
        return self._source.known_at(repo_url)

    async def close(self) -> None:
        """Nothing of its own: the source outlives the pass."""
