"""One Git repository as the event loop sees it: who may fetch, who may read, and what was found.

Blocking work runs in two small thread pools, one for the network and one for reading: servers that do not
answer (F11) must not hold up what is known already. Concurrent demands share one fetch.
"""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from hub.sources.errors import RepositoryUnreachable, RevisionNotFound, SourceError
from hub.sources.objects import BlobsMissing, ObjectsBroken
from hub.sources.remote import MirrorBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hub.sources.credentials import Credentials
    from hub.sources.mirror import Mirror

READERS = 2
REMEMBERED_REVISIONS = 1000
FAILURE_SECONDS = 5.0
"""For so long a failed fetch answers the next demands, too, unless they ask for a fresh one."""
REPAIR_SECONDS = 600.0
"""A mirror that proves unreadable sooner after its repair is so at its origin: not cloned over and over."""
MAX_PREFETCHES = 64
"""Times that one question may find more contents missing: links that lead to links."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Threads:
    """The two pools, and the work that goes on in them whoever waits for it."""

    def __init__(self, workers: int) -> None:
        self._network = ThreadPoolExecutor(workers, thread_name_prefix="git-fetch")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="git-read")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def fetch(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._network, work)

    async def read(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    async def owned(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Awaits work that goes on when its caller is cancelled: a thread cannot be, and holds its turn."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def settle(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def shutdown(self) -> None:
        self._network.shutdown()
        self._readers.shutdown()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the caller has gone


class Repository:
    """What is known of one repository. Only the event loop touches it; threads get the mirror."""

    def __init__(self, mirror: Mirror, threads: Threads) -> None:
        self.mirror = mirror
        self.credentials: Credentials | None = None
        """As they were when somebody asked last."""
        self.ids: dict[tuple[str, str], str | None] = {}
        """What was at (commit, path)."""
        self.fetched_at: float | None = None
        self._threads = threads
        self._reading = asyncio.Lock()
        self._updating = asyncio.Lock()
        self._failed: tuple[float, SourceError] | None = None
        self._repaired_at = -math.inf
        self._generation = 0
        self._commits: dict[str, str | None] = {}
        self._absent: set[str] = set()
        self._lacking: set[str] = set()

    async def refresh(self, *, since: float, head: bool = False) -> None:
        """Returns once a fetch that started at `since` or later has succeeded, whoever made it."""
        if self.fetched_at is None or self.fetched_at < since:
            await self._threads.owned(self._refresh_in_turn(since=since, head=head))

    async def named(self, revision: str) -> str | None:
        """The commit of a checked revision as of the last fetch."""
        if revision in self._commits:
            return self._commits[revision]
        generation = self._generation
        commit = await self.read(lambda mirror: mirror.refs.find(revision))
        if generation == self._generation:
            if len(self._commits) >= REMEMBERED_REVISIONS:
                self._commits.clear()
            self._commits[revision] = commit
        return commit

    async def lone(self, commit: str) -> str | None:
        """A commit that is on no branch, fetched by its id where the remote side gives it; once a fetch."""
        return await self._threads.owned(self._lone_in_turn(commit))

    async def read(self, work: Callable[[Mirror], _T]) -> _T:
        """Runs `work` over the mirror in a thread, alone. It is run again where the mirror lacked contents.

        An unreadable mirror is cloned again, once.
        """
        try:
            return await self._complete(work)
        except ObjectsBroken as error:
            _log.warning("the mirror of %s is unreadable: %s", self.mirror.url, error)
            await self._threads.owned(self._repair())
        try:
            return await self._complete(work)
        except ObjectsBroken as error:
            raise RepositoryUnreachable(f"{self.mirror.url}: not readable: {error}") from error

    async def at(self, commit: str, work: Callable[[Mirror, str], _T]) -> _T:
        """What `work` reads in the commit's root folder."""

        def at_root(mirror: Mirror) -> _T:
            found = mirror.objects.commit(commit)
            if found is None:
                raise RevisionNotFound(f"{mirror.url}: commit {commit} is not there (any more)")
            return work(mirror, found[1])

        return await self.read(at_root)

    async def close_objects(self) -> None:
        """Ends the reading process; the next reader starts another."""
        async with self._reading:
            await self._threads.read(self.mirror.objects.close)

    async def _complete(self, work: Callable[[Mirror], _T]) -> _T:
        for _ in range(MAX_PREFETCHES):
            try:
                return await self._threads.owned(self._read_in_turn(work))
            except BlobsMissing as error:
                await self._threads.owned(self._bring(set(error.oids)))
        raise RepositoryUnreachable(f"{self.mirror.url}: contents are missing again and again")

    async def _read_in_turn(self, work: Callable[[Mirror], _T]) -> _T:
        async with self._reading:
            return await self._threads.read(lambda: work(self.mirror))

    async def _bring(self, oids: set[str]) -> None:
        """Fetch contents: what comes up while one fetch runs goes into the next, all in one question."""
        self._lacking |= oids
        async with self._updating:
            if not self._lacking & oids:
                return
            wanted, self._lacking = self._lacking, set()
            credentials = self.credentials
            try:
                await self._threads.fetch(lambda: self.mirror.fetch_blobs(sorted(wanted), credentials))
            except MirrorBroken as error:
                raise RepositoryUnreachable(f"{self.mirror.url}: {error}") from error

    async def _refresh_in_turn(self, *, since: float, head: bool) -> None:
        async with self._updating:
            if self.fetched_at is not None and self.fetched_at >= since:
                return
            started = asyncio.get_running_loop().time()
            if self._failed is not None and self._failed[0] >= max(since, started - FAILURE_SECONDS):
                raise _again(self._failed[1])
            try:
                await self._update(head=head)
            except SourceError as error:
                self._failed = (started, error)
                raise
            self._failed = None
            self.fetched_at = started
            self._moved()
            self._absent.clear()

    async def _update(self, *, head: bool) -> None:
        mirror, credentials = self.mirror, self.credentials
        if mirror.exists:
            try:
                await self._threads.fetch(lambda: mirror.fetch(credentials, head=head))
            except MirrorBroken as error:
                _log.warning("the mirror of %s is unusable and cloned again: %s", mirror.url, error)
            else:
                return
        await self._clone(credentials)

    async def _clone(self, credentials: Credentials | None) -> None:
        fresh = await self._threads.fetch(lambda: self.mirror.clone(credentials))
        async with self._reading:
            await self._threads.read(lambda: self.mirror.install(fresh))

    async def _lone_in_turn(self, commit: str) -> str | None:
        async with self._updating:
            if commit in self._absent:
                return None
            credentials = self.credentials
            got = await self._threads.fetch(lambda: self.mirror.fetch_commit(commit, credentials))
            self._commits.pop(commit, None)
            if not got:
                self._absent.add(commit)
                return None
        return await self.read(lambda mirror: mirror.refs.find(commit))

    async def _repair(self) -> None:
        seen = self._repaired_at
        async with self._updating:
            now = asyncio.get_running_loop().time()
            if self._repaired_at > seen:
                return
            if now - self._repaired_at < REPAIR_SECONDS:
                raise RepositoryUnreachable(f"{self.mirror.url}: not readable, and a new clone did not help")
            self._repaired_at = now
            await self._clone(self.credentials)
            self._moved()

    def _moved(self) -> None:
        """What names stood for is not known any more."""
        self._generation += 1
        self._commits.clear()


def _again(error: SourceError) -> SourceError:
    """A new exception of the same meaning: one object raised in many tasks would gather their tracebacks."""
    return type(error)(str(error), reason=error.reason)
