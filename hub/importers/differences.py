"""`ignoreApplicationDifferences`: which fields of the children others may change, where ours have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.importers.notes import Notes

_STEP = re.compile(r"""\.?\[["'](?P<key>[^"']+)["']\]|\.(?P<field>[A-Za-z_][\w-]*)|\.?\[(?P<index>\d+)\]""")
_OF_SOURCE = {
    "targetRevision": "revision",
    **{name: name for name in ("repoURL", "path", "chart", "ref", "helm", "kustomize", "directory")},
}
_SYNC = "/spec/sync"
_AUTOMATED = {
    "enabled": f"{_SYNC}/mode",
    "prune": f"{_SYNC}/prune",
    "selfHeal": f"{_SYNC}/drift",
    "allowEmpty": f"{_SYNC}/allowEmpty",
}
_MAX_POINTERS = 32


def ignored(rules: Sequence[Mapping[str, Any]], notes: Notes) -> list[dict[str, Any]]:
    """`ignoreDifferences` of the set. What has no place in our Applications is noted."""
    found = []
    for at, rule in enumerate(rules):
        path = f"spec.ignoreApplicationDifferences[{at}]"
        pointers: list[str] = []
        for text, parts in _named(rule):
            ours = _ours(parts) if parts is not None else []
            if not ours:
                notes.lost(path, f"{text}: our Applications have another form there")
            pointers += [one for one in ours if one not in pointers]
        notes.lost_keys(rule, ("name", "jsonPointers", "jqPathExpressions"), path)
        for one in pointers[_MAX_POINTERS:]:
            notes.lost(path, f"{one}: a rule has at most {_MAX_POINTERS}")
        if pointers:
            name = {"name": rule["name"]} if rule.get("name") else {}
            found.append({**name, "jsonPointers": pointers[:_MAX_POINTERS]})
    return found


def _named(rule: Mapping[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Each pointer and each path of jq, with its parts; None for what is more than a path."""
    pointers = [(str(one), _unescaped(str(one))) for one in rule.get("jsonPointers") or []]
    return pointers + [(f"jq: {one}", _of_jq(str(one))) for one in rule.get("jqPathExpressions") or []]


def _unescaped(pointer: str) -> list[str] | None:
    if not pointer.startswith("/"):
        return None
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _of_jq(expression: str) -> list[str] | None:
    text, at, parts = expression.strip(), 0, []
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return None
        parts.append(match["key"] or match["field"] or match["index"])
        at = match.end()
    return parts or None


def _ours(parts: Sequence[str]) -> list[str]:  # noqa: PLR0911 - a table
    """The same places in our Application; none where it has no such place."""
    match parts:
        case ["metadata", "labels" | "annotations", _]:
            return [_pointer(parts)]
        case ["spec", "source", *rest]:
            return _source("0", rest)
        case ["spec", "sources"]:
            return ["/spec/sources"]
        case ["spec", "sources", index, *rest] if index.isdigit():
            return _source(index, rest)
        case ["spec", "syncPolicy"]:
            return [_SYNC]
        case ["spec", "syncPolicy", "automated"]:
            return list(_AUTOMATED.values())
        case ["spec", "syncPolicy", "automated", name] if name in _AUTOMATED:
            return [_AUTOMATED[name]]
        case ["spec", "syncPolicy", "retry"] | ["spec", "syncPolicy", "retry", "limit"]:
            return [f"{_SYNC}/{'/'.join(parts[2:])}"]
    return []


def _source(index: str, rest: Sequence[str]) -> list[str]:
    if not rest:
        return [f"/spec/sources/{index}"]
    name = _OF_SOURCE.get(rest[0])
    return [_pointer(["spec", "sources", index, name, *rest[1:]])] if name else []


def _pointer(parts: Sequence[str]) -> str:
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)
