"""One repository's bare mirror on disk: made, brought up to date, repaired. Blocking; no event loop here.

A mirror is a cache, whole or not there: it is cloned beside its place and renamed into it, and one that Git
cannot use any more is replaced by a new clone. A clone that grows too large is begun again without the files'
contents (a partial clone, https://git-scm.com/docs/partial-clone); those are fetched when they are read, many at
once. Small ones stay whole: every commit would cost another question.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hub.sources.errors import RepositoryUnreachable, SourceTooLarge
from hub.sources.objects import GitObjects
from hub.sources.refs import HEAD_REF, Refs
from hub.sources.remote import MirrorBroken, Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hub.sources.credentials import Credentials
    from hub.sources.process import GitRunner, Outcome
    from hub.sources.urls import RepoUrl

FETCH_SECONDS = 120.0
CLONE_SECONDS = 600.0
GC_SECONDS = 300.0
GC_EVERY = 500
"""Fetches between two clean-ups."""
WHOLE_BYTES = 64 * 1024 * 1024
"""A clone that is larger becomes a partial one."""
MAX_PREFETCH = 512 * 1024 * 1024
"""Contents that one question may bring, packed."""
LEFTOVER_SECONDS = 2 * CLONE_SECONDS
TEMP_PREFIX = "tmp-"
NAME_LENGTH = 32
"""Of a mirror's folder; longer ones are from when readers were not kept apart."""

_PARTIAL = "axletree-partial"
_NO_CONTENTS, _SMALL = "blob:none", "blob:limit=256k"
_BRANCHES = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_HEAD = f"+HEAD:{HEAD_REF}"
_FETCH = (
    "fetch",
    "--quiet",
    "--force",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
)
_log = logging.getLogger(__name__)


