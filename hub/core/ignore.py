"""`ignoreDifferences` of a set: fields of its children that others own. Pure.

A child that exists keeps what it has there, as somebody set it or took it away; a new one gets what the template
says. What makes a child its set's, and what a Project decides by, cannot be handed to others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.api.applicationset import IgnoredFields

_ALLOWED = (
    ("spec", "sync"),
    ("spec", "dependsOn"),
    ("spec", "sources"),
    ("metadata", "labels"),
    ("metadata", "annotations"),
)
_MISSING = object()


def kept(wanted: Manifest, live: Manifest | None, rules: Sequence[IgnoredFields]) -> Manifest:
    """The wanted child with what the live one has in the ignored fields; neither is changed."""
    name = wanted["metadata"]["name"]
    pointers = [one for rule in rules if rule.name in ("", name) for one in rule.json_pointers]
    if live is None or not pointers:
        return wanted
    result = {**wanted, "metadata": copy.deepcopy(wanted["metadata"]), "spec": copy.deepcopy(wanted["spec"])}
    for pointer in pointers:
        path = parsed(pointer)
        if path is not None:
            _set(result, path, _get(live, path))
    return result


def parsed(pointer: str) -> tuple[str, ...] | None:
    """The pointer's parts (RFC 6901); None where it is none, or names what cannot be ignored."""
    if not pointer.startswith("/"):
        return None
    parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))
    if not any(parts[: len(allowed)] == allowed for allowed in _ALLOWED):
        return None
    of_metadata = parts[0] == "metadata"
    ours = of_metadata and (len(parts) != 3 or "axletree.dev/" in parts[2])  # noqa: PLR2004 - metadata, labels, key
    return None if ours else parts


def _get(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _set(target: Any, path: Sequence[str], value: Any) -> None:
    """Give the place this value, or nothing. Where its parent is not there, nothing is done."""
    *parents, last = path
    for part in parents:
        found = _get(target, (part,))
        if found is _MISSING:
            if value is _MISSING or not isinstance(target, dict):
                return
            found = target[part] = {}
        target = found
    if isinstance(target, dict):
        if value is _MISSING:
            target.pop(last, None)
        else:
            target[last] = copy.deepcopy(value)
    elif isinstance(target, list) and value is not _MISSING and last.isdigit() and int(last) < len(target):
        target[int(last)] = copy.deepcopy(value)
