"""On which line of a YAML text something is said. Pure; a guess where the text is a template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.contract.manifest import Manifest


def lines_of_value(text: str, value: Any, *, name: str | int) -> list[int]:
    """The lines of the scalars that have this value, from 1; of those under this key, where there are any."""
    wanted = _text(value)
    if wanted is None:
        return []
    found = [(key, line) for key, scalar, line in _scalars(text) if scalar == wanted]
    return [line for key, line in found if key == name] or [line for _, line in found]


def line_of_field(text: str, manifest: Manifest, path: Sequence[str | int]) -> int | None:
    """The line of a field of one of the text's objects; None for one that is not there."""
    document = _document(text, manifest)
    node = document
    for part in path:
        node = _child(node, part)
    return int(node.start_mark.line) + 1 if node is not None else None


def line_below(text: str, manifest: Manifest, path: Sequence[str | int]) -> int | None:
    """As `line_of_field`, of as much of the path as the object has: a rest may be in a text of its own."""
    node = _document(text, manifest)
    for part in path:
        inner = _child(node, part)
        if inner is None:
            break
        node = inner
    return int(node.start_mark.line) + 1 if node is not None else None


def _document(text: str, manifest: Manifest) -> Any:
    name = str(manifest["metadata"]["name"])
    for document in _documents(text):
        if _at(document, ("kind",)) == manifest["kind"] and _at(document, ("metadata", "name")) == name:
            return document
    return None


def _documents(text: str) -> Iterator[Any]:
    try:
        yield from yaml.compose_all(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError):
        return


def _scalars(text: str) -> Iterator[tuple[str | int, str, int]]:
    """(key, text, line) of every scalar that is a value; anchors are followed once."""
    seen: set[int] = set()
    pending: list[tuple[str | int, Any]] = [("", document) for document in _documents(text)]
    while pending:
        key, node = pending.pop()
        if id(node) in seen or node is None:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield key, str(node.value), node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            pending += [(str(name.value), value) for name, value in node.value]
        else:
            pending += list(enumerate(node.value))


def _at(node: Any, path: Sequence[str]) -> str | None:
    for part in path:
        node = _child(node, part)
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case _:
            return None
