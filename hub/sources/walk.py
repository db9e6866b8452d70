"""Walking a repository's tree as it is stored, links followed by our own rules.

The same walk serves Git objects and a directory, so that both mean the same. A link is followed only inside
the repository, at most so many times, and never in a circle; the operating system's own following is not
used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from hub.sources.errors import PathNotFound, SourceTooLarge, SymlinkBroken, SymlinkEscape
from hub.sources.port import RepoListing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_LINKS = 16
"""Links followed for one path, as many as the strictest of common systems allows."""
MAX_TARGET = 4096
MAX_FILES = 20_000
"""Files and folders below one application's path; links can multiply them, so size alone is no bound."""
MAX_LISTED = 1_000_000
"""Files and folders of a whole repository."""


class Kind(StrEnum):
    DIR = "dir"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name in a folder stands for; `oid` says which content, within one reader of objects."""

    kind: Kind
    oid: str


class Objects(Protocol):
    """A reader of folders and files by id."""

    def trees(self, oids: Sequence[str]) -> list[Mapping[str, Entry]]:
        """Each folder's entries, in the order asked."""
        ...

    def blobs(self, oids: Sequence[str], *, limit_bytes: int) -> Iterator[bytes]:
        """Each file's (or link's) content, in the order asked; `SourceTooLarge` past the sum."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path led: the entry, and its path once every link was followed."""

    entry: Entry
    real: tuple[str, ...]


def locate(objects: Objects, root: str, path: str) -> Found | None:
    """What is at the checked path below the root folder `root`, links followed; None where nothing is.

    A path that ends at a link which leads nowhere is nothing, too: who asked by name is told so by its own
    rules.
    """
    return _follow(objects, root, at=(), parts=_parts(path), shown=path)


def _follow(
    objects: Objects, root: str, *, at: tuple[str, ...], parts: Sequence[str], shown: str
) -> Found | None:
    """Walks `parts` from the real folder `at`. `shown` is the path to name in errors."""
    stack = _descend(objects, root, at)
    pending = list(reversed(parts))
    links = 0
    while pending:
        name = pending.pop()
        if name == "..":
            if len(stack) == 1:
                raise SymlinkEscape(f"{shown}: a link leads outside the repository")
            stack.pop()
            continue
        if stack[-1][1].kind is not Kind.DIR:
            return None
        entry = objects.trees([stack[-1][1].oid])[0].get(name)
        if entry is None:
            return None
        if entry.kind is not Kind.LINK:
            stack.append((name, entry))
            continue
        links += 1
        if links > MAX_LINKS:
            raise SymlinkBroken(f"{shown}: more than {MAX_LINKS} links in a row, or links in a circle")
        pending.extend(reversed(_parts(_target(objects, entry, shown))))
    return Found(stack[-1][1], tuple(name for name, _ in stack[1:]))


def _descend(objects: Objects, root: str, at: tuple[str, ...]) -> list[tuple[str, Entry]]:
    """The folders from the root to the real folder `at`, which exists and holds no links on its way."""
    stack = [("", Entry(Kind.DIR, root))]
    for name in at:
        stack.append((name, objects.trees([stack[-1][1].oid])[0][name]))
    return stack


