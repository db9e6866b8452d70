"""Helm repositories and OCI registries as a source: an archive by its digest, which is its commit.

An archive is fetched once and kept by its sha256; what is kept is checked again when it is read. An exact
version, once resolved, is asked for again like any other: a tag can be moved. A digest in the revision pins it.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.sources.archives import files_of
from hub.sources.chartaddress import ChartAddress
from hub.sources.chartindex import ChartVersion, versions_of
from hub.sources.download import Downloader
from hub.sources.errors import ChartInvalid, PathNotFound, RepositoryDenied, RevisionNotFound
from hub.sources.flight import Flights
from hub.sources.kept import KeptArchives, Origin
from hub.sources.pins import LATEST, Pin
from hub.sources.port import MAX_BYTES, RepoListing
from hub.sources.registry import Registry
from hub.sources.semver import Range, Version, is_range
from hub.sources.urls import checked_path
from hub.sources.vouchers import Found, Reader, Vouchers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hub.sources.credentials import Credentials, Granted
    from hub.sources.signing import Trusted

MAX_INDEX = 64 * 1024 * 1024
MAX_ARCHIVE = 16 * 1024 * 1024
_NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class _Index:
    etag: str
    versions: Mapping[str, Mapping[str, ChartVersion]]


class ChartRepositories:
    """Charts and artifacts of all repositories; satisfies `hub.sources.port.Source` for `#` and `oci://`.

    `credentials` gives those of an address, and `projects` what a namespace's Project may use. A chart takes several:
    its index, its archive and a registry's tokens are at other hosts. So a Project that has any of its own shares no
    answer with others; `interval` in seconds: for so long one stands, unless somebody asks for a fresh one.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        credentials: Callable[[str], Credentials | None],
        projects: Callable[[str], Granted] | None = None,
        interval: float = 180.0,
    ) -> None:
        self._kept = KeptArchives(cache_dir.absolute())
        self._credentials = credentials
        self._projects = projects
        self._namespace = ""
        self._interval = interval
        self._download = Downloader()
        self._indexes: dict[str, _Index] = {}
        self._asked: dict[str, float] = {}
        self._answers: dict[tuple[str, str], tuple[float, str]] = {}
        self._flights: Flights[str] = Flights()
        self._index_flights: Flights[_Index] = Flights()
        self._vouchers = Vouchers(self._kept, self._download)

    def seen_by(self, namespace: str) -> ChartRepositories:
        """See `Source.seen_by`. All views share one cache; whoever made the first one closes it."""
        granted = self._projects
        if granted is None:
            return self
        view = copy.copy(self)
        view._namespace = namespace  # noqa: SLF001 - of our own kind
        return view

    def reader(self, repo_url: str) -> str:  # noqa: ARG002 - the port's: one chart is read from several addresses
        """The namespace, where its Project has credentials that not everybody has."""
        return self._reader().name

    def _reader(self) -> Reader:
        """Who reads, as of now: what is begun with some credentials is kept under the name that goes with them."""
        if self._projects is None or not self._namespace:
            return Reader("", self._credentials)
        granted = self._projects(self._namespace)
        return Reader(self._namespace if granted.particular else "", granted.match)

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        """The digest of the version's archive, which is then in the cache."""
        address, pin, reader = ChartAddress.parse(repo_url), Pin.parse(revision), self._reader()
        # a chart's address in a registry reads like that of an artifact, and is asked for in another way
        key, now = (f"{reader.calls(address)} {address.chart}", revision), asyncio.get_running_loop().time()
        known = self._answers.get(key)
        if known is not None and not fresh and now - known[0] < self._interval and self._kept.has(known[1]):
            return known[1]
        work = self._from_registry if address.repository else self._from_index
        digest = await self._flights.run(" ".join(key), lambda: work(address, pin, reader))
        self._answers[key] = (now, digest)
        self._asked[reader.calls(address)] = now
        return digest

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        """An archive never changes below its digest."""
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
        address, reader = ChartAddress.parse(repo_url), self._reader()

        def read() -> dict[str, bytes]:
            data = self._kept.get(commit)
            chart = bool(address.chart) or self._kept.origin(commit, reader.calls(address)).chart
            return files_of(data, limit_bytes=limit_bytes, where=repo_url, chart=chart)

        found = await asyncio.to_thread(read)
        if not clean:
            return found
        if clean in found:
            return {clean.rpartition("/")[2]: found[clean]}
        below = {name[len(clean) + 1 :]: one for name, one in found.items() if name.startswith(f"{clean}/")}
        if not below:
            raise PathNotFound(f"{clean}: no such path in {repo_url}")
        return below

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        files = await self.files(repo_url, commit, "")
        missing = [path for path in paths if checked_path(path) not in files]
        if missing:
            raise PathNotFound(f"{missing[0]}: no such file in {repo_url}")
        return {path: files[checked_path(path)] for path in paths}

    async def verify(
        self,
        repo_url: str,
        commit: str,
        keys: Sequence[Trusted],
        *,
        revision: str = "",  # noqa: ARG002 - the port's method
    ) -> None:
        """By cosign's signature of the manifest, or the provenance of the chart."""
        await self._vouchers.verify(Found(ChartAddress.parse(repo_url), commit, self._reader()), keys)

    def known_at(self, repo_url: str) -> float | None:
        return self._asked.get(self._reader().calls(ChartAddress.parse(repo_url)))

    async def close(self) -> None:
        await self._download.close()

    async def _from_index(self, address: ChartAddress, pin: Pin, reader: Reader) -> str:
        base = reader.calls(address.base)
        index = await self._index_flights.run(base, lambda: self._index(address, reader))
        versions = index.versions.get(address.chart)
        if not versions:
            raise RevisionNotFound(f"{address}: the repository has no such chart")
        named = next((one for one in versions.values() if pin.digest and one.digest == pin.digest), None)
        chosen = named if named is not None and not pin.name else versions[_chosen(versions, pin, address)]
        wanted = pin.digest or chosen.digest
        if wanted and chosen.digest and wanted != chosen.digest:
            raise ChartInvalid(f"{address}: version {chosen.version} does not have the digest that pins it")
        digest = wanted
        if not wanted or not self._kept.known(wanted, reader.calls(address)):
            answer = await self._download.get(
                chosen.url, limit_bytes=MAX_ARCHIVE, authorization=reader.authorization(chosen.url)
            )
            if not answer.body:
                raise RepositoryDenied(f"{address}: it answered {answer.status}")
            digest = hashlib.sha256(answer.body).hexdigest()
            if wanted and digest != wanted:
                what = "that pins it" if pin.digest else "of its index"
                raise ChartInvalid(f"{address}: version {chosen.version} does not have the digest {what}")
            await self._keep(digest, answer.body, str(address), chart=True)
        await asyncio.to_thread(self._kept.found_as, digest, reader.calls(address), Origin(url=chosen.url))
        return digest

    async def _index(self, address: ChartAddress, reader: Reader) -> _Index:
        url, known_as = f"{address.base}/index.yaml", reader.calls(address.base)
        old = self._indexes.get(known_as)
        headers = {"If-None-Match": old.etag} if old and old.etag else {}
        answer = await self._download.get(
            url, limit_bytes=MAX_INDEX, authorization=reader.authorization(url), headers=headers, packed=True
        )
        if old is not None and answer.status == _NOT_MODIFIED:
            return old
        if not answer.body:
            raise RepositoryDenied(f"{address}: it answered {answer.status}")
        versions = await asyncio.to_thread(versions_of, answer.body, where=address.base)
        found = self._indexes[known_as] = _Index(answer.headers.get("etag", ""), versions)
        return found

    async def _from_registry(self, address: ChartAddress, pin: Pin, reader: Reader) -> str:
        registry = Registry(address, self._download, reader.match)
        if pin.digest:
            reference = f"sha256:{pin.digest}"
        elif pin.name not in LATEST and not is_range(pin.name):
            reference = pin.name
        elif not address.chart and pin.name != "*" and pin.name in LATEST:
            reference = "latest"
        else:
            reference = _chosen(await registry.tags(), pin, address)
        manifest = await registry.manifest(reference)
        if not self._kept.known(manifest.archive, reader.calls(address)):
            data = await registry.blob(manifest.archive, limit=MAX_ARCHIVE)
            await self._keep(manifest.archive, data, str(address), chart=manifest.chart)
        origin = Origin(chart=manifest.chart, manifest=manifest.digest)
        await asyncio.to_thread(self._kept.found_as, manifest.archive, reader.calls(address), origin)
        return manifest.archive

    async def _keep(self, digest: str, data: bytes, where: str, *, chart: bool) -> None:
        await asyncio.to_thread(files_of, data, limit_bytes=MAX_BYTES, where=where, chart=chart)
        await asyncio.to_thread(self._kept.put, digest, data)


def _chosen(versions: Iterable[str], pin: Pin, address: ChartAddress) -> str:
    """The version that is meant, as the repository writes it."""
    known = list(versions)
    if pin.name in known:
        return pin.name
    if pin.name in LATEST or is_range(pin.name):
        best = Range.parse("*" if pin.name in LATEST else pin.name).best(known)
    else:
        wanted = Version.parse(pin.name)
        best = next((one for one in known if wanted is not None and Version.parse(one) == wanted), None)
    if best is None:
        raise RevisionNotFound(f"{address}: no version {pin.name or '*'}")
    return best
