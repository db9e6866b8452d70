"""Git repositories as a source: one bare mirror each, fetched at most once an interval or on demand."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hub.sources import contents, walk
from hub.sources.credentials import Credentials
from hub.sources.errors import RevisionNotFound, SignatureMissing
from hub.sources.mirror import WHOLE_BYTES, Mirror, remove_leftovers
from hub.sources.port import MAX_BYTES, RepoListing
from hub.sources.process import GitRunner
from hub.sources.repository import Repository, Threads
from hub.sources.semver import is_range
from hub.sources.signing import TrustedKeys
from hub.sources.urls import RepoUrl, checked_path, checked_revision, is_commit
from hub.sources.verifiers import check_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hub.sources.credentials import Granted
    from hub.sources.signing import Trusted

__all__ = ["Credentials", "GitSource"]

MAX_OPEN = 16
"""Repositories with a reading process kept alive; about 5 MB each."""
LISTED_PATHS = 200_000
"""Bound on the paths of all cached listings together; about 20 MB."""
REMEMBERED_IDS = 20_000
"""Paths a repository whose id at a commit is kept: a plan asks for the same ones again and again."""
RECHECK_SECONDS = 15.0
"""An unknown revision is asked for again once the last fetch is older: people push, then apply."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _Listings:
    """The listings that were asked for last, by reader, address and commit."""

    known: OrderedDict[tuple[str, str, str], RepoListing] = field(default_factory=OrderedDict)
    paths: int = 0

    def get(self, key: tuple[str, str, str]) -> RepoListing | None:
        if key in self.known:
            self.known.move_to_end(key)
        return self.known.get(key)

    def put(self, key: tuple[str, str, str], found: RepoListing) -> None:
        if key not in self.known:
            self.known[key] = found
            self.paths += len(found.files) + len(found.dirs)
        while self.paths > LISTED_PATHS and len(self.known) > 1:
            _, dropped = self.known.popitem(last=False)
            self.paths -= len(dropped.files) + len(dropped.dirs)


