"""Git repositories as a source: one bare mirror each, fetched at most once an interval or on demand.

Blocking work runs in two small thread pools, one for the network and one for reading: servers that do not
answer (F11) must not hold up what is known already. Concurrent demands for a repository share one fetch.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from hub.sources import contents, walk
from hub.sources.credentials import Credentials
from hub.sources.errors import RepositoryUnreachable, RevisionNotFound, SourceError
from hub.sources.mirror import Mirror, MirrorBroken, remove_leftovers
from hub.sources.objects import ObjectsBroken
from hub.sources.port import MAX_BYTES, RepoListing
from hub.sources.process import GitRunner
from hub.sources.semver import is_range
from hub.sources.urls import RepoUrl, checked_path, checked_revision, is_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

__all__ = ["Credentials", "GitSource"]

READERS = 2
MAX_OPEN = 16
"""Repositories with a reading process kept alive; about 5 MB each."""
LISTED_PATHS = 200_000
"""Bound on the paths of all cached listings together; about 20 MB."""
REMEMBERED_REVISIONS = 1000
REMEMBERED_IDS = 20_000
"""Paths a repository whose id at a commit is kept: a plan asks for the same ones again and again."""
RECHECK_SECONDS = 15.0
"""An unknown revision is asked for again once the last fetch is older: people push, then apply."""
FAILURE_SECONDS = 5.0
"""For so long a failed fetch answers the next demands, too, unless they ask for a fresh one."""
REPAIR_SECONDS = 600.0
"""A mirror that proves unreadable sooner after its repair is so at its origin: not cloned over and over."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class _Repo:
    """What is known of one repository. Only the event loop touches it; threads get the mirror."""

    __slots__ = (
        "absent",
        "commits",
        "failed",
        "fetched_at",
        "generation",
        "ids",
        "mirror",
        "reading",
        "repaired_at",
        "updating",
    )

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.reading = asyncio.Lock()
        self.updating = asyncio.Lock()
        self.fetched_at: float | None = None
        self.failed: tuple[float, SourceError] | None = None
        self.repaired_at = -math.inf
        self.generation = 0
        self.commits: dict[str, str | None] = {}
        self.absent: set[str] = set()
        self.ids: dict[tuple[str, str], str | None] = {}


