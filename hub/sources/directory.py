"""Directories in the place of repositories: `axle expand --repo URL=DIR` reads a checkout as it lies."""

# ruff: noqa: ARG002 - the port's methods, of which a directory has less to ask

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, TypeVar

from hub.sources import contents, walk
from hub.sources.chartaddress import ChartAddress, is_chart
from hub.sources.errors import RepositoryUnreachable, SourceTooLarge
from hub.sources.pins import Pin
from hub.sources.port import MAX_BYTES, RepoListing
from hub.sources.semver import is_range
from hub.sources.urls import RepoUrl, checked_path, checked_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hub.sources.signing import Trusted

LOCAL = "local"
"""The only commit of a directory: what lies there now."""

_T = TypeVar("_T")


class DirectoryObjects(walk.Objects):
    """A directory read like a repository: ids are paths below it; links are data for the walk to follow."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def trees(self, oids: Sequence[str]) -> list[Mapping[str, walk.Entry]]:
        return [self._tree(oid) for oid in oids]

    def blobs(self, oids: Sequence[str], *, limit_bytes: int) -> Iterator[bytes]:
        for oid in oids:
            path = self._top / oid
            if path.is_symlink():
                data = os.fsencode(path.readlink())
            else:
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                    # asked for first: a bounded read sets the whole bound aside in memory
                    if os.fstat(file.fileno()).st_size > limit_bytes:
                        raise SourceTooLarge(f"{oid}: too many bytes")
                    data = file.read()
            limit_bytes -= len(data)
            if limit_bytes < 0:
                raise SourceTooLarge(f"{oid}: too many bytes")
            yield data

    def _tree(self, oid: str) -> Mapping[str, walk.Entry]:
        entries: dict[str, walk.Entry] = {}
        with os.scandir(self._top / oid) as found:
            for item in found:
                below = f"{oid}/{item.name}" if oid else item.name
                if item.name == ".git":
                    continue
                if item.is_symlink():
                    entries[item.name] = walk.Entry(walk.Kind.LINK, below)
                elif item.is_dir():
                    entries[item.name] = walk.Entry(walk.Kind.DIR, below)
                elif item.is_file():
                    entries[item.name] = walk.Entry(walk.Kind.FILE, below)
        return entries


class DirectorySource:
    """Checkouts by repository address; satisfies `hub.sources.port.Source`. Revisions are all "local"."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._objects = {_key(url): DirectoryObjects(path.absolute()) for url, path in directories.items()}
        self._missing = {_key(url) for url, path in directories.items() if not path.is_dir()}

    def seen_by(self, namespace: str) -> DirectorySource:
        return self

    def reader(self, repo_url: str) -> str:
        return ""

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        if is_chart(repo_url):
            Pin.parse(revision)
        elif not is_range(revision):
            checked_revision(revision)
        self._of(repo_url)
        return LOCAL

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        """A hash over names and contents: unlike a Git id, it is as dear as reading."""
        clean = checked_path(path)

        def work(objects: DirectoryObjects) -> str | None:
            if walk.locate(objects, "", clean) is None:
                return None
            digest = hashlib.sha256()
            oids = walk.expand(objects, "", clean)
            for (name, _), data in zip(
                oids.items(), objects.blobs(list(oids.values()), limit_bytes=1 << 40), strict=True
            ):
                digest.update(f"{len(name)}:{name}:{len(data)}:".encode(errors="backslashreplace"))
                digest.update(data)
            return digest.hexdigest()

        return await self._in_thread(repo_url, work)

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        return await self._in_thread(repo_url, lambda objects: walk.listing(objects, ""))

    async def files(
        self,
        repo_url: str,
        commit: str,
        path: str,
        *,
        limit_bytes: int = MAX_BYTES,
    ) -> dict[str, bytes]:
        clean = checked_path(path)
        return await self._in_thread(
            repo_url, lambda objects: contents.below(objects, "", clean, limit_bytes=limit_bytes)
        )

    async def read(
        self,
        repo_url: str,
        commit: str,
        paths: Sequence[str],
    ) -> dict[str, bytes]:
        clean = {path: checked_path(path) for path in paths}
        found = await self._in_thread(
            repo_url, lambda objects: contents.named(objects, "", list(clean.values()), limit_bytes=MAX_BYTES)
        )
        return {path: found[clean[path]] for path in paths}

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        """A person's own folder is what it is."""

    def known_at(self, repo_url: str) -> float | None:
        self._of(repo_url)
        return asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Nothing is held."""

    def _of(self, repo_url: str) -> DirectoryObjects:
        key = _key(repo_url)
        if key not in self._objects:
            raise RepositoryUnreachable(f"{key}: no directory is given for it")
        if key in self._missing:
            raise RepositoryUnreachable(f"{key}: its directory does not exist")
        return self._objects[key]

    async def _in_thread(self, repo_url: str, work: Callable[[DirectoryObjects], _T]) -> _T:
        objects = self._of(repo_url)
        return await asyncio.to_thread(work, objects)


def _key(address: str) -> str:
    """An address in its one spelling: a repository's, or a chart's."""
    return str(ChartAddress.parse(address) if is_chart(address) else RepoUrl.parse(address))
