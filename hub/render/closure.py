"""What a kustomization reads: the folders it builds on, found by following its own references.

Everything stays inside one commit of one repository. Remote bases, charts and absolute paths are refused here,
before the program sees them; it would fetch with the hub's network and rights.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.kube.yaml import YamlError, load_value
from hub.render.kustomize import NAMES, RENDERED
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

MAX_FOLDERS = 256
_REMOTE = re.compile(
    r"://|^git::|^gh:|/_git/|\.git(?:$|//)|^[\w.-]+@[\w.-]+:|\?(ref|version|timeout|submodules)=|^(www\.)?github\.com[/:]"
)
_FOLLOWED = ("resources", "bases", "components", "generators", "transformers", "validators")
_ALONE = {"resources", "bases"}
_REFUSED = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")


class RemoteBaseRefused(ManifestError):
    """A kustomization names what is not in its repository."""

    reason = "RemoteBaseRefused"


class KustomizeRefused(ManifestError):
    """A kustomization uses what is off: charts, or paths that leave the repository."""

    reason = "KustomizeRefused"


@dataclass(frozen=True, slots=True)
class Reference:
    """A path that a kustomization names, relative to the repository; `alone`: it can be built by itself."""

    path: str
    alone: bool
    file: str = ""
    """The kustomization that names it."""


@dataclass(slots=True)
class Closure:
    """Folders by path with their files (relative to the folder), in the order found; `steps` furthest first."""

    folders: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)


def references(folder: str, files: Mapping[str, bytes], *, where: str) -> list[Reference]:
    """The folders that the kustomization in this folder builds on. Raises `ManifestError`."""
    names = [name for name in NAMES if name in files]
    if len(names) != 1:
        said = "there is no kustomization.yaml" if not names else f"both {' and '.join(names)} are there"
        raise ManifestError(f"{folder or '.'}: {said}", where=where)
    shown = posixpath.join(folder, names[0])
    content = _content(files[names[0]], shown, where)
    for key in _REFUSED:
        if content.get(key):
            raise KustomizeRefused(f"{key} is off: name the chart as a source", where=where, file=shown)
    found: list[Reference] = []
    for key in _FOLLOWED:
        entries = content.get(key) or []
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, str) and "\n" not in entry:
                path = _inside(folder, entry, files, shown=shown, where=where)
                if path is not None:
                    found.append(Reference(path, alone=key in _ALONE, file=shown))
    return found


async def closure(
    path: str,
    read: Callable[[str], Awaitable[Mapping[str, bytes]]],
    *,
    where: str,
    extra: tuple[str, ...] = (),
) -> Closure:
    """Every folder that a build of `path` reads. `extra` are components, relative to it, that come on top."""
    found = Closure()
    open_folders: list[str] = []

    async def visit(folder: str, *, alone: bool, named_by: str = "") -> None:
        if folder in open_folders:
            raise ManifestError(f"{folder or '.'}: it builds on itself", where=where)
        if folder in found.folders:
            return
        if len(found.folders) >= MAX_FOLDERS:
            raise ManifestError(f"it builds on more than {MAX_FOLDERS} folders", where=where)
        files = await _read(read, folder, where=where, named_by=named_by)
        found.folders[folder] = files
        open_folders.append(folder)
        for reference in references(folder, files, where=where):
            await visit(reference.path, alone=alone and reference.alone, named_by=reference.file)
        open_folders.pop()
        if alone:
            found.steps.append(folder)

    await visit(path, alone=True)
    for one in extra:
        component = _inside(path, one, {}, shown="kustomize.components", where=where)
        if component is not None:
            await visit(component, alone=False, named_by="kustomize.components")
    return found


async def _read(
    read: Callable[[str], Awaitable[Mapping[str, bytes]]], folder: str, *, where: str, named_by: str
) -> Mapping[str, bytes]:
    """The folder's files. What is not there is told with the file that names it."""
    try:
        return await read(folder)
    except ManifestError as error:
        if error.reason != "PathNotFound" or not named_by:
            raise
        raise ManifestError(
            f"it names {folder or '.'}, which is not there",
            where=where,
            file=named_by,
            layer="kustomize",
            reason=error.reason,
        ) from error


def _content(data: bytes, shown: str, where: str) -> Mapping[str, Any]:
    try:
        content = load_value(data, source=shown)
    except YamlError as error:
        raise ManifestError(error.problem, where=where, file=shown, line=error.line or None) from error
    except UnicodeDecodeError as error:
        raise ManifestError("it is not UTF-8 text", where=where, file=shown) from error
    if not isinstance(content, dict | None):
        raise ManifestError("it must be a map", where=where, file=shown)
    return content or {}


def _inside(folder: str, entry: str, files: Mapping[str, bytes], *, shown: str, where: str) -> str | None:
    """The folder that an entry names; None for one of the folder's own files."""
    plain = posixpath.normpath(entry)
    if plain in files or plain == RENDERED:
        return None
    if _REMOTE.search(entry):
        raise RemoteBaseRefused(f"{entry[:200]!a}: remote bases are off: vendor it", where=where, file=shown)
    path = posixpath.normpath(posixpath.join(folder, entry))
    if entry.startswith("/") or path == ".." or path.startswith("../"):
        raise KustomizeRefused(f"{entry[:200]!a} leads outside the repository", where=where, file=shown)
    return "" if path == "." else path
