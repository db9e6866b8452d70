"""What a chart needs and does not bring, and whether its lock says the same. Pure.

Helm writes `Chart.lock` beside `Chart.yaml` (`requirements.lock` beside `requirements.yaml` for old charts), with a
digest over both lists of dependencies: `helm dependency build` refuses a lock that is out of date, and so do we.
https://helm.sh/docs/helm/helm_dependency/
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.kube.yaml import YamlError, load_value
from hub.sources.errors import ChartInvalid, DependencyLockStale, DependencyNotLocked
from hub.sources.semver import Version, is_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LOCAL = "file://"
_REMOTE = ("https://", "http://", "oci://")
MAX_DEPENDENCIES = 100
_FIELDS: tuple[tuple[str, Any], ...] = (
    ("version", ""),
    ("repository", None),
    ("condition", ""),
    ("tags", []),
    ("enabled", False),
)
_MORE: tuple[tuple[str, Any], ...] = (("import-values", []), ("alias", ""))
_ESCAPED = (
    ("&", "\\u0026"),
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)
"""What Go's encoder writes in another way than Python's."""


@dataclass(frozen=True, slots=True)
class Needed:
    """One dependency that is not in `charts/`. The version is exact."""

    name: str
    version: str
    repository: str

    @property
    def address(self) -> str:
        """As a source is asked for it."""
        return f"{self.repository.rstrip('/')}#{self.name}"

    @property
    def local(self) -> str:
        """Its folder, relative to the chart's; empty where it is fetched."""
        return self.repository.removeprefix(LOCAL) if self.repository.startswith(LOCAL) else ""

    @property
    def folder(self) -> str:
        """Where it goes in the chart. Two versions of one chart may stand beside each other."""
        return f"charts/{self.name}-{self.version}"


def lacking(files: Mapping[str, bytes], *, where: str) -> tuple[Needed, ...]:
    """The dependencies that are to be fetched.

    Raises `ChartInvalid`, `DependencyLockStale`, `DependencyNotLocked`.
    """
    old = "requirements.yaml" in files and "dependencies" not in _map(files, "Chart.yaml", where)
    declared = _list(files, "requirements.yaml" if old else "Chart.yaml", where)
    there = brought(files, lambda path: _map(files, path, where))
    open_ones = [one for one in declared if not there.holds(str(one.get("name", "")))]
    if not open_ones:
        return ()
    lock_name = "requirements.lock" if old else "Chart.lock"
    locked: dict[tuple[str, str], str] = {}
    if lock_name in files:
        locked = _locked(files, lock_name, declared, where)
    return tuple(_needed(one, locked, where, lock_name) for one in open_ones)


@dataclass(frozen=True, slots=True)
class Brought:
    """The charts within a chart: names of folders' charts, and archives by what they are called."""

    names: frozenset[str]
    archives: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether the chart of that name is there; `redis-cluster-1.0.0.tgz` is not `redis`."""
        return name in self.names or any(
            one == name or (one.startswith(f"{name}-") and Version.parse(one[len(name) + 1 :]) is not None)
            for one in self.archives
        )


def brought(files: Iterable[str], read: Callable[[str], Mapping[str, Any]]) -> Brought:
    """What is below `charts/`. `read` gives the map in a file, by its path."""
    paths = [path for path in files if path.startswith("charts/")]
    tops = {path.split("/")[1] for path in paths}
    own = {f"charts/{top}/Chart.yaml" for top in tops}.intersection(paths)
    archives = {path[len("charts/") : -len(".tgz")] for path in paths if path.endswith(".tgz")}
    return Brought(
        frozenset(str(read(path).get("name", "")) for path in own),
        frozenset(one for one in archives if "/" not in one),
    )


def lock_digest(declared: list[dict[str, Any]], locked: list[dict[str, Any]]) -> str:
    """As Helm computes it: sha256 over the JSON of both lists, written as Go writes it."""
    text = json.dumps([[_as_go(one) for one in part] for part in (declared, locked)], ensure_ascii=False)
    compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    for plain, escaped in _ESCAPED:
        compact = compact.replace(plain, escaped)
    return f"sha256:{hashlib.sha256(compact.encode()).hexdigest()}"


def _as_go(one: dict[str, Any]) -> dict[str, Any]:
    """The fields of Helm's own struct in its order; all but name and repository are left out where empty."""
    found: dict[str, Any] = {"name": str(one.get("name", ""))}
    for key, empty in (*_FIELDS, *_MORE):
        value = one.get(key)
        if key == "repository":
            found[key] = str(value or "")
        elif value is not None and value != empty:
            found[key] = value
    return found


def _locked(
    files: Mapping[str, bytes], name: str, declared: list[dict[str, Any]], where: str
) -> dict[tuple[str, str], str]:
    """Exact versions by name and repository."""
    listed = _list(files, name, where)
    if _map(files, name, where).get("digest") != lock_digest(declared, listed):
        raise DependencyLockStale(f"{where}: {name} is out of date: run helm dependency update and commit it")
    return {
        (str(one.get("name", "")), str(one.get("repository") or "")): str(one.get("version", ""))
        for one in listed
    }


def _needed(one: dict[str, Any], locked: dict[tuple[str, str], str], where: str, lock_name: str) -> Needed:
    name, repository = str(one.get("name", "")), str(one.get("repository") or "")
    if not repository.startswith((*_REMOTE, LOCAL)):
        said = "no repository" if not repository else "a repository that only its author's machine knows"
        raise DependencyNotLocked(f"{where}: dependency {name!r} names {said}: vendor it into charts/")
    version = locked.get((name, repository), "")
    if not version:
        version = str(one.get("version", ""))
        if repository.startswith(LOCAL):
            version = version if Version.parse(version) is not None else "local"
        elif Version.parse(version) is None or is_range(version):
            raise DependencyNotLocked(
                f"{where}: dependency {name!r} has the range {version!r} and no {lock_name}: commit one"
            )
    return Needed(name, version, repository)


def _list(files: Mapping[str, bytes], name: str, where: str) -> list[dict[str, Any]]:
    found = _map(files, name, where).get("dependencies") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ChartInvalid(f"{where}: {name}: dependencies must be a list of maps")
    if len(found) > MAX_DEPENDENCIES:
        raise ChartInvalid(f"{where}: {name}: more than {MAX_DEPENDENCIES} dependencies")
    return found


def _map(files: Mapping[str, bytes], name: str, where: str) -> dict[str, Any]:
    try:
        found = load_value(files.get(name, b"").decode("utf-8-sig"), source=name)
    except (YamlError, UnicodeDecodeError) as error:
        raise ChartInvalid(f"{where}: {name} does not read: {str(error)[:200]}") from error
    if not isinstance(found, dict | None):
        raise ChartInvalid(f"{where}: {name} must be a map")
    return found or {}
