"""What names mean in a mirror: branches, tags, ranges of versions among them, and what of it is signed. Blocking."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hub.sources.errors import RevisionNotFound
from hub.sources.semver import Range, is_range
from hub.sources.signing import commit_signature, tag_signature
from hub.sources.urls import is_commit

if TYPE_CHECKING:
    from pathlib import Path

    from hub.sources.objects import GitObjects
    from hub.sources.process import GitRunner
    from hub.sources.signing import Signed

MAX_TAGS = 100_000
_ANCESTRY_SECONDS = 10.0
HEAD_REF = "refs/axletree/HEAD"
NAME = re.compile(r"v?[0-9.]+\.[xX]", re.ASCII)
"""Ranges that people also give branches for names."""


class Refs:
    """The names of one mirror."""

    def __init__(self, objects: GitObjects, git_dir: Path, runner: GitRunner) -> None:
        self._objects = objects
        self._git_dir = git_dir
        self._runner = runner

    def find(self, revision: str) -> str | None:
        """The commit that a checked revision names here. A branch goes before a tag of its name.

        A range of versions means the highest tag in it, where nothing has the range for its own name.
        """
        if is_range(revision):
            return self._find_range(revision)
        if revision == "HEAD":
            names = [HEAD_REF]
        elif is_commit(revision) or revision.startswith(("refs/heads/", "refs/tags/")):
            names = [revision]
        else:
            names = [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        for name in names:
            found = self._objects.commit(name)
            if found is not None:
                return found[0]
        return None

    def contains(self, commit: str, revision: str) -> bool:
        """Whether the history of a commit has the one that a full or short id names; false where nothing is known."""
        found = self._objects.commit(revision)
        if found is None:
            return False
        asked = ["merge-base", "--is-ancestor", found[0], commit]
        return self._runner.run(asked, git_dir=self._git_dir, timeout=_ANCESTRY_SECONDS).status == 0

    def signatures(self, commit: str, revision: str) -> list[Signed]:
        """What signatures there are: the commit's own, and that of the tag which the revision names or means."""
        body = self._objects.raw(commit, "commit")
        if body is None:
            raise RevisionNotFound(f"commit {commit} is not there (any more)")
        found = [commit_signature(body)]
        branch = NAME.fullmatch(revision) and self._objects.commit(f"refs/heads/{revision}")
        tag = (self._best(revision) if is_range(revision) and not branch else revision) or ""
        tag = tag.removeprefix("refs/tags/")
        if tag and tag != "HEAD" and not is_commit(tag):
            tagged = self._objects.raw(f"refs/tags/{tag}", "tag")
            found.append(tag_signature(tagged, name=tag, commit=commit) if tagged is not None else None)
        return [one for one in found if one is not None]

    def _find_range(self, revision: str) -> str | None:
        named = self._objects.commit(f"refs/heads/{revision}") if NAME.fullmatch(revision) else None
        if named is not None:
            return named[0]
        best = self._best(revision)
        found = self._objects.commit(f"refs/tags/{best}") if best else None
        return found[0] if found else None

    def _best(self, revision: str) -> str | None:
        """The highest tag of a range."""
        process = self._runner.open(
            ["for-each-ref", f"--count={MAX_TAGS}", "--format=%(refname:lstrip=2)", "refs/tags"],
            git_dir=self._git_dir,
        )
        try:
            listed = process.stdout.read() if process.stdout else b""
        finally:
            self._runner.end(process)
        return Range.parse(revision).best(listed.decode(errors="replace").split())
