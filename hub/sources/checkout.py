"""A checkout as it was at a revision: its files, written out beside it. For people's own folders, not for the hub."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING

from hub.sources.errors import PathNotFound, RevisionNotFound, RevisionRefused
from hub.sources.process import GitRunner

if TYPE_CHECKING:
    from pathlib import Path

_REVISION = re.compile(r"[A-Za-z0-9_@^~./{}-]{1,200}")
_LINK = "gitdir: "


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
    process = runner.open(["archive", "--format=tar", commit.decode(), "--", prefix], git_dir=git_dir)
    try:
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            archive.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise PathNotFound(f"{folder}: not there, or not readable, at {revision}: {error}") from error
    finally:
        runner.end(process)
    found = target / prefix
    if not found.is_dir():
        raise PathNotFound(f"{folder}: was not there at {revision}")
    return found


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
