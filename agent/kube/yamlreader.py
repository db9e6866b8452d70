"""One pass over a YAML stream's events, each document as the JSON that kubectl would make of it.

The parser is libyaml's, as fast as PyYAML's safe loader; what its events mean is decided here. Stricter than
kubectl in two points: a key that stands twice is an error, not the last one's win, and so is an alias bomb.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from agent.contract.errors import TerminalError
from agent.kube.scalars import Scalar, json_value, key_text, resolve_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAGS = "tag:yaml.org,2002:"
_MAX_DEPTH = 200
"""Levels of nesting. A CRD's schema has 60; what reads the JSON later recurses."""
_MAX_ALIASED = 100_000
"""Values that aliases may add to one stream: a few lines of YAML can stand for gigabytes."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(TerminalError):
    """A text that is not YAML, or means nothing as JSON. Lines and columns count from 1; 0 if unknown."""

    reason = "InvalidYaml"

    def __init__(self, problem: str, *, source: str = "", line: int = 0, column: int = 0) -> None:
        where = ":".join([source or "yaml", *(str(number) for number in (line, column) if number)])
        super().__init__(f"{where}: {problem}")
        self.problem = problem
        self.source = source
        self.line = line
        self.column = column


_PENDING: Final = object()
"""In place of an anchor's value while that is read: an alias to it would contain itself."""


class Reader:
    """One pass over a stream's events."""

    def __init__(self, text: str | bytes, *, source: str) -> None:
        self._text = text
        self._source = source
        self._anchors: dict[str, Any] = {}
        self._aliased = 0
        self._next: Any = None

    def documents(self) -> Iterator[tuple[Any, Any]]:
        """Each document's value, and where it starts."""
        try:
            loader = _Loader(self._text)
            try:
                self._next = loader.get_event
                while not isinstance(event := self._next(), StreamEndEvent):
                    if isinstance(event, DocumentStartEvent):
                        self._anchors = {}
                        first = self._next()
                        yield self._value(first, 0), first.start_mark
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            raise error_at(problem, error.problem_mark or error.context_mark, source=self._source) from error
        except yaml.reader.ReaderError as error:
            raise self._unreadable(error.reason, error.position) from error
        except UnicodeEncodeError as error:
            raise self._unreadable(error.reason, error.start) from error

    def _value(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is ScalarEvent:
            value: Any = self._scalar(event)
            if type(value) is not str:
                if type(value) is float and not math.isfinite(value):
                    raise self._error(f"{event.value} is no JSON number", event)
                value = json_value(value)
            if event.anchor is not None:
                self._anchors[event.anchor] = value
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth >= _MAX_DEPTH:
            raise self._error(f"nested more than {_MAX_DEPTH} levels deep", event)
        if event.anchor is not None:
            self._anchors[event.anchor] = _PENDING
        value = self._mapping(depth + 1) if kind is MappingStartEvent else self._sequence(depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _sequence(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while type(event := self._next()) is not SequenceEndEvent:
            found.append(self._value(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: set[str] = set()
        while type(event := self._next()) is not MappingEndEvent:
            if type(event) is ScalarEvent and event.value == "<<" and _is_merge(event):
                self._merge(self._next(), depth, into=found)
                continue
            key = self._key(event, depth)
            if key in own:
                raise self._error(f"the key {key!r} stands twice", event)
            own.add(key)
            found[key] = self._value(self._next(), depth)
        return found

    def _key(self, event: Any, depth: int) -> str:
        if type(event) is not ScalarEvent:
            value = self._value(event, depth)
        else:
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = json_value(value)
        text = None if isinstance(value, dict | list) else key_text(value)
        if text is None:
            raise self._error(f"{kind_of(value)} cannot be a key", event)
        return text

    def _merge(self, event: Any, depth: int, *, into: dict[str, Any]) -> None:
        """`<<`: the keys of one mapping, or of several, the first of which wins.

        In kubectl's order, which is not the specification's: what stands above `<<` is overwritten, too.
        """
        value = self._value(event, depth)
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error("<< takes a mapping, or a list of mappings", event)
        for source in reversed(sources):
            into.update(source)

    def _scalar(self, event: Any) -> Scalar:
        tag, text = event.tag, event.value
        if tag is None:
            return resolve_plain(text) if event.implicit[0] else str(text)
        if tag == f"{_TAGS}binary":
            try:
                return base64.b64decode(text.replace("\n", ""), validate=True).decode(errors="replace")
            except binascii.Error as error:
                raise self._error(f"not base64: {error}", event) from error
        expected = _TYPES.get(tag)
        if expected is None:
            return str(text)
        value = resolve_plain(text)
        if type(value) not in expected:
            raise self._error(f"{text!r} is no {tag.removeprefix(_TAGS)}", event)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(f"the alias *{event.anchor} has no anchor", event)
        value = self._anchors[event.anchor]
        if value is _PENDING:
            raise self._error(f"the anchor &{event.anchor} contains itself", event)
        return self._copy(value, event)

    def _copy(self, value: Any, event: Any) -> Any:
        self._aliased += 1
        if self._aliased > _MAX_ALIASED:
            raise self._error(f"aliases stand for more than {_MAX_ALIASED} values", event)
        if isinstance(value, dict):
            return {key: self._copy(item, event) for key, item in value.items()}
        if isinstance(value, list):
            return [self._copy(item, event) for item in value]
        return value

    def _error(self, problem: str, event: Any) -> YamlError:
        return error_at(problem, event.start_mark, source=self._source)

    def _unreadable(self, problem: str, position: int) -> YamlError:
        before = self._text[:position]
        last, newlines = (
            (before.rfind(b"\n"), before.count(b"\n"))
            if isinstance(before, bytes)
            else (before.rfind("\n"), before.count("\n"))
        )
        return YamlError(problem, source=self._source, line=newlines + 1, column=position - last)


_TYPES: dict[str, frozenset[type]] = {
    f"{_TAGS}null": frozenset({type(None)}),
    f"{_TAGS}bool": frozenset({bool}),
    f"{_TAGS}int": frozenset({int}),
    f"{_TAGS}float": frozenset({int, float}),
}


def _is_merge(event: ScalarEvent) -> bool:
    return event.tag == f"{_TAGS}merge" or (event.tag is None and event.implicit[0])


def error_at(problem: str, mark: Any, *, source: str) -> YamlError:
    """The error, with the line and column of a parser's mark."""
    if mark is None:
        return YamlError(problem, source=source)
    return YamlError(problem, source=source, line=mark.line + 1, column=mark.column + 1)


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    match value:
        case None:
            return "null"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return f"the scalar {value!r}"
