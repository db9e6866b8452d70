"""Where an object of the hub says what a layer sets: the Cluster's values, the Application's own options."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hub.render.explain import ABSENT, path_text, value_at
from hub.render.lines import line_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.contract.manifest import Manifest
    from hub.render.explain import Touch

_CLUSTER = re.compile(r"cluster \S+: values\.(\S+)")
_SOURCE = re.compile(r"source (\d+): (.*)", re.DOTALL)
_OF_SOURCE = {
    "helm.values": ("helm", "values"),
    "helm.valuesObject": ("helm", "valuesObject"),
    "helm.parameters": ("helm", "parameters"),
    "kustomize options": ("kustomize",),
}
_OF_SPEC = {
    "patches of the Application": ("patches",),
    "patches of the ApplicationSet": ("setPatches",),
    "common": ("common",),
}
_SUFFIXES = {".yaml", ".yml", ".json"}


class Written(Protocol):
    """An object, and where it stands: a file, or any other word for where it is from."""

    @property
    def source(self) -> str: ...

    @property
    def obj(self) -> Manifest: ...


@dataclass(frozen=True, slots=True)
class Held:
    """An object that the hub has."""

    obj: Manifest
    source: str = "the hub"


@dataclass(frozen=True, slots=True)
class _Place:
    document: Written
    path: tuple[str | int, ...]


def with_places(touches: Iterable[Touch], *, app: Written, cluster: Written | None) -> list[Touch]:
    """The touches, those of such layers with the object and field that says it; by file and line where it is in one.

    Of several fields with the same value, the one with the same key, else the layer's whole part is named. Values that
    are one text have their line within it already.
    """
    return [
        touch if _within(touch) else replace(touch, at=_at(touch, app, cluster) or touch.at)
        for touch in touches
    ]


def _within(touch: Touch) -> bool:
    return touch.at.startswith(f"{touch.stage.rpartition(': ')[2]}:")


def _at(touch: Touch, app: Written, cluster: Written | None) -> str:
    place = _place(touch.stage, app, cluster)
    if place is None or touch.after is ABSENT:
        return ""
    key = touch.path[-1] if touch.path else ""
    below = value_at(place.document.obj.get("spec"), place.path)
    named = [
        path
        for path, value in _leaves(below, ())
        if value == touch.after and type(value) is type(touch.after)
    ]
    alike = [path for path in named if path and path[-1] == key] or named
    path = ("spec", *place.path, *(alike[0] if len(alike) == 1 else ()))
    file = Path(place.document.source)
    if file.suffix in _SUFFIXES and file.is_file():
        line = line_below(file.read_text(encoding="utf-8-sig"), place.document.obj, path)
        if line is not None:
            return f"{file}:{line}"
    metadata = place.document.obj["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    return f"{place.document.obj['kind']} {name} {path_text(path)}"


def _place(stage: str, app: Written, cluster: Written | None) -> _Place | None:
    numbered = _SOURCE.fullmatch(stage)
    name = numbered[2] if numbered is not None else stage
    if (found := _CLUSTER.fullmatch(name)) is not None and cluster is not None:
        return _Place(cluster, ("values", *found[1].split(".")))
    if name in _OF_SPEC:
        return _Place(app, _OF_SPEC[name])
    if name in _OF_SOURCE:
        return _Place(app, ("sources", _index(app.obj, numbered), *_OF_SOURCE[name]))
    return None


def _index(app: Manifest, numbered: re.Match[str] | None) -> int:
    """Of the source among all: those that are there for their `ref` alone render nothing, and have no number."""
    sources: Sequence[Manifest] = app["spec"]["sources"]
    rendered = [
        at
        for at, one in enumerate(sources)
        if not one.get("ref") or one.get("chart") or one.get("path", ".").strip("./")
    ]
    number = int(numbered[1]) if numbered is not None else 1
    return rendered[number - 1] if number <= len(rendered) else 0


def _leaves(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    match node:
        case dict():
            for key, value in node.items():
                yield from _leaves(value, (*path, key))
        case list():
            for index, value in enumerate(node):
                yield from _leaves(value, (*path, index))
        case _:
            yield path, node