class GitSource:
    """All Git repositories of a hub; satisfies `hub.sources.port.Source`. One object a cache directory.

    `credentials` gives those of an address, at each fetch; `interval` in seconds; `workers` bounds the
    fetches that run at once.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        credentials: Callable[[str], Credentials | None],
        interval: float = 180.0,
        workers: int = 4,
        recheck: float = RECHECK_SECONDS,
        max_open: int = MAX_OPEN,
    ) -> None:
        self._cache = cache_dir.absolute()
        self._credentials = credentials
        self._interval = interval
        self._recheck = min(recheck, interval)
        self._max_open = max_open
        home = self._cache / "home"
        home.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._cache)
        self._runner = GitRunner(home)
        self._network = ThreadPoolExecutor(workers, thread_name_prefix="git-fetch")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="git-read")
        self._repos: dict[str, _Repo] = {}
        self._open: OrderedDict[str, _Repo] = OrderedDict()
        self._listings: OrderedDict[tuple[str, str], RepoListing] = OrderedDict()
        self._listed = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        """The commit that the branch, tag, range of tags, full commit id or `HEAD` ("") names. See `Source.resolve`.

        Raises `RepositoryUnreachable` (also where an older state is known: that is for the caller to go on
        with), `RevisionNotFound`, `RepositoryRefused`.
        """
        repo = self._repo(repo_url)
        revision = revision if is_range(revision) else checked_revision(revision)
        now = asyncio.get_running_loop().time()
        if is_commit(revision) and repo.mirror.exists:
            commit = await self._named(repo, revision)
            if commit is not None:  # a commit's id never means another commit
                return commit
        head = revision == "HEAD"
        await self._refresh(repo, since=now if fresh else now - self._interval, head=head)
        commit = await self._named(repo, revision)
        if commit is None:
            await self._refresh(repo, since=now - self._recheck, head=head)
            commit = await self._named(repo, revision)
        if commit is None and is_commit(revision):
            commit = await self._owned(self._lone(repo, revision))
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
        key = (repo_url, commit)
        known = self._listings.get(key)
        if known is None:
            known = await self._at(repo_url, commit, lambda mirror, root: walk.listing(mirror.objects, root))
            if key not in self._listings:
                self._listings[key] = known
                self._listed += len(known.files) + len(known.dirs)
        self._listings.move_to_end(key)
        while self._listed > LISTED_PATHS and len(self._listings) > 1:
            _, dropped = self._listings.popitem(last=False)
            self._listed -= len(dropped.files) + len(dropped.dirs)
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

    def known_at(self, repo_url: str) -> float | None:
        """The loop's time when the last successful fetch started."""
        return self._repo(repo_url).fetched_at

    async def close(self) -> None:
        """Ends what runs: waiting callers get `RepositoryUnreachable`."""
        if self._closed:
            return
        self._closed = True
        self._runner.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        for repo in self._repos.values():
            await loop.run_in_executor(self._readers, repo.mirror.objects.close)
        self._network.shutdown()
        self._readers.shutdown()

    def _repo(self, repo_url: str) -> _Repo:
        url = RepoUrl.parse(repo_url)
        key = str(url)
        if key not in self._repos:
            self._repos[key] = _Repo(Mirror(self._cache, url, self._runner))
        return self._repos[key]

    async def _refresh(self, repo: _Repo, *, since: float, head: bool = False) -> None:
        """Returns once a fetch that started at `since` or later has succeeded, whoever made it."""
        if repo.fetched_at is None or repo.fetched_at < since:
            await self._owned(self._refresh_in_turn(repo, since=since, head=head))

    async def _refresh_in_turn(self, repo: _Repo, *, since: float, head: bool) -> None:
        async with repo.updating:
            if repo.fetched_at is not None and repo.fetched_at >= since:
                return
            started = asyncio.get_running_loop().time()
            if repo.failed is not None and repo.failed[0] >= max(since, started - FAILURE_SECONDS):
                raise _again(repo.failed[1])
            try:
                await self._update(repo, head=head)
            except SourceError as error:
                repo.failed = (started, error)
                raise
            repo.failed = None
            repo.fetched_at = started
            repo.generation += 1
            repo.commits.clear()
            repo.absent.clear()

    async def _update(self, repo: _Repo, *, head: bool) -> None:
        mirror, credentials = repo.mirror, self._credentials(str(repo.mirror.url))
        loop = asyncio.get_running_loop()
        if mirror.exists:
            try:
                await loop.run_in_executor(self._network, lambda: mirror.fetch(credentials, head=head))
            except MirrorBroken as error:
                _log.warning("the mirror of %s is unusable and cloned again: %s", mirror.url, error)
            else:
                return
        await self._clone(repo, credentials)

    async def _clone(self, repo: _Repo, credentials: Credentials | None) -> None:
        loop = asyncio.get_running_loop()
        fresh = await loop.run_in_executor(self._network, repo.mirror.clone, credentials)
        async with repo.reading:
            await loop.run_in_executor(self._readers, repo.mirror.install, fresh)

    async def _lone(self, repo: _Repo, commit: str) -> str | None:
        """A commit that is on no branch, fetched by its id where the remote side gives it; once a fetch."""
        async with repo.updating:
            if commit in repo.absent:
                return None
            credentials = self._credentials(str(repo.mirror.url))
            loop = asyncio.get_running_loop()
            got = await loop.run_in_executor(self._network, repo.mirror.fetch_commit, commit, credentials)
            repo.commits.pop(commit, None)
            if not got:
                repo.absent.add(commit)
                return None
        return await self._read(repo, lambda mirror: mirror.find(commit))

    async def _named(self, repo: _Repo, revision: str) -> str | None:
        if revision in repo.commits:
            return repo.commits[revision]
        generation = repo.generation
        commit = await self._read(repo, lambda mirror: mirror.find(revision))
        if generation == repo.generation:
            if len(repo.commits) >= REMEMBERED_REVISIONS:
                repo.commits.clear()
            repo.commits[revision] = commit
        return commit

    async def _at(self, repo_url: str, commit: str, work: Callable[[Mirror, str], _T]) -> _T:
        """What `work` reads in the commit's root folder."""
        repo = self._repo(repo_url)
        if not is_commit(commit):
            raise RevisionNotFound(f"{repo.mirror.url}: {commit[:100]!a} is not a full commit id")
        if not repo.mirror.exists:
            await self._refresh(repo, since=asyncio.get_running_loop().time() - self._interval)

        def at_root(mirror: Mirror) -> _T:
            found = mirror.objects.commit(commit)
            if found is None:
                raise RevisionNotFound(f"{mirror.url}: commit {commit} is not there (any more)")
            return work(mirror, found[1])

        return await self._read(repo, at_root)

    async def _read(self, repo: _Repo, work: Callable[[Mirror], _T]) -> _T:
        """Runs `work` over the mirror in a thread, alone; an unreadable mirror is cloned again, once."""
        try:
            return await self._owned(self._read_in_turn(repo, work))
        except ObjectsBroken as error:
            _log.warning("the mirror of %s is unreadable: %s", repo.mirror.url, error)
            await self._owned(self._repair(repo))
        try:
            return await self._owned(self._read_in_turn(repo, work))
        except ObjectsBroken as error:
            raise RepositoryUnreachable(f"{repo.mirror.url}: not readable: {error}") from error

    async def _read_in_turn(self, repo: _Repo, work: Callable[[Mirror], _T]) -> _T:
        loop = asyncio.get_running_loop()
        async with repo.reading:
            result = await loop.run_in_executor(self._readers, work, repo.mirror)
        await self._close_idle(repo)
        return result

    async def _repair(self, repo: _Repo) -> None:
        seen = repo.repaired_at
        async with repo.updating:
            now = asyncio.get_running_loop().time()
            if repo.repaired_at > seen:
                return
            if now - repo.repaired_at < REPAIR_SECONDS:
                raise RepositoryUnreachable(f"{repo.mirror.url}: not readable, and a new clone did not help")
            repo.repaired_at = now
            await self._clone(repo, self._credentials(str(repo.mirror.url)))
            repo.generation += 1
            repo.commits.clear()

    async def _close_idle(self, used: _Repo) -> None:
        """Keeps the reading processes of the repositories used last."""
        key = str(used.mirror.url)
        self._open[key] = used
        self._open.move_to_end(key)
        if len(self._open) > self._max_open:
            key, oldest = self._open.popitem(last=False)
            async with oldest.reading:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._readers, oldest.mirror.objects.close)

    async def _owned(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Awaits work that goes on when its caller is cancelled: a thread cannot be, and holds its turn."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the caller has gone


def _again(error: SourceError) -> SourceError:
    """A new exception of the same meaning: one object raised in many tasks would gather their tracebacks."""
    return type(error)(str(error), reason=error.reason)
