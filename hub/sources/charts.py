"""Helm repositories and OCI registries as a source: a chart's archive by its digest, which is its commit.

An archive is fetched once and kept by its sha256; what is kept is checked again when it is read. An exact
version, once resolved, is asked for again like any other: a tag can be moved.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.sources.archives import files_of
from hub.sources.chartaddress import ChartAddress
from hub.sources.chartindex import ChartVersion, versions_of
from hub.sources.download import Downloader
from hub.sources.errors import (
    ChartInvalid,
    PathNotFound,
    RepositoryDenied,
    RepositoryUnreachable,
    RevisionNotFound,
    SignatureMissing,
)
from hub.sources.flight import Flights
from hub.sources.port import MAX_BYTES, RepoListing
from hub.sources.registry import Registry
from hub.sources.semver import Range, Version, is_range
from hub.sources.urls import checked_path, checked_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hub.sources.credentials import Credentials

MAX_INDEX = 64 * 1024 * 1024
MAX_ARCHIVE = 16 * 1024 * 1024
_NOT_MODIFIED = 304
_ANY = {"", "HEAD", "*"}


@dataclass(frozen=True, slots=True)
class _Index:
    etag: str
    versions: Mapping[str, Mapping[str, ChartVersion]]


class ChartRepositories:
    """Charts of all repositories; satisfies `hub.sources.port.Source` for addresses with `#`.

    `interval` in seconds: for so long an answer stands, unless somebody asks for a fresh one.
    """

    def __init__(
        self, cache_dir: Path, *, credentials: Callable[[str], Credentials | None], interval: float = 180.0
    ) -> None:
        self._cache = cache_dir.absolute()
        self._credentials = credentials
        self._interval = interval
        self._download = Downloader()
        self._indexes: dict[str, _Index] = {}
        self._asked: dict[str, float] = {}
        self._answers: dict[tuple[str, str], tuple[float, str]] = {}
        self._flights: Flights[str] = Flights()
        self._index_flights: Flights[_Index] = Flights()

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        """The digest of the version's archive, which is then in the cache."""
        address = ChartAddress.parse(repo_url)
        if not is_range(revision):
            checked_revision(revision)
        key, now = (str(address), revision), asyncio.get_running_loop().time()
        known = self._answers.get(key)
        if (
            known is not None
            and not fresh
            and now - known[0] < self._interval
            and self._path(known[1]).exists()
        ):
            return known[1]
        work = self._from_registry if address.repository else self._from_index
        digest = await self._flights.run(f"{address} {revision}", lambda: work(address, revision))
        self._answers[key] = (now, digest)
        self._asked[str(address)] = now
        return digest

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        """A chart never changes below its digest."""
        clean = checked_path(path)
        if not clean:
            return commit
        files = await self.files(repo_url, commit, "")
        below = any(name == clean or name.startswith(f"{clean}/") for name in files)
        return hashlib.sha256(f"{commit}:{clean}".encode()).hexdigest() if below else None

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        files = await self.files(repo_url, commit, "")
        folders = {name.rpartition("/")[0] for name in files} - {""}
        return RepoListing(tuple(sorted(files)), tuple(sorted(folders)))

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        clean = checked_path(path)
        data = await asyncio.to_thread(self._kept, commit)
        found = await asyncio.to_thread(files_of, data, limit_bytes=limit_bytes, where=repo_url)
        if not clean:
            return found
        if clean in found:
            return {clean.rpartition("/")[2]: found[clean]}
        return {name[len(clean) + 1 :]: one for name, one in found.items() if name.startswith(f"{clean}/")}

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        files = await self.files(repo_url, commit, "")
        missing = [path for path in paths if checked_path(path) not in files]
        if missing:
            raise PathNotFound(f"{missing[0]}: no such file in the chart")
        return {path: files[checked_path(path)] for path in paths}

    async def verify(self, repo_url: str, commit: str, keys: Sequence[str], *, revision: str = "") -> None:
        raise SignatureMissing(f"{repo_url}: signatures of charts are not verified")

    def known_at(self, repo_url: str) -> float | None:
        return self._asked.get(str(ChartAddress.parse(repo_url)))

    async def close(self) -> None:
        await self._download.close()

    async def _from_index(self, address: ChartAddress, revision: str) -> str:
        index = await self._index_flights.run(address.base, lambda: self._index(address))
        versions = index.versions.get(address.chart)
        if not versions:
            raise RevisionNotFound(f"{address}: the repository has no such chart")
        chosen = versions[_chosen(versions, revision, address)]
        if chosen.digest and self._path(chosen.digest).exists():
            return chosen.digest
        answer = await self._download.get(
            chosen.url, limit_bytes=MAX_ARCHIVE, authorization=self._authorization(chosen.url)
        )
        if not answer.body:
            raise RepositoryDenied(f"{address}: it answered {answer.status}")
        digest = hashlib.sha256(answer.body).hexdigest()
        if chosen.digest and digest != chosen.digest:
            raise ChartInvalid(f"{address}: version {chosen.version} does not have the digest of its index")
        await self._keep(digest, answer.body, str(address))
        return digest

    async def _index(self, address: ChartAddress) -> _Index:
        url = f"{address.base}/index.yaml"
        old = self._indexes.get(address.base)
        headers = {"If-None-Match": old.etag} if old and old.etag else {}
        answer = await self._download.get(
            url, limit_bytes=MAX_INDEX, authorization=self._authorization(url), headers=headers
        )
        if old is not None and answer.status == _NOT_MODIFIED:
            return old
        if not answer.body:
            raise RepositoryDenied(f"{address}: it answered {answer.status}")
        versions = await asyncio.to_thread(versions_of, answer.body, where=address.base)
        found = self._indexes[address.base] = _Index(answer.headers.get("etag", ""), versions)
        return found

    async def _from_registry(self, address: ChartAddress, revision: str) -> str:
        registry = Registry(
            address, self._download, self._credentials(f"{address.base}/{address.repository}")
        )
        exact = revision not in _ANY and not is_range(revision)
        version = revision if exact else _chosen(await registry.tags(), revision, address)
        digest = await registry.layer_of(version)
        if not self._path(digest).exists():
            await self._keep(digest, await registry.blob(digest, limit=MAX_ARCHIVE), str(address))
        return digest

    def _authorization(self, url: str) -> str:
        found = self._credentials(url)
        return found.header() if found else ""

    def _path(self, digest: str) -> Path:
        return self._cache / f"{digest}.tgz"

    async def _keep(self, digest: str, data: bytes, where: str) -> None:
        await asyncio.to_thread(files_of, data, limit_bytes=MAX_BYTES, where=where)
        await asyncio.to_thread(self._write, digest, data)

    def _write(self, digest: str, data: bytes) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._cache)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(self._path(digest))

    def _kept(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise RepositoryUnreachable(f"chart {digest[:12]} is not in the cache: refresh") from error
        if hashlib.sha256(data).hexdigest() != digest:
            self._path(digest).unlink(missing_ok=True)
            raise RepositoryUnreachable(f"chart {digest[:12]}: what was kept is damaged: refresh")
        return data


def _chosen(versions: Iterable[str], revision: str, address: ChartAddress) -> str:
    """The version that is meant, as the repository writes it."""
    known = list(versions)
    if revision in known:
        return revision
    if revision in _ANY or is_range(revision):
        best = Range.parse("*" if revision in _ANY else revision).best(known)
    else:
        wanted = Version.parse(revision)
        best = next((one for one in known if wanted is not None and Version.parse(one) == wanted), None)
    if best is None:
        raise RevisionNotFound(f"{address}: no version {revision or '*'}")
    return best
