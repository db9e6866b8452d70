"""Git's objects through one `git cat-file --batch` process: trees and blobs by id, never by path.

No path that anybody wrote reaches Git; it is walked here, over trees that are cached. So an unchanged folder
costs nothing in the next commit, and a question about a path costs no process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from hub.sources import walk
from hub.sources.errors import SourceTooLarge
from hub.sources.walk import Entry, Kind, Objects

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hub.sources.process import GitRunner

CHUNK = 256
"""Requests in flight: their lines fit a pipe's buffer, so neither side ever waits for the other to read
first."""
CACHED_ENTRIES = 20_000
"""Bound on cached tree entries a repository; about 6 MB."""
CACHED_ROOTS = 256
MAX_COMMIT = 1024 * 1024
MAX_THERE = 200_000
"""Contents known to be in a partial mirror; about 20 MB."""

_KINDS = {
    b"40000": Kind.DIR,
    b"100644": Kind.FILE,
    b"100755": Kind.FILE,
    b"100664": Kind.FILE,
    b"120000": Kind.LINK,
}


class ObjectsBroken(Exception):
    """The mirror does not hold what it should: an object is missing or unreadable, or Git gave up."""


class BlobsMissing(ObjectsBroken):
    """A partial mirror lacks these contents: fetch them, and do the same again."""

    def __init__(self, oids: Sequence[str]) -> None:
        super().__init__(f"{len(oids)} blobs are missing, {oids[0]} for one")
        self.oids = tuple(oids)


class GitObjects(Objects):
    """One mirror's objects. For one thread at a time (a lock makes sure); the process starts on first use.

    In a mirror that is `partial` contents are looked for all together before the first is read.
    """

    def __init__(self, git_dir: Path, runner: GitRunner) -> None:
        self.partial = False
        self._git_dir = git_dir
        self._runner = runner
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._trees: OrderedDict[str, Mapping[str, Entry]] = OrderedDict()
        self._cached = 0
        self._roots: dict[str, str] = {}
        self._linked: dict[str, bool] = {}
        self._there: set[str] = set()

    @property
    def is_open(self) -> bool:
        return self._process is not None

    def commit(self, name: str) -> tuple[str, str] | None:
        """(commit, root tree) of a checked reference or full id, tags peeled; None where there is none."""
        with self._lock:
            if name in self._roots:
                return name, self._roots[name]
            found = next(self._request([name + "^{commit}"], limit=MAX_COMMIT, kind=b"commit"))
            if found is None:
                return None
            oid, body = found
            first = body.split(b"\n", 1)[0]
            if not first.startswith(b"tree "):
                raise ObjectsBroken(f"commit {oid} has no tree")
            if len(self._roots) >= CACHED_ROOTS:
                self._roots.clear()
            self._roots[oid] = first[5:].decode("ascii")
            return oid, self._roots[oid]

    def holds_links(self, oid: str) -> bool:
        """Whether any link is below the folder; remembered, since a folder's id fixes the answer."""
        with self._lock:
            if oid not in self._linked:
                if len(self._linked) >= CACHED_ENTRIES:
                    self._linked.clear()
                self._linked[oid] = walk.holds_links(self, oid)
            return self._linked[oid]

    def trees(self, oids: Sequence[str]) -> list[Mapping[str, Entry]]:
        with self._lock:
            have = {oid: self._trees[oid] for oid in oids if oid in self._trees}
            lacking = [oid for oid in dict.fromkeys(oids) if oid not in have]
            for oid, found in zip(lacking, self._request(lacking, limit=None, kind=b"tree"), strict=True):
                if found is None:
                    raise ObjectsBroken(f"tree {oid} is missing")
                have[oid] = parse_tree(found[1], id_bytes=len(oid) // 2)
                self._trees[oid] = have[oid]
                self._cached += len(have[oid]) + 1
            for oid in have:
                self._trees.move_to_end(oid)
            while self._cached > CACHED_ENTRIES and self._trees:
                self._cached -= len(self._trees.popitem(last=False)[1]) + 1
            return [have[oid] for oid in oids]

    def blobs(self, oids: Sequence[str], *, limit_bytes: int) -> Iterator[bytes]:
        with self._lock:
            if self.partial:
                self._all_there(oids)
            for oid, found in zip(oids, self._request(oids, limit=limit_bytes, kind=b"blob"), strict=True):
                if found is None:
                    raise ObjectsBroken(f"blob {oid} is missing")
                yield found[1]

    def raw(self, name: str, kind: str) -> bytes | None:
        """The commit or tag that a checked name stands for itself, nothing peeled; None where it is none."""
        with self._lock:
            try:
                found = next(self._request([name], limit=MAX_COMMIT, kind=kind.encode()))
            except (ObjectsBroken, SourceTooLarge):
                return None
            return found[1] if found is not None else None

    def _all_there(self, oids: Sequence[str]) -> None:
        """Raise `BlobsMissing` for those that are not, and with them for all links in folders that were read.

        A walk meets links one after the other; nobody should ask for them one by one.
        """
        links = [
            entry.oid for tree in self._trees.values() for entry in tree.values() if entry.kind is Kind.LINK
        ]
        wanted = [oid for oid in dict.fromkeys((*oids, *links)) if oid not in self._there]
        missing: list[str] = []
        process = self._runner.open(["cat-file", "--batch-check"], git_dir=self._git_dir)
        try:
            for start in range(0, len(wanted), CHUNK):
                chunk = wanted[start : start + CHUNK]
                self._send(chunk, process)
                missing += [oid for oid in chunk if _is_missing(process)]
        finally:
            self._runner.end(process)
        if len(self._there) > MAX_THERE:
            self._there.clear()
        self._there.update(set(wanted).difference(missing))
        if missing:
            raise BlobsMissing(missing)

    def close(self) -> None:
        with self._lock:
            self._there.clear()
            if self._process is not None:
                self._runner.end(self._process)
                self._process = None
            self._trees.clear()
            self._roots.clear()
            self._linked.clear()
            self._cached = 0

    def _request(
        self, names: Sequence[str], *, limit: int | None, kind: bytes | None
    ) -> Iterator[tuple[str, bytes] | None]:
        """Each name's (id, content) in order, None for a missing one. `limit` bounds the sum of contents.

        Left early or failing in the middle, the process is ended: what it still had to say is of no use.
        """
        if not names:
            return
        if self._process is not None and self._process.poll() is not None:
            self._runner.end(self._process)
            self._process = None
        if self._process is None:
            self._process = self._runner.open(["cat-file", "--batch"], git_dir=self._git_dir)
        done = False
        try:
            for start in range(0, len(names), CHUNK):
                chunk = names[start : start + CHUNK]
                self._send(chunk, self._process)
                for position, name in enumerate(chunk):
                    answer = self._answer(name, limit, kind)
                    if limit is not None and answer is not None:
                        limit -= len(answer[1])
                    done = start + position + 1 == len(names)
                    yield answer
        finally:
            if not done:
                self._runner.end(self._process)
                self._process = None

    @staticmethod
    def _send(names: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None:
            raise ObjectsBroken("no process")
        try:
            process.stdin.write("".join(f"{name}\n" for name in names).encode("ascii"))
            process.stdin.flush()
        except OSError as error:
            raise ObjectsBroken("git cat-file ended") from error

    def _answer(self, name: str, limit: int | None, kind: bytes | None) -> tuple[str, bytes] | None:
        if self._process is None or self._process.stdout is None:
            raise ObjectsBroken("no process")
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise ObjectsBroken("git cat-file ended")
        header = line.split()
        if header[-1] in {b"missing", b"ambiguous"}:
            return None
        if len(header) != 3 or (kind is not None and header[1] != kind):  # noqa: PLR2004 - id, type, size
            raise ObjectsBroken(f"{name} is not what its tree says")
        size = int(header[2])
        if limit is not None and size > limit:
            raise SourceTooLarge(f"more than {limit} bytes left to read in one go: {size}")
        body = self._process.stdout.read(size + 1)
        if len(body) != size + 1:
            raise ObjectsBroken("git cat-file ended")
        return header[0].decode("ascii"), body[:-1]


def _is_missing(process: subprocess.Popen[bytes]) -> bool:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line.endswith(b"\n"):
        raise ObjectsBroken("git cat-file ended")
    return line.split()[-1] == b"missing"


def parse_tree(data: bytes, *, id_bytes: int) -> dict[str, Entry]:
    """A tree object's entries; submodules, and names that Git itself would not write, left out."""
    entries: dict[str, Entry] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position)
        end = data.find(b"\0", space)
        if space < 0 or end < 0 or end + id_bytes >= len(data):
            raise ObjectsBroken("a tree is cut short")
        name = data[space + 1 : end].decode(errors="backslashreplace")
        unsafe = name in {"", ".", ".."} or "/" in name or name.lower() == ".git"
        kind = None if unsafe else _KINDS.get(data[position:space])
        oid = data[end + 1 : end + 1 + id_bytes]
        if kind is not None:
            entries[name] = Entry(kind, oid.hex())
        position = end + 1 + id_bytes
    return entries
