"""Repositories as a person names them for one command: `URL=DIR` is a folder, `URL` alone is fetched.

Nothing is fetched that was not named: a set under review may have any address in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.names import LABEL_CREDENTIALS
from hub.cli.files import InvalidFile
from hub.sources.chartaddress import ChartAddress, is_chart
from hub.sources.charts import ChartRepositories
from hub.sources.directory import DirectorySource
from hub.sources.dispatch import Sources
from hub.sources.errors import PathNotFound, RepositoryUnreachable, RevisionNotFound
from hub.sources.git import GitSource
from hub.sources.grants import Grants
from hub.sources.port import MAX_BYTES
from hub.sources.semver import is_range
from hub.sources.urls import RepoUrl, is_commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.sources.port import RepoListing, Source
    from hub.sources.signing import Trusted

_ONCE = 86_400.0
"""Seconds between fetches: one command asks once."""


@dataclass(frozen=True, slots=True)
class Named:
    """What `--repo` said, in the order in which it was said."""

    folders: Mapping[str, Path] = field(default_factory=dict)
    fetched: tuple[str, ...] = ()


def named(mappings: Sequence[str]) -> Named:
    """`URL=DIR` and `URL` as given on the command line. Raises `InvalidFile`, and what an address may not be."""
    folders, fetched = {}, []
    for mapping in mappings:
        url, equals, folder = mapping.rpartition("=")
        if not equals:
            _key(mapping)
            fetched.append(mapping)
        elif not url or not Path(folder).is_dir():
            raise InvalidFile(f"--repo {mapping}: {folder} is no folder; say URL=DIR, or URL to fetch it")
        else:
            folders[url] = Path(folder)
    return Named(folders, tuple(fetched))


class Network:
    """What is fetched, for as long as the command runs: each repository once."""

    def __init__(self, scratch: Path, what: Named, secrets: Iterable[Manifest] = ()) -> None:
        labelled = [one for one in secrets if LABEL_CREDENTIALS in (one["metadata"].get("labels") or {})]
        given = Grants(lambda: labelled)
        self._named = what
        self._git = GitSource(
            scratch / "git",
            credentials=given.match,
            projects=given.of,
            interval=_ONCE,
            recheck=_ONCE,
            own_keys=True,
        )
        self._charts = ChartRepositories(
            scratch / "charts", credentials=given.match, projects=given.of, interval=_ONCE
        )

    async def close(self) -> None:
        await self._git.close()
        await self._charts.close()

    async def commit(self, url: str, revision: str) -> str:
        """The commit that a revision of a fetched repository is now."""
        return await self._git.resolve(url, revision)

    async def folder(self, url: str, commit: str, path: str, *, into: Path) -> Path:
        """A folder of a fetched repository, written out below `into`. Raises `PathNotFound`."""
        files = await self._git.files(url, commit, path)
        top = into / commit[:12]
        if not files:
            raise PathNotFound(f"{url}: there is nothing at {path} in {commit[:12]}")
        for name, data in files.items():
            file = top / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return top

    def source(self, folders: Mapping[str, Path], *, at: Mapping[str, str] | None = None) -> Source:
        """All of it behind one port; `at` are commits at which fetched repositories stand."""
        git = {_key(each) for each in self._named.fetched if not is_chart(each)}
        charts = {_key(each) for each in self._named.fetched if is_chart(each)}
        return Sources(
            git=Chosen(self._git, git, {_key(url): commit for url, commit in (at or {}).items()}),
            charts=Chosen(self._charts, charts, {}),
            folders=DirectorySource(folders),
            mapped=folders,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A source that answers for these addresses alone; satisfies `hub.sources.port.Source`.

    A repository in `at` stands at that commit: its branches mean it, tags, versions and commits what they are.
    """

    source: Source
    addresses: Collection[str]
    at: Mapping[str, str]

    def seen_by(self, namespace: str) -> Chosen:
        return Chosen(self.source.seen_by(namespace), self.addresses, self.at)

    def reader(self, repo_url: str) -> str:
        return self.source.reader(repo_url)

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        key = self._checked(repo_url)
        commit = self.at.get(key)
        if commit is not None and not await self._is_fixed(repo_url, revision):
            return commit
        return await self.source.resolve(repo_url, revision, fresh=fresh)

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        self._checked(repo_url)
        return await self.source.tree_id(repo_url, commit, path)

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        self._checked(repo_url)
        return await self.source.listing(repo_url, commit)

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        self._checked(repo_url)
        return await self.source.files(repo_url, commit, path, limit_bytes=limit_bytes)

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        self._checked(repo_url)
        return await self.source.read(repo_url, commit, paths)

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        self._checked(repo_url)
        await self.source.verify(repo_url, commit, keys, revision=revision)

    def known_at(self, repo_url: str) -> float | None:
        return self.source.known_at(repo_url)

    async def close(self) -> None:
        """Whoever made the source ends it: several may look at it."""

    def _checked(self, repo_url: str) -> str:
        key = _key(repo_url)
        if key not in self.addresses:
            raise RepositoryUnreachable(
                f"{key}: it is not named: say --repo {key} to fetch it, or --repo {key}=DIR"
            )
        return key

    async def _is_fixed(self, repo_url: str, revision: str) -> bool:
        """Whether it means the same whatever is committed: a commit, a range of versions, a tag."""
        if revision in {"", "HEAD"}:
            return False
        if is_commit(revision) or is_range(revision):
            return True
        plain = revision.removeprefix("refs/tags/")
        try:
            if plain == revision and await self.source.resolve(repo_url, f"refs/heads/{revision}"):
                return False
        except RevisionNotFound:
            pass
        try:
            return bool(await self.source.resolve(repo_url, f"refs/tags/{plain}"))
        except RevisionNotFound:
            return False


def _key(address: str) -> str:
    return str(ChartAddress.parse(address) if is_chart(address) else RepoUrl.parse(address))
