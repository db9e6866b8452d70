"""One repository's bare mirror on disk: made, brought up to date, repaired. Blocking; no event loop here.

A mirror is a cache, whole or not there: it is cloned beside its place and renamed into it, and one that Git
cannot use any more is replaced by a new clone.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from git.cmd import Git
from git.exc import UnsafeProtocolError

from hub.sources.errors import RepositoryDenied, RepositoryRefused, RepositoryUnreachable
from hub.sources.objects import GitObjects
from hub.sources.semver import Range, is_range
from hub.sources.urls import RepoUrl, is_commit

if TYPE_CHECKING:
    from hub.sources.credentials import Credentials
    from hub.sources.process import GitRunner, Outcome

FETCH_SECONDS = 120.0
CLONE_SECONDS = 600.0
GC_SECONDS = 300.0
GC_EVERY = 500
"""Fetches between two clean-ups: each fetch may leave a pack, and finding an object looks into all of
them."""
LEFTOVER_SECONDS = 2 * CLONE_SECONDS
TEMP_PREFIX = "tmp-"

MAX_TAGS = 100_000
NAME = re.compile(r"v?[0-9.]+\.[xX]", re.ASCII)
"""Ranges that people also give branches for names."""

_HEAD_REF = "refs/axletree/HEAD"
_BRANCHES = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_HEAD = f"+HEAD:{_HEAD_REF}"
_FETCH = (
    "fetch",
    "--quiet",
    "--force",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
)
_REMOTE_FAILURES = (
    "unable to access",
    "could not resolve",
    "could not read",
    "does not appear to be a git repository",
    "remote error",
    "remote end hung up",
    "rpc failed",
    "early eof",
    "expected flush",
    "invalid server response",
    "protocol error",
    "authentication failed",
    "permission denied",
    "host key verification failed",
    "connection",
    "couldn't find remote ref",
    "not our ref",
    "unadvertised object",
)
_DENIED = (
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied",
    "returned error: 401",
    "returned error: 403",
    "returned error: 404",
    "' not found",
)
_log = logging.getLogger(__name__)


class MirrorBroken(Exception):
    """Git failed, and not for a reason that lies with the remote side."""


class Mirror:
    """The mirror of one repository.

    `fetch` and `clone` are for one thread at a time; the owner sees to that.
    """

    def __init__(self, cache: Path, url: RepoUrl, runner: GitRunner) -> None:
        name = hashlib.sha256(str(url).encode()).hexdigest()[:40]
        self.url = url
        self.path = cache / f"{name}.git"
        self.objects = GitObjects(self.path, runner)
        self._runner = runner
        self._headless = False
        self._fetches = 0

    @property
    def exists(self) -> bool:
        return (self.path / "HEAD").is_file()

    def find(self, revision: str) -> str | None:
        """The commit that a checked revision names in the mirror. A branch goes before a tag of its name.

        A range of versions means the highest tag in it, where nothing has the range for its own name.
        """
        if is_range(revision):
            return self._find_range(revision)
        if revision == "HEAD":
            names = [_HEAD_REF]
        elif is_commit(revision) or revision.startswith(("refs/heads/", "refs/tags/")):
            names = [revision]
        else:
            names = [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        for name in names:
            found = self.objects.commit(name)
            if found is not None:
                return found[0]
        return None

    def _find_range(self, revision: str) -> str | None:
        named = self.objects.commit(f"refs/heads/{revision}") if NAME.fullmatch(revision) else None
        if named is not None:
            return named[0]
        process = self._runner.open(
            ["for-each-ref", f"--count={MAX_TAGS}", "--format=%(refname:lstrip=2)", "refs/tags"],
            git_dir=self.path,
        )
        try:
            listed = process.stdout.read() if process.stdout else b""
        finally:
            self._runner.end(process)
        best = Range.parse(revision).best(listed.decode(errors="replace").split())
        found = self.objects.commit(f"refs/tags/{best}") if best else None
        return found[0] if found else None

    def fetch(self, credentials: Credentials | None, *, head: bool = False) -> None:
        """Brings all branches and tags up to date, forced and deleted ones too.

        `head` asks for the remote's HEAD again after it once had none. Raises `MirrorBroken`, or what the
        remote side's answer means.
        """
        self._fetch_into(self.path, credentials, head=head or not self._headless, seconds=FETCH_SECONDS)
        self._fetches += 1
        if self._fetches % GC_EVERY == 0:
            outcome = self._runner.run(["gc", "--auto", "--quiet"], git_dir=self.path, timeout=GC_SECONDS)
            if outcome.status != 0:
                _log.warning("cleaning the mirror of %s failed: %s", self.url, ascii(outcome.stderr[-300:]))

    def fetch_commit(self, commit: str, credentials: Credentials | None) -> bool:
        """Fetches one commit that no branch holds; whether the remote side gave it."""
        refspec = f"+{commit}:refs/axletree/commits/{commit}"
        outcome = self._run([*_FETCH, "--", str(self.url), refspec], self.path, credentials, FETCH_SECONDS)
        return outcome.status == 0

    def clone(self, credentials: Credentials | None) -> Path:
        """A complete new mirror beside the place of this one: give it to `install`, or remove it."""
        cache = self.path.parent
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=cache))
        try:
            outcome = self._runner.run(
                ["init", "--bare", "--quiet", "--template="], git_dir=fresh, timeout=FETCH_SECONDS
            )
            if outcome.status != 0:
                raise MirrorBroken(outcome.stderr[-300:])  # noqa: TRY301 - handled with the fetch's failures
            self._fetch_into(fresh, credentials, head=True, seconds=CLONE_SECONDS)
        except BaseException as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if isinstance(error, MirrorBroken):
                # nothing old is in it, so it is not the mirror
                raise RepositoryUnreachable(f"{self.url}: {error}") from error
            raise
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

    def _fetch_into(
        self, git_dir: Path, credentials: Credentials | None, *, head: bool, seconds: float
    ) -> None:
        command = [*_FETCH, "--prune", "--", str(self.url), *_BRANCHES]
        if head:
            outcome = self._run([*command, _HEAD], git_dir, credentials, seconds)
            if outcome.status == 0:
                self._headless = False
                return
            if "couldn't find remote ref head" not in outcome.stderr.lower():
                raise self._failure(outcome, credentials, seconds)
            # empty, or its HEAD names a branch that does not exist
            self._headless = True
            self._run(["update-ref", "-d", _HEAD_REF], git_dir, None, seconds)
        outcome = self._run(command, git_dir, credentials, seconds)
        if outcome.status != 0:
            raise self._failure(outcome, credentials, seconds)

    def _run(
        self, args: list[str], git_dir: Path, credentials: Credentials | None, seconds: float
    ) -> Outcome:
        try:
            Git.check_unsafe_protocols(str(self.url))  # a second lock: our own allow-list is the first
        except UnsafeProtocolError as error:
            raise RepositoryRefused(f"{self.url}: its protocol is refused") from error
        config = []
        if credentials is not None and self.url.scheme in {"http", "https"}:
            config = [(f"http.{self.url}.extraHeader", f"Authorization: {credentials.header()}")]
        return self._runner.run(args, git_dir=git_dir, timeout=seconds, config=config)

    def _failure(self, outcome: Outcome, credentials: Credentials | None, seconds: float) -> Exception:
        """What a failed fetch means, in words fit for a status: scrubbed, bounded, on one line."""
        if outcome.timed_out:
            return RepositoryUnreachable(f"{self.url}: no answer within {seconds:g} s")
        if outcome.status < 0:
            return RepositoryUnreachable(f"{self.url}: git was ended by signal {-outcome.status}")
        text = credentials.scrub(outcome.stderr) if credentials is not None else outcome.stderr
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = next(
            (line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else ""
        )
        said = ascii(said.partition(": ")[2] or said)[1:-1][:300] or f"git ended with status {outcome.status}"
        lower = text.lower()
        if "returned error: 30" in lower or "unable to update url base from redirection" in lower:
            return RepositoryRefused(f"{self.url}: it redirects; use the address that it redirects to")
        if any(mark in lower for mark in _DENIED):
            return RepositoryDenied(f"{self.url}: {said}")
        if any(mark in lower for mark in _REMOTE_FAILURES):
            return RepositoryUnreachable(f"{self.url}: {said}")
        return MirrorBroken(said)


def remove_leftovers(cache: Path) -> None:
    """Removes what an interrupted clone left, once it is older than any running one could be."""
    for path in cache.glob(f"{TEMP_PREFIX}*"):
        try:
            old = time.time() - path.stat().st_mtime > LEFTOVER_SECONDS
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(path, ignore_errors=True)
