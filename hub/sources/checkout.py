"""A checkout as it was at a revision: its files, written out beside it. For people's own folders, not for the hub.

Files are written as Git stores them, which is what a hub reads. `git archive` would not do: attributes leave files out
of it, rewrite others, and have programs run that the checkout's own configuration names, whoever wrote that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hub.sources.errors import PathNotFound, RevisionNotFound, RevisionRefused
from hub.sources.objects import GitObjects, ObjectsBroken
from hub.sources.process import GitRunner
from hub.sources.walk import Kind

_REVISION = re.compile(r"[A-Za-z0-9_@^~./{}-]{1,200}")
_LINK = "gitdir: "
_NO_BOUND = 1 << 40
"""Bytes: a person's own folder is as large as it is."""


def top_of(folder: Path) -> Path | None:
    """The checkout that a folder is in; None where it is in none."""
    folder = folder.absolute()
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def export(folder: Path, revision: str, *, into: Path) -> Path:
    """The folder as it was at a revision (`HEAD~1`, a branch, a commit), written below `into`.

    Blocking. Raises `RevisionNotFound`, and `PathNotFound` for a folder that is in no checkout, or was not
    there then.
    """
    top = top_of(folder)
    if top is None:
        raise PathNotFound(f"{folder} is in no Git checkout")
    if not _REVISION.fullmatch(revision) or revision.startswith("-"):
        raise RevisionRefused(f"{revision[:100]!a} is no revision")
    into.mkdir(parents=True, exist_ok=True)
    home = into / ".home"
    home.mkdir(exist_ok=True)
    runner = GitRunner(home)
    git_dir = _git_dir(top)
    commit = _output(runner, git_dir, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    if not commit:
        raise RevisionNotFound(f"{top}: no branch, tag or commit {revision}")
    prefix = folder.absolute().relative_to(top).as_posix()
    target = into / commit.decode()[:12]
    objects = GitObjects(git_dir, runner)
    try:
        found = objects.commit(commit.decode())
        tree = _tree(objects, found[1], prefix) if found is not None else None
        if tree is None:
            raise PathNotFound(f"{folder}: was not there at {revision}")
        _write(objects, tree, target / prefix)
    except ObjectsBroken as error:
        raise PathNotFound(f"{folder}: not readable at {revision}: {error}") from error
    finally:
        objects.close()
    return target / prefix


def _tree(objects: GitObjects, root: str, path: str) -> str | None:
    """The id of the folder at a path; None where there is none."""
    at = root
    for name in Path(path).parts:
        entry = objects.trees([at])[0].get(name)
        if entry is None or entry.kind is not Kind.DIR:
            return None
        at = entry.oid
    return at


def _write(objects: GitObjects, tree: str, target: Path) -> None:
    """The folder as it is stored. Links come last, when nothing is written that could go through one."""
    places: dict[Kind, dict[Path, str]] = {Kind.FILE: {}, Kind.LINK: {}}
    level = [(target, tree)]
    while level:
        deeper: list[tuple[Path, str]] = []
        for (top, _), entries in zip(level, objects.trees([oid for _, oid in level]), strict=True):
            top.mkdir(parents=True, exist_ok=True)
            for name, entry in entries.items():
                if entry.kind is Kind.DIR:
                    deeper.append((top / name, entry.oid))
                else:
                    places[entry.kind][top / name] = entry.oid
        level = deeper
    for kind, found in places.items():
        contents = objects.blobs(list(found.values()), limit_bytes=_NO_BOUND)
        for path, data in zip(found, contents, strict=True):
            path.unlink(missing_ok=True)  # of an earlier folder within this one
            if kind is Kind.FILE:
                path.write_bytes(data)
            else:
                path.symlink_to(os.fsdecode(data))


def _git_dir(top: Path) -> Path:
    """A checkout beside another has a file that names its folder."""
    mark = top / ".git"
    if mark.is_dir():
        return mark
    text = mark.read_text(encoding="utf-8").strip()
    return (top / text.removeprefix(_LINK)).resolve()


def _output(runner: GitRunner, git_dir: Path, *arguments: str) -> bytes:
    process = runner.open(arguments, git_dir=git_dir)
    try:
        return process.stdout.read() if process.stdout is not None else b""
    finally:
        runner.end(process)
