"""Texts that differ in values alone are parsed once: one template gives thousands of clusters such texts. Pure.

A text is taken apart into a skeleton and the values in it. The skeleton, with a mark in place of each value, is parsed
and kept; each text then fills in its own. A value is taken out only where another one could not change what is around
it: a bare word or number, or a quoted text without escapes, after a colon and up to the end of the line or of its place
in a list. Whatever that turns out to be (a comment, a part of a longer text), the mark is found where it ended up.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.kube.scalars import json_value, resolve_plain
from agent.kube.yaml import YamlError, load_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest

_OPEN, _CLOSE = "\ue000", "\ue001"
_VALUE = re.compile(
    r"""(?<!kind)(?<!kind["'])(?<!apiVersion)(?<!apiVersion["']):[ ]  # these decide how a document is read
    (?:([A-Za-z0-9_](?:[A-Za-z0-9_./@:-]*[A-Za-z0-9_])?)|"([^"\\\n]*)")(?=\n|\Z|[,\]}])""",
    re.VERBOSE,
)
_MARK = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_DECIDING = ("kind", "apiVersion")
_LONGEST = 32 * 1024
_REMEMBERED = 512


def load_similar(text: str, *, source: str = "") -> list[Manifest]:
    """As `load_all`, faster where a text of the same skeleton was read before. The objects share parts: copy to change.

    Raises `YamlError`.
    """
    if len(text) > _LONGEST or _OPEN in text:
        return load_all(text, source=source)
    values: list[str] = []

    def take(match: re.Match[str]) -> str:
        word, quoted = match[1], match[2]
        values.append(quoted if word is None else word)
        mark = f"{_OPEN}{len(values) - 1}{_CLOSE}"
        return f": {mark}" if quoted is None else f': "{mark}"'

    skeleton = _VALUE.sub(take, text)
    try:
        nodes = _parsed(skeleton)
    except YamlError:
        nodes = None
    if nodes is None:
        return load_all(text, source=source)
    return [_filled(node, values) for node in nodes]


class _Word(NamedTuple):
    """A value alone, as the text says it without quotes: a number, a boolean, or a text."""

    number: int


class _Text(NamedTuple):
    """A text with marks in it: the pieces between them, and the values' numbers."""

    pieces: tuple[str, ...]
    numbers: tuple[int, ...]


class _Map(NamedTuple):
    base: dict[str, Any]
    parts: tuple[tuple[str, Any], ...]


class _List(NamedTuple):
    base: list[Any]
    parts: tuple[tuple[int, Any], ...]


@lru_cache(maxsize=_REMEMBERED)
def _parsed(skeleton: str) -> tuple[Any, ...] | None:
    """What each object of it is made of; None where a mark is not only in values."""
    quoted = {int(number) for number in re.findall(f'"{_OPEN}([0-9]+){_CLOSE}"', skeleton)}
    try:
        return tuple(_node(one, quoted) for one in load_all(skeleton))
    except KeyError:
        return None


def _node(value: Any, quoted: set[int]) -> Any:
    match value:
        case str():
            return _text_node(value, quoted) if _OPEN in value else value
        case dict():
            if any(_OPEN in key for key in value) or any(
                _OPEN in str(value.get(key, "")) for key in _DECIDING
            ):
                raise KeyError
            parts = [(key, node) for key, one in value.items() if (node := _node(one, quoted)) is not one]
            return _Map(value, tuple(parts)) if parts else value
        case list():
            found = [(at, node) for at, one in enumerate(value) if (node := _node(one, quoted)) is not one]
            return _List(value, tuple(found)) if found else value
        case _:
            return value


def _text_node(text: str, quoted: set[int]) -> _Word | _Text:
    whole = _MARK.fullmatch(text)
    if whole and int(whole[1]) not in quoted:
        return _Word(int(whole[1]))
    parts = _MARK.split(text)
    return _Text(tuple(parts[::2]), tuple(map(int, parts[1::2])))


def _filled(node: Any, values: Sequence[str]) -> Any:
    kind = type(node)
    if kind is _Word:
        word = resolve_plain(values[node.number])
        return word if type(word) is str else json_value(word)
    if kind is _Text:
        text: str = node.pieces[0]
        for number, piece in zip(node.numbers, node.pieces[1:], strict=True):
            text += values[number] + piece
        return text
    if kind is _Map:
        found = dict(node.base)
        for key, part in node.parts:
            found[key] = _filled(part, values)
        return found
    if kind is _List:
        items = list(node.base)
        for at, part in node.parts:
            items[at] = _filled(part, values)
        return items
    return node
