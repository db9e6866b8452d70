"""Reading files below a path of one tree: the same for Git objects and for a directory. Blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.sources import walk
from hub.sources.errors import LfsPointer, PathNotFound, SourceTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

LFS_MARK = b"version https://git-lfs.github.com/spec/"
LFS_MAX = 1024
"""Bytes; a pointer is shorter by its specification, git-lfs/docs/spec.md."""


def below(objects: walk.Objects, root: str, path: str, *, limit_bytes: int) -> dict[str, bytes]:
    """Every file's content below the path, by its name relative to it."""
    found = walk.expand(objects, root, path)
    return _contents(objects, found, prefix=path, limit_bytes=limit_bytes)


def named(objects: walk.Objects, root: str, paths: Sequence[str], *, limit_bytes: int) -> dict[str, bytes]:
    """The content of each path, which must be a file or a link to one."""
    oids: dict[str, str] = {}
    for path in paths:
        found = walk.locate(objects, root, path)
        if found is None or found.entry.kind is not walk.Kind.FILE:
            raise PathNotFound(f"{path or '.'}: no such file in the repository")
        oids[path] = found.entry.oid
    return _contents(objects, oids, prefix="", limit_bytes=limit_bytes)


def _contents(
    objects: walk.Objects, oids: dict[str, str], *, prefix: str, limit_bytes: int
) -> dict[str, bytes]:
    wanted = list(dict.fromkeys(oids.values()))
    try:
        by_oid = dict(zip(wanted, objects.blobs(wanted, limit_bytes=limit_bytes), strict=True))
    except SourceTooLarge as error:
        raise SourceTooLarge(f"{prefix or '.'}: more than {limit_bytes} bytes of files") from error
    contents = {name: by_oid[oid] for name, oid in oids.items()}
    for name, content in contents.items():
        if len(content) < LFS_MAX and content.startswith(LFS_MARK):
            shown = f"{prefix}/{name}" if prefix else name
            raise LfsPointer(f"{shown}: the repository holds a Git LFS pointer in its place")
    return contents
