"""What a chart makes up each time it is rendered: found by rendering it again, where it names what can differ.

Templates name it, those of charts within charts and archives too; or values do, where templates hand them to `tpl`.
What is found in a chart's files is remembered, since most of them are rendered for many clusters. A date is another one
tomorrow only, and the order of a small map is mostly the same: so it is compared as well with another day in the place
of `now`, and with the keys and values of maps turned round.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hub.render.content import packed, unpacked
from hub.sources.archives import files_of
from hub.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.render.chart import ChartSource, ValuesLayer

_CLOCK = re.compile(r"(?<![\w.$-])now(?![\w-])")
_MAPS = re.compile(r"(?<![\w.$-])(?:keys|values)\b")
_RANDOM = re.compile(
    r"\b(rand(AlphaNum|Alpha|Numeric|Ascii|Bytes|Int)|gen(CA|SelfSignedCert|SignedCert|PrivateKey)(WithKey)?|uuidv4"
    r"|now|bcrypt|htpasswd|encryptAES|shuffle)\b"
)
_UNORDERED = re.compile(r"(?:(?<![.\w])(?:keys|values)\s+[$.(]|\|\s*(?:keys|values)\b)(?!.*\bsort)")
"""A map's keys and values come in any order, until somebody sorts them."""
_TPL = re.compile(r"\btpl\b")
_TEXT = r'"(?:[^"\\\n]|\\.)*+"|`[^`]*+`' + r"|'(?:[^'\\\n]|\\.)*+'"
_COMMENT = r"\{\{-?\s*/\*.*?\*/\s*-?\}\}"
_ACTION = re.compile(rf"{_COMMENT}|\{{\{{(?:{_TEXT}|[^\"`'}}]|\}}(?!\}}))*+\}}\}}", re.DOTALL)
_TOKEN = re.compile(rf"{_TEXT}|(?:\s-)?\}}\}}|[\w.$]+|.", re.DOTALL)
_LISTS = {"keys", "values"}
_THEN = '(toDate "2006-01-02" "2001-02-03")'
_ROUNDS = 3
_ARCHIVE_BYTES, _ARCHIVES_DEEP = 16 * 1024 * 1024, 4
_REMEMBERED = 64


class _Named(NamedTuple):
    templates: tuple[str, ...]
    """Files with templates that name it."""
    values: tuple[str, ...]
    """Files of values that name it, of a chart that reads values as templates."""
    reads_values: bool
    clock: bool
    unordered: bool


_seen: OrderedDict[str, _Named] = OrderedDict()


def naming(source: ChartSource) -> list[str]:
    """The files and layers of values that name what can differ; empty where two renderings must be equal."""
    found = _of(source)
    names = [*found.templates, *found.values]
    if found.reads_values:
        names += [one.name for one in source.layers if _names_any(_said(one))]
    return names


def others(source: ChartSource) -> Iterator[ChartSource]:
    """What must give the same, of a chart that names what can differ."""
    found = _of(source)
    given = [_said(one) for one in source.layers] if found.reads_values else []
    yield source
    unordered = found.unordered or any(map(_UNORDERED.search, given))
    if not (unordered or found.clock or any(map(_CLOCK.search, given))):
        return
    files = {
        path: _elsewhere(content) if isinstance(content, str) and _is_read(path) else content
        for path, content in source.files.items()
    }
    layers = tuple(
        replace(
            one, text=None if one.text is None else _elsewhere(one.text), value=_texts_elsewhere(one.value)
        )
        for one in source.layers
    )
    changed = replace(source, identity=f"{source.identity} elsewhere", files=files, layers=layers)
    yield changed
    if unordered:
        yield from [changed, source] * _ROUNDS


def _of(source: ChartSource) -> _Named:
    found = _seen.get(source.identity)
    if found is None:
        found = _seen[source.identity] = _looked(source)
        if len(_seen) > _REMEMBERED:
            _seen.popitem(last=False)
    return found


def _said(layer: ValuesLayer) -> str:
    return layer.text or json.dumps([layer.value, layer.parameters])


def _elsewhere(text: str) -> str:
    """The text as if on a day long ago, with the keys and values of maps turned round, where it is a template."""
    return _ACTION.sub(_changed, text) if _CLOCK.search(text) or _MAPS.search(text) else text


def _texts_elsewhere(value: Any) -> Any:
    match value:
        case str():
            return _elsewhere(value)
        case dict():
            return {key: _texts_elsewhere(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_texts_elsewhere(inner) for inner in value]
        case _:
            return value


def _changed(action: re.Match[str]) -> str:
    if re.fullmatch(_COMMENT, action[0], re.DOTALL):
        return action[0]
    parts: list[str] = []
    lists = [False]  # whether the command that is open gives one, by parenthesis
    for word in _TOKEN.findall(action[0]):
        if word in {"|", ")"} or word.endswith("}}"):
            parts += [" | reverse "] if lists[-1] else []
            lists[-1] = False
        if word == "(":
            lists.append(False)
        elif word == ")" and len(lists) > 1:
            lists.pop()
        elif word in _LISTS:
            lists[-1] = True
        parts.append(f"{_THEN}{word[3:]}" if word == "now" or word.startswith("now.") else word)
    return "".join(parts)


def _is_read(path: str) -> bool:
    return "templates/" in path or path.endswith("values.yaml")


def _looked(source: ChartSource) -> _Named:
    templates: list[str] = []
    values: list[str] = []
    reads = clock = unordered = False
    for name, path, text in _texts(source.files, deep=0):
        if not _is_read(path):
            continue
        reads = reads or ("templates/" in path and _TPL.search(text) is not None)
        clock = clock or _CLOCK.search(text) is not None
        unordered = unordered or _UNORDERED.search(text) is not None
        if _names_any(text):
            (templates if "templates/" in path else values).append(name)
    of_values = tuple(sorted(dict.fromkeys(values))) if reads else ()
    return _Named(tuple(sorted(dict.fromkeys(templates))), of_values, reads, clock=clock, unordered=unordered)


def _texts(files: Mapping[str, str | dict[str, str]], *, deep: int) -> Iterator[tuple[str, str, str]]:
    """(file, path within it, text) of the chart's files, also of charts that are packed within it."""
    for path, content in files.items():
        if isinstance(content, str):
            yield path, path, content
        elif path.startswith("charts/") and path.endswith(".tgz") and deep < _ARCHIVES_DEEP:
            try:
                inner = files_of(unpacked(content), limit_bytes=_ARCHIVE_BYTES, where=path)
            except SourceError:
                continue  # Helm itself says what is wrong with it
            for _, below, text in _texts(packed(inner), deep=deep + 1):
                yield path, below, text


def _names_any(text: str) -> bool:
    return _RANDOM.search(text) is not None or _UNORDERED.search(text) is not None
