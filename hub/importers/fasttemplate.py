"""Argo CD's first templates, whose parameters are flat: `{{path[0]}}`, `{{metadata.labels.a/b}}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.core.params import overlay
from hub.importers.jinjatext import Expr, plain, quoted, root_field

_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_KEY = re.compile(r"[\w][\w./@\[\]-]*")
_WHOLE = re.compile(r"(?P<head>(?:metadata\.)?(?:labels|annotations))\.(?P<key>.+)")
"""Where the rest is one key, dots and all."""
_SEGMENT = re.compile(r"(?P<path>.+)\[(?P<index>\d+)\]")


@dataclass(frozen=True, slots=True)
class GitParams:
    """Where the set's `git` generators put what they know of a path: their prefixes, "" being none."""

    prefixes: frozenset[str] = frozenset()

    def expression(self, key: str) -> Expr | None:
        """`path`, `path[0]` and the like; None where the key is another's."""
        for prefix in self.prefixes:
            path = f"{prefix}.path" if prefix else "path"
            if key == path:
                return _dotted(f"{path}.path")
            segment = _SEGMENT.fullmatch(key)
            if segment and segment["path"] == path:
                return Expr(f"{_dotted(f'{path}.segments').text}[{segment['index']}]")
        return None


def fast_to_jinja(source: str, git: GitParams) -> str:
    """The template in Jinja2's words. What is no key of a parameter stays as it is, as it does there."""
    out, at = [], 0
    for tag in _TAG.finditer(source):
        out.append(plain(source[at : tag.start()]))
        key = tag[1].strip()
        if _KEY.fullmatch(key):
            out.append(f"{{{{ {expression(key, git).text} }}}}")
        else:
            out.append(f"{{{{ {quoted(tag[0])} }}}}")
        at = tag.end()
    return "".join([*out, plain(source[at:])])


def expression(key: str, git: GitParams) -> Expr:
    """A flat key as the path that it was before it was flattened."""
    known = git.expression(key)
    if known is not None:
        return known
    whole = _WHOLE.fullmatch(key)
    return _dotted(whole["head"]).field(whole["key"]) if whole else _dotted(key)


def unflattened(params: Mapping[str, Any]) -> dict[str, Any]:
    """A list's element whose keys have dots (`values.redis`), as the maps that they are below."""
    found: dict[str, Any] = {}
    for key, value in params.items():
        whole = _WHOLE.fullmatch(key)
        *above, last = [*whole["head"].split("."), whole["key"]] if whole else key.split(".")
        held = found
        for name in above:
            inner = held.get(name)
            held[name] = held = dict(inner) if isinstance(inner, Mapping) else {}
        held[last] = overlay(held.get(last, {}), value)
    return found


def _dotted(key: str) -> Expr:
    head, *rest = key.split(".")
    value = root_field(head)
    for name in rest:
        value = Expr(f"{value.atom}[{name}]") if name.isdigit() else value.field(name)
    return value