class Mirror:
    """The mirror of one repository, as one reader sees it: what was fetched with a Secret is not for who has it not.

    `fetch` and `clone` are for one thread at a time; the owner sees to that.
    """

    def __init__(
        self,
        cache: Path,
        url: RepoUrl,
        runner: GitRunner,
        *,
        whole_bytes: int = WHOLE_BYTES,
        own_keys: bool = False,
        reader: str = "",
    ) -> None:
        name = hashlib.sha256(f"{reader}\n{url}".encode()).hexdigest()[:NAME_LENGTH]
        self.url = url
        self.path = cache / f"{name}.git"
        self.objects = GitObjects(self.path, runner)
        self.refs = Refs(self.objects, self.path, runner)
        self._runner = runner
        self._remote = Remote(url, runner, cache, own_keys=own_keys)
        self._whole_bytes = whole_bytes
        self._headless = False
        self._fetches = 0
        self.objects.partial = self.partial

    @property
    def exists(self) -> bool:
        return (self.path / "HEAD").is_file()

    @property
    def partial(self) -> bool:
        """Whether contents of files are missing until they are asked for."""
        return (self.path / _PARTIAL).exists()

    def fetch(self, credentials: Credentials | None, *, head: bool = False) -> None:
        """Brings all branches and tags up to date, forced and deleted ones too.

        `head` asks for the remote's HEAD again after it once had none. Raises `MirrorBroken`, or what the
        remote side's answer means.
        """
        head = head or not self._headless
        if self.partial:
            self._fetch_new(credentials, head=head)
        else:
            self._fetch_into(self.path, credentials, head=head, seconds=FETCH_SECONDS)
        self._clean()

    def _fetch_new(self, credentials: Credentials | None, *, head: bool) -> None:
        """What is new for a partial mirror, its smaller contents with it: most likely they are read next.

        After a long time away that may be very much; then without them.
        """
        grown = self._size(self.path) + self._whole_bytes
        for contents, stop_when in ((_SMALL, lambda: self._size(self.path) > grown), (_NO_CONTENTS, None)):
            try:
                self._fetch_into(
                    self.path,
                    credentials,
                    head=head,
                    seconds=FETCH_SECONDS,
                    stop_when=stop_when,
                    contents=contents,
                )
            except SourceTooLarge:
                continue
            return

    def fetch_commit(self, commit: str, credentials: Credentials | None) -> bool:
        """Fetches one commit that no branch holds; whether the remote side gave it."""
        refspec = f"+{commit}:refs/axletree/commits/{commit}"
        outcome = self._ask([*_FETCH, *self._from(self.path), refspec], self.path, credentials, FETCH_SECONDS)
        return outcome.status == 0

    def fetch_blobs(self, oids: Sequence[str], credentials: Credentials | None) -> None:
        """Brings contents that a partial mirror lacks, all with one question. Raises as `fetch`."""
        grown = self._size(self.path) + MAX_PREFETCH
        outcome = self._remote.run(
            ["-c", "fetch.negotiationAlgorithm=noop", *_FETCH, "--stdin", "origin"],
            self.path,
            credentials,
            seconds=FETCH_SECONDS,
            config=self._config(self.path),
            lines=oids,
            stop_when=lambda: self._size(self.path) > grown,
        )
        if outcome.status != 0:
            raise self._remote.failure(outcome, credentials, FETCH_SECONDS)
        self._clean()

    def clone(self, credentials: Credentials | None) -> Path:
        """A new mirror beside the place of this one: give it to `install`, or remove it."""
        fresh = self._empty(partial=False)
        try:
            try:
                self._fetch_into(
                    fresh,
                    credentials,
                    head=True,
                    seconds=CLONE_SECONDS,
                    stop_when=lambda: self._size(fresh) > self._whole_bytes,
                )
            except SourceTooLarge:
                shutil.rmtree(fresh, ignore_errors=True)
                fresh = self._empty(partial=True)
                self._fetch_into(fresh, credentials, head=True, seconds=CLONE_SECONDS)
        except BaseException as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if isinstance(error, MirrorBroken):
                # nothing old is in it, so it is not the mirror
                raise RepositoryUnreachable(f"{self.url}: {error}") from error
            raise
        return fresh

    def _empty(self, *, partial: bool) -> Path:
        """A new repository with nothing in it."""
        cache = self.path.parent
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=cache))
        command = ["init", "--bare", "--quiet", "--template="]
        try:
            outcome = self._runner.run(command, git_dir=fresh, timeout=FETCH_SECONDS)
            if outcome.status != 0:
                raise RepositoryUnreachable(f"{self.url}: no mirror is made: {outcome.stderr[-300:]!a}")  # noqa: TRY301 - cleared away like any failure
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if partial:
            (fresh / _PARTIAL).touch()
        return fresh

    def install(self, fresh: Path) -> None:
        """Puts a new clone in place; nobody may read objects meanwhile."""
        self.objects.close()
        if self.path.exists():
            old = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=self.path.parent))
            self.path.rename(old / "old")
            fresh.rename(self.path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.rename(self.path)
        self.objects.partial = self.partial

    def _fetch_into(
        self,
        git_dir: Path,
        credentials: Credentials | None,
        *,
        head: bool,
        seconds: float,
        stop_when: Callable[[], bool] | None = None,
        contents: str = _NO_CONTENTS,
    ) -> None:
        config = self._config(git_dir, contents)
        command = [*_FETCH, "--prune", *self._from(git_dir), *_BRANCHES]
        if head:
            outcome = self._ask([*command, _HEAD], git_dir, credentials, seconds, stop_when, config=config)
            if outcome.status == 0:
                self._headless = False
                return
            if outcome.stopped or "couldn't find remote ref head" not in outcome.stderr.lower():
                raise self._remote.failure(outcome, credentials, seconds)
            # empty, or its HEAD names a branch that does not exist
            self._headless = True
            self._runner.run(["update-ref", "-d", HEAD_REF], git_dir=git_dir, timeout=seconds)
        outcome = self._ask(command, git_dir, credentials, seconds, stop_when, config=config)
        if outcome.status != 0:
            raise self._remote.failure(outcome, credentials, seconds)

    def _ask(
        self,
        command: Sequence[str],
        git_dir: Path,
        credentials: Credentials | None,
        seconds: float,
        stop_when: Callable[[], bool] | None = None,
        *,
        config: Sequence[tuple[str, str]] = (),
    ) -> Outcome:
        return self._remote.run(
            command,
            git_dir,
            credentials,
            seconds=seconds,
            config=config or self._config(git_dir),
            stop_when=stop_when,
        )

    def _from(self, git_dir: Path) -> tuple[str, ...]:
        """Git filters only for a remote that has a name."""
        return ("origin",) if (git_dir / _PARTIAL).exists() else ("--", str(self.url))

    def _config(self, git_dir: Path, contents: str = _NO_CONTENTS) -> list[tuple[str, str]]:
        """Who gives what is missing. Only commands that fetch are told: nothing else may begin to."""
        if not (git_dir / _PARTIAL).exists():
            return []
        return [
            ("remote.origin.url", str(self.url)),
            ("remote.origin.promisor", "true"),
            ("remote.origin.partialclonefilter", contents),
        ]

    def _clean(self) -> None:
        """Now and then: each fetch may leave a pack, and finding an object looks into all of them."""
        self._fetches += 1
        if self._fetches % GC_EVERY == 0:
            outcome = self._runner.run(
                ["gc", "--auto", "--quiet"],
                git_dir=self.path,
                timeout=GC_SECONDS,
                config=self._config(self.path),
            )
            if outcome.status != 0:
                _log.warning("cleaning the mirror of %s failed: %s", self.url, ascii(outcome.stderr[-300:]))

    @staticmethod
    def _size(git_dir: Path) -> int:
        """Bytes in packs, the one that just comes in included."""
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(git_dir / "objects" / "pack") as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total


def remove_leftovers(cache: Path) -> None:
    """Removes what an interrupted clone left, once it is older than any running one could be."""
    for path in cache.glob(f"{TEMP_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
    for path in cache.glob("*.git"):
        if len(path.stem) > NAME_LENGTH:
            shutil.rmtree(path, ignore_errors=True)
