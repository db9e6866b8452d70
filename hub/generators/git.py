"""`git`: directories or files of a repository, sorted by path.

Directories give `path.path`, `path.basename`, `path.basenameNormalized` and `path.segments`; a file gives the
same of its directory, `path.filename` and `path.filenameNormalized`, and its content beside them (a list: one
set each). `pathParamPrefix: p` puts them at `p.path`. As in Argo CD, directories below one whose name starts
with a dot are left out, and an exclusion wins over every inclusion. Unlike there, `*` does not cross `/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.kube.yaml import YamlError, load_value
from hub.core.expansion import GeneratorError, Listing
from hub.core.globs import GlobError, glob_matches
from hub.core.needs import GitFilesNeed, GitListingNeed
from hub.core.params import Params, ParamsConflict, merge_params, normalize
from hub.generators.context import Context, GeneratorSpec, check_keys, entries, text

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS = ("repoURL", "revision", "directories", "files", "pathParamPrefix", "values")


def generate(spec: GeneratorSpec, context: Context) -> list[Params]:
    """What the commit has; nothing, and a need written down, while it is not known."""
    check_keys(spec, FIELDS, path="git")
    directories, files = spec.get("directories") or [], spec.get("files") or []
    if bool(directories) == bool(files):
        raise GeneratorError("exactly one of directories and files is needed", path="git")
    repo_url, revision = text(spec, "repoURL", path="git"), text(spec, "revision", path="git", default="HEAD")
    prefix = text(spec, "pathParamPrefix", path="git", default="")
    listing = context.listings.get((repo_url, revision))
    if listing is None:
        context.wanted.listings.add(GitListingNeed(repo_url, revision))
        return []
    context.wanted.used[(repo_url, revision)] = listing.commit
    if directories:
        return [_at(prefix, _directory(path)) for path in _directories(directories, listing)]
    paths = _selected(files, listing.files, path="git.files")
    missing = tuple(path for path in paths if (repo_url, revision, path) not in context.contents)
    if missing:
        context.wanted.files.add(GitFilesNeed(repo_url, revision, missing))
        return []
    found: list[Params] = []
    for path in paths:
        found.extend(_file(path, context.contents[repo_url, revision, path], prefix))
    return found


def _directories(patterns: Any, listing: Listing) -> list[str]:
    visible = (path for path in listing.dirs if not any(part.startswith(".") for part in path.split("/")))
    return _selected(patterns, visible, path="git.directories")


def _selected(patterns: Any, paths: Iterable[str], *, path: str) -> list[str]:
    included: list[str] = []
    excluded: list[str] = []
    for index, entry in enumerate(entries(patterns, path=path)):
        at = f"{path}[{index}]"
        check_keys(entry, ("path", "exclude"), path=at)
        pattern = text(entry, "path", path=at).strip("/").removeprefix("./")
        (excluded if entry.get("exclude") else included).append(pattern)
    try:
        return sorted(
            one
            for one in set(paths)
            if any(glob_matches(pattern, one) for pattern in included)
            and not any(glob_matches(pattern, one) for pattern in excluded)
        )
    except GlobError as error:
        raise GeneratorError(str(error), path=path) from error


def _directory(path: str) -> Params:
    segments = path.split("/")
    basename = segments[-1]
    return {
        "path": path,
        "basename": basename,
        "basenameNormalized": normalize(basename),
        "segments": segments,
    }


def _file(path: str, content: str, prefix: str) -> list[Params]:
    folder, _, filename = path.rpartition("/")
    place = {
        **_directory(folder or "."),
        "filename": filename,
        "filenameNormalized": normalize(filename),
    }
    try:
        value = load_value(content, source=path)
    except YamlError as error:
        raise GeneratorError(str(error), path="git.files") from error
    if value is None:
        value = {}  # an empty file says only where it is
    found: list[Params] = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, dict):
            raise GeneratorError(f"{path}: its content is no map, nor a list of maps", path="git.files")
        try:
            found.append(merge_params(one, _at(prefix, place)))
        except ParamsConflict as error:
            raise GeneratorError(
                f"{path}: its content has {error.key}, which names the file's place; set pathParamPrefix",
                path="git.files",
            ) from error
    return found


def _at(prefix: str, place: Params) -> Params:
    return {prefix: {"path": place}} if prefix else {"path": place}
