"""All sources behind one port: an address says by its form who answers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.sources.chartaddress import is_chart
from hub.sources.port import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hub.sources.port import RepoListing, Source
    from hub.sources.signing import Trusted


class Sources:
    """Git repositories and charts; satisfies `hub.sources.port.Source`.

    `folders` answer for the addresses in `mapped` instead.
    """

    def __init__(
        self, *, git: Source, charts: Source, folders: Source | None = None, mapped: Iterable[str] = ()
    ) -> None:
        self._git = git
        self._charts = charts
        self._folders = folders
        self._mapped = frozenset(mapped)
        self._views: dict[str, Sources] = {}

    def seen_by(self, namespace: str) -> Sources:
        view = self._views.get(namespace)
        if view is None:
            git, charts = self._git.seen_by(namespace), self._charts.seen_by(namespace)
            view = Sources(git=git, charts=charts, folders=self._folders, mapped=self._mapped)
            view._views = self._views
            self._views[namespace] = view
        return view

    def reader(self, repo_url: str) -> str:
        return self._of(repo_url).reader(repo_url)

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        return await self._of(repo_url).resolve(repo_url, revision, fresh=fresh)

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        return await self._of(repo_url).tree_id(repo_url, commit, path)

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        return await self._of(repo_url).listing(repo_url, commit)

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        return await self._of(repo_url).files(repo_url, commit, path, limit_bytes=limit_bytes)

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        return await self._of(repo_url).read(repo_url, commit, paths)

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        await self._of(repo_url).verify(repo_url, commit, keys, revision=revision)

    def known_at(self, repo_url: str) -> float | None:
        return self._of(repo_url).known_at(repo_url)

    async def close(self) -> None:
        try:
            await self._git.close()
        finally:
            await self._charts.close()

    def _of(self, repo_url: str) -> Source:
        if self._folders is not None and repo_url in self._mapped:
            return self._folders
        return self._charts if is_chart(repo_url) else self._git
