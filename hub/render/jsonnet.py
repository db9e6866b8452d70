"""Jsonnet: every `*.jsonnet` of a folder, evaluated in the worker with imports from the given files alone."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.render.plain import ManifestError, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.contract.manifest import Manifest

SUFFIX = ".jsonnet"
_PLACE = re.compile(r"(?:^|\s)([^\s:]+):(\d+):\d+")
_DEEP = 200
"""Frames of Jsonnet's own stack: beyond, it says so. The library's default is more than a worker's memory allows."""


@dataclass(frozen=True, slots=True)
class JsonnetTree:
    """Files by their path in the repository, the folder to evaluate, and what it is given."""

    where: str
    files: Mapping[str, str]
    path: str
    tlas: tuple[Mapping[str, Any], ...] = ()
    ext_vars: tuple[Mapping[str, Any], ...] = ()
    libs: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        return {
            "tool": "jsonnet",
            "where": self.where,
            "files": self.files,
            "path": self.path,
            "tlas": self.tlas,
            "ext_vars": self.ext_vars,
            "libs": self.libs,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> JsonnetTree:
        fields = {key: value for key, value in data.items() if key != "tool"}
        for key in ("tlas", "ext_vars", "libs"):
            fields[key] = tuple(fields[key])
        return JsonnetTree(**fields)


def evaluate(tree: JsonnetTree) -> list[tuple[str, Manifest]]:
    """(file, object) of all that the folder's own files give, in their order. Raises `ManifestError`."""
    mains = [
        path for path in sorted(tree.files) if path.endswith(SUFFIX) and posixpath.dirname(path) == tree.path
    ]
    if not mains:
        raise ManifestError("there is no *.jsonnet", where=tree.where, reason="PathNotFound")
    return [(path, one) for path in mains for one in _objects(tree, path)]


def _objects(tree: JsonnetTree, path: str) -> list[Manifest]:
    texts = "\n---\n".join(map(json.dumps, _flat(_value(tree, path))))
    return parsed(texts, where=tree.where, file=path, rendered=True)


def _value(tree: JsonnetTree, path: str) -> Any:
    import _gojsonnet  # noqa: PLC0415 - a Go runtime that only Jsonnet needs

    refused: list[str] = []

    def find(base: str, name: str) -> tuple[str, bytes]:
        # An exception here, or no content, comes back as memory that is not ours: what is missing is noted instead.
        for folder in (posixpath.dirname(f"{base}x"), *tree.libs):
            at = posixpath.normpath(posixpath.join(folder, name))
            if not name.startswith("/") and at in tree.files:
                return at, tree.files[at].encode()
        refused.append(name)
        return f"missing/{name}", b"error 'not found'"

    try:
        text = _gojsonnet.evaluate_snippet(
            path,
            tree.files[path],
            max_stack=_DEEP,
            import_callback=find,
            ext_vars=_given(tree.ext_vars, code=False),
            ext_codes=_given(tree.ext_vars, code=True),
            tla_vars=_given(tree.tlas, code=False),
            tla_codes=_given(tree.tlas, code=True),
        )
    except (RuntimeError, UnicodeDecodeError) as error:
        if refused:
            raise _missing(tree, path, refused) from error
        said = " ".join(str(error).split())[:1000]
        place = _PLACE.search(str(error))
        raise ManifestError(
            said.removeprefix("RUNTIME ERROR: "),
            where=tree.where,
            file=place[1] if place and place[1] in tree.files else path,
            line=int(place[2]) if place else None,
            reason="JsonnetFailed",
        ) from error
    if refused:
        raise _missing(tree, path, refused)
    return json.loads(text)


def _missing(tree: JsonnetTree, path: str, names: list[str]) -> ManifestError:
    return ManifestError(
        f"{names[0]!a} is not among the source's files nor in its libs",
        where=tree.where,
        file=path,
        reason="JsonnetFailed",
    )


def _given(variables: tuple[Mapping[str, Any], ...], *, code: bool) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in variables if bool(one.get("code")) is code}


def _flat(value: Any) -> Iterator[Any]:
    """Lists within lists; a map that is no object, of objects by name, as libraries make them."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, dict) and "kind" not in value and "apiVersion" not in value:
        for one in value.values():
            yield from _flat(one)
    elif value is not None:
        yield value