def _target(objects: Objects, entry: Entry, shown: str) -> str:
    try:
        target = next(objects.blobs([entry.oid], limit_bytes=MAX_TARGET)).decode(errors="backslashreplace")
    except SourceTooLarge as error:
        raise SymlinkBroken(f"{shown}: a link's target is too long") from error
    if target.startswith("/"):
        raise SymlinkEscape(f"{shown}: a link leads to an absolute path")
    return target


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be read: its name below the start, where it really is, the linked folders on the way."""

    name: str
    entry: Entry
    real: tuple[str, ...]
    jumps: frozenset[tuple[str, ...]] = frozenset()


def expand(objects: Objects, root: str, path: str) -> dict[str, str]:
    """Every file below the path: its name relative to it -> its blob's id, in sorted order.

    Raises `PathNotFound`, `SymlinkEscape`, `SymlinkBroken`, `SourceTooLarge`.
    """
    start = locate(objects, root, path)
    if start is None:
        raise PathNotFound(f"{path or '.'}: no such path in the repository")
    if start.entry.kind is Kind.FILE:
        return {path.rpartition("/")[2]: start.entry.oid}
    files: dict[str, str] = {}
    folders = 0
    level = [_Folder("", start.entry, start.real)]
    while level:
        folders += len(level)
        deeper: list[_Folder] = []
        trees = objects.trees([folder.entry.oid for folder in level])
        for folder, tree in zip(level, trees, strict=True):
            for name, entry in tree.items():
                _place(objects, root, folder, name=name, entry=entry, path=path, files=files, deeper=deeper)
            if len(files) + folders + len(deeper) > MAX_FILES:
                raise SourceTooLarge(f"{path or '.'}: more than {MAX_FILES} files and folders")
        level = deeper
    return dict(sorted(files.items()))


def _place(
    objects: Objects,
    root: str,
    folder: _Folder,
    *,
    name: str,
    entry: Entry,
    path: str,
    files: dict[str, str],
    deeper: list[_Folder],
) -> None:
    """Puts one entry where it belongs: a file among `files`, a folder (also behind a link) into `deeper`."""
    below = f"{folder.name}/{name}" if folder.name else name
    real, jumps = (*folder.real, name), folder.jumps
    if entry.kind is Kind.LINK:
        shown = f"{path}/{below}" if path else below
        parts = _parts(_target(objects, entry, shown))
        found = _follow(objects, root, at=folder.real, parts=parts, shown=shown)
        if found is None:
            raise SymlinkBroken(f"{shown}: a link leads to nothing")
        entry, real = found.entry, found.real
        if entry.kind is Kind.DIR:
            if real in jumps or real == folder.real[: len(real)]:
                raise SymlinkBroken(f"{shown}: a link leads to a folder that holds it")
            jumps |= {real}
    if entry.kind is Kind.DIR:
        deeper.append(_Folder(below, entry, real, jumps))
    else:
        files[below] = entry.oid


def listing(objects: Objects, root: str) -> RepoListing:
    """Every path below the root, links not followed."""
    files: list[str] = []
    dirs: list[str] = []
    level = [("", root)]
    while level:
        deeper: list[tuple[str, str]] = []
        for (prefix, _), tree in zip(level, objects.trees([oid for _, oid in level]), strict=True):
            for name, entry in tree.items():
                if entry.kind is Kind.DIR:
                    deeper.append((f"{prefix}{name}/", entry.oid))
                else:
                    files.append(prefix + name)
            if len(files) + len(dirs) + len(deeper) > MAX_LISTED:
                raise SourceTooLarge(f"the repository holds more than {MAX_LISTED} files and folders")
        dirs.extend(prefix[:-1] for prefix, _ in deeper)
        level = deeper
    return RepoListing(tuple(sorted(files)), tuple(sorted(dirs)))


def holds_links(objects: Objects, oid: str) -> bool:
    """Whether any link is below the folder."""
    level = [oid]
    seen = {oid}
    while level:
        deeper: list[str] = []
        for tree in objects.trees(level):
            for entry in tree.values():
                if entry.kind is Kind.LINK:
                    return True
                if entry.kind is Kind.DIR and entry.oid not in seen:
                    seen.add(entry.oid)
                    deeper.append(entry.oid)
        level = deeper
    return False


def linked_identity(objects: Objects, root: str, path: str) -> str:
    """An id for a folder that holds links: over what they lead to, which its own tree id does not cover.

    Where they lead nowhere allowed, any other commit may heal them: the id then follows the whole repository.
    """
    try:
        content = "".join(f"{name}\0{oid}\n" for name, oid in expand(objects, root, path).items())
    except (SymlinkBroken, SymlinkEscape, SourceTooLarge):
        content = f"broken\0{root}\0{path}"
    return hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()
