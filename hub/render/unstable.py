"""What a chart makes up each time it is rendered: found by rendering it twice, where it names what can differ.

Templates name it, those of charts within charts and archives too; or values do, where templates hand them to `tpl`.
What is found in a chart's files is remembered, since most of them are rendered for many clusters.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from hub.render.content import packed, unpacked
from hub.sources.archives import files_of
from hub.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hub.render.chart import ChartSource

_RANDOM = re.compile(
    r"\b(rand(AlphaNum|Alpha|Numeric|Ascii|Bytes|Int)|gen(CA|SelfSignedCert|SignedCert|PrivateKey)(WithKey)?|uuidv4"
    r"|now|bcrypt|htpasswd|encryptAES|shuffle)\b"
)
_UNORDERED = re.compile(r"(?:(?<![.\w])(?:keys|values)\s+[$.(]|\|\s*(?:keys|values)\b)(?!.*\bsort)")
"""A map's keys and values come in any order, until somebody sorts them."""
_TPL = re.compile(r"\btpl\b")
_ARCHIVE_BYTES, _ARCHIVES_DEEP = 16 * 1024 * 1024, 4
_REMEMBERED = 64


class _Named(NamedTuple):
    templates: tuple[str, ...]
    """Files with templates that name it."""
    values: tuple[str, ...]
    """Files of values that name it, of a chart that reads values as templates."""
    reads_values: bool


_seen: OrderedDict[str, _Named] = OrderedDict()


def naming(source: ChartSource) -> list[str]:
    """The files and layers of values that name what can differ; empty where two renderings must be equal."""
    found = _seen.get(source.identity)
    if found is None:
        found = _seen[source.identity] = _looked(source)
        if len(_seen) > _REMEMBERED:
            _seen.popitem(last=False)
    names = [*found.templates, *found.values]
    if found.reads_values:
        names += [
            one.name
            for one in source.layers
            if _names_any(one.text or json.dumps([one.value, one.parameters]))
        ]
    return names


def _looked(source: ChartSource) -> _Named:
    templates: list[str] = []
    values: list[str] = []
    reads = False
    for name, path, text in _texts(source.files, deep=0):
        if "templates/" in path:
            reads = reads or _TPL.search(text) is not None
            if _names_any(text):
                templates.append(name)
        elif path.endswith("values.yaml") and _names_any(text):
            values.append(name)
    return _Named(
        tuple(sorted(dict.fromkeys(templates))), tuple(sorted(dict.fromkeys(values))) if reads else (), reads
    )


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