class GitSource:
    """All Git repositories of a hub; satisfies `hub.sources.port.Source`. One object a cache directory.

    `credentials` gives those of an address, each time that one is asked about, and `projects` what a namespace's
    Project may use: an address has a mirror for each owner of credentials. `interval` in seconds; `workers` bounds
    the fetches that run at once; a clone beyond `whole_bytes` is made a partial one. `own_keys` is for a person's own
    command: ssh may use that person's keys where there are no credentials.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        credentials: Callable[[str], Credentials | None],
        projects: Callable[[str], Granted] | None = None,
        interval: float = 180.0,
        workers: int = 4,
        recheck: float = RECHECK_SECONDS,
        max_open: int = MAX_OPEN,
        whole_bytes: int = WHOLE_BYTES,
        own_keys: bool = False,
    ) -> None:
        self._cache = cache_dir.absolute()
        self._credentials = credentials
        self._projects = projects
        self._interval = interval
        self._recheck = min(recheck, interval)
        self._max_open = max_open
        self._whole_bytes = whole_bytes
        self._own_keys = own_keys
        home = self._cache / "home"
        home.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._cache)
        self._runner = GitRunner(home)
        self._threads = Threads(workers)
        self._repos: dict[tuple[str, str], Repository] = {}
        self._open: OrderedDict[Path, Repository] = OrderedDict()
        self._listings = _Listings()
        self._verified: set[tuple[str, ...]] = set()
        self._closed = False

    def seen_by(self, namespace: str) -> GitSource:
        """See `Source.seen_by`. All views share what is known, by reader; whoever made the first one closes it."""
        granted = self._projects
        if granted is None:
            return self
        view = copy.copy(self)
        view._credentials = lambda repo_url: granted(namespace).match(repo_url)  # noqa: SLF001 - of our own kind
        return view

    def reader(self, repo_url: str) -> str:
        """The owner of its credentials; empty without any."""
        found = self._credentials(repo_url)
        return found.owner if found is not None else ""

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        """The commit that the branch, tag, range of tags, full commit id or `HEAD` ("") names. See `Source.resolve`.

        Raises `RepositoryUnreachable` (also where an older state is known: that is for the caller to go on
        with), `RevisionNotFound`, `RepositoryRefused`.
        """
        repo = self._repo(repo_url)
        revision = revision if is_range(revision) else checked_revision(revision)
        now = asyncio.get_running_loop().time()
        if is_commit(revision) and repo.mirror.exists:
            commit = await repo.named(revision)
            if commit is not None:  # a commit's id never means another commit
                return commit
        head = revision == "HEAD"
        await repo.refresh(since=now if fresh else now - self._interval, head=head)
        commit = await repo.named(revision)
        if commit is None:
            await repo.refresh(since=now - self._recheck, head=head)
            commit = await repo.named(revision)
        if commit is None and is_commit(revision):
            commit = await repo.lone(revision)
        if commit is None:
            raise RevisionNotFound(f"{repo.mirror.url}: no branch, tag or commit {revision}")
        return commit

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        """The Git id of what is at the path ("" is the root), None where nothing is.

        A folder that holds links gets an id over what they lead to instead: its own does not change with
        that.
        """
        clean = checked_path(path)

        def work(mirror: Mirror, root: str) -> str | None:
            found = walk.locate(mirror.objects, root, clean)
            if found is None:
                return None
            entry = found.entry
            if entry.kind is walk.Kind.DIR and mirror.objects.holds_links(entry.oid):
                return walk.linked_identity(mirror.objects, root, clean)
            return entry.oid

        repo, key = self._repo(repo_url), (commit, clean)
        if key not in repo.ids:
            found = await self._at(repo_url, commit, work)
            if len(repo.ids) >= REMEMBERED_IDS:
                repo.ids.clear()
            repo.ids[key] = found
            return found
        return repo.ids[key]

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        """Every path of the commit; the latest asked for are kept."""
        key = (self.reader(repo_url), repo_url, commit)
        known = self._listings.get(key)
        if known is None:
            known = await self._at(repo_url, commit, lambda mirror, root: walk.listing(mirror.objects, root))
            self._listings.put(key, known)
        return known

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        """Every file below the path. See `Source.files`.

        Raises `PathNotFound`, `SymlinkEscape`, `SymlinkBroken`, `LfsPointer`, `SourceTooLarge`.
        """
        clean = checked_path(path)
        return await self._at(
            repo_url,
            commit,
            lambda mirror, root: contents.below(mirror.objects, root, clean, limit_bytes=limit_bytes),
        )

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """The named files' contents, at most `MAX_BYTES` together. See `Source.read`."""
        clean = {path: checked_path(path) for path in paths}

        def work(mirror: Mirror, root: str) -> dict[str, bytes]:
            return contents.named(mirror.objects, root, list(clean.values()), limit_bytes=MAX_BYTES)

        found = await self._at(repo_url, commit, work)
        return {path: found[clean[path]] for path in paths}

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        """By the commit's own signature, or the tag's. What was verified once is not asked about again."""
        repo = self._repo(repo_url)
        url = repo.mirror.url
        asked = hashlib.sha256(repr(tuple(keys)).encode()).hexdigest()
        question = (str(repo.mirror.path), commit, revision, asked)
        if question in self._verified:
            return
        if not is_commit(commit):
            raise RevisionNotFound(f"{url}: {commit[:100]!a} is not a full commit id")
        signed = await repo.read(lambda mirror: mirror.refs.signatures(commit, revision))
        if not signed:
            raise SignatureMissing(
                f"{url}: commit {commit[:12]} is not signed, and its project wants it to be"
            )
        trusted = TrustedKeys.of(keys)
        await asyncio.to_thread(check_signed, signed, trusted, what=f"{url}: commit {commit[:12]}")
        if len(self._verified) >= REMEMBERED_IDS:
            self._verified.clear()
        self._verified.add(question)

    async def contains(self, repo_url: str, commit: str, revision: str) -> bool:
        """Whether the commit's history has the one that a full or short id names. It fetches nothing."""
        return await self._at(repo_url, commit, lambda mirror, _: mirror.refs.contains(commit, revision))

    def known_at(self, repo_url: str) -> float | None:
        """The loop's time when the last successful fetch started."""
        return self._repo(repo_url).fetched_at

    async def close(self) -> None:
        """Ends what runs: waiting callers get `RepositoryUnreachable`."""
        if self._closed:
            return
        self._closed = True
        self._runner.close()
        await self._threads.settle()
        for repo in self._repos.values():
            await repo.close_objects()
        self._threads.shutdown()

    def _repo(self, repo_url: str) -> Repository:
        """As the reader sees it, with the credentials of this moment."""
        url = RepoUrl.parse(repo_url)
        credentials = self._credentials(str(url))
        reader = credentials.owner if credentials is not None else ""
        repo = self._repos.get((str(url), reader))
        if repo is None:
            mirror = Mirror(
                self._cache,
                url,
                self._runner,
                whole_bytes=self._whole_bytes,
                own_keys=self._own_keys,
                reader=reader,
            )
            repo = self._repos[str(url), reader] = Repository(mirror, self._threads)
        repo.credentials = credentials
        return repo

    async def _at(self, repo_url: str, commit: str, work: Callable[[Mirror, str], _T]) -> _T:
        """What `work` reads in the commit's root folder."""
        repo = self._repo(repo_url)
        if not is_commit(commit):
            raise RevisionNotFound(f"{repo.mirror.url}: {commit[:100]!a} is not a full commit id")
        if not repo.mirror.exists:
            await repo.refresh(since=asyncio.get_running_loop().time() - self._interval)
        result = await repo.at(commit, work)
        await self._close_idle(repo)
        return result

    async def _close_idle(self, used: Repository) -> None:
        """Keeps the reading processes of the repositories used last."""
        key = used.mirror.path
        self._open[key] = used
        self._open.move_to_end(key)
        if len(self._open) > self._max_open:
            key, oldest = self._open.popitem(last=False)
            await self._threads.owned(oldest.close_objects())
