"""Helm's values: merged as Helm merges them, with `--set` paths. Pure.

Helm's own rules (`MergeMaps` of its loader, and package strvals): maps merge, anything else replaces, null stays
null until the chart's defaults are merged in, which it then removes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_INDEX = 65536
"""As Helm: an index sets aside as many entries."""
_PART = re.compile(r"((?:[^.\[\]\\]|\\.)*)((?:\[[0-9]{1,6}\])*)(?:\.|$)", re.DOTALL)
_INT = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class InvalidParameter(TerminalError):
    """A Helm parameter whose name is no path into values."""

    reason = "InvalidParameter"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where `over` wins; neither is changed."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def with_parameter(
    values: Mapping[str, Any], name: str, text: str, *, as_text: bool = False
) -> dict[str, Any]:
    """The values with one set by its path (`a.b[0].c`). Raises `InvalidParameter`."""
    value = text if as_text else _typed_or_list(text)
    changed: dict[str, Any] = _set(dict(values), _path(name), value)
    return changed


def _set(node: Any, path: list[str | int], value: Any) -> Any:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(key, int):
        items = list(node) if isinstance(node, list) else []
        items += [None] * (key + 1 - len(items))
        items[key] = _set(items[key], rest, value)
        return items
    found = dict(node) if isinstance(node, dict) else {}
    found[key] = _set(found.get(key), rest, value)
    return found


def _path(name: str) -> list[str | int]:
    parts: list[str | int] = []
    at = 0
    while at < len(name):
        match = _PART.match(name, at)
        if match is None or not match[1] or match.end() == at:
            raise InvalidParameter(f"{name[:200]!a} is no path into a chart's values")
        parts.append(re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL))
        indexes = [int(number) for number in re.findall(r"[0-9]+", match[2])]
        if any(index > MAX_INDEX for index in indexes):
            raise InvalidParameter(f"{name[:200]!a}: an index above {MAX_INDEX}")
        parts.extend(indexes)
        at = match.end()
    if not parts:
        raise InvalidParameter("a parameter's name is empty")
    return parts


def _typed_or_list(text: str) -> Any:
    if text.startswith("{") and text.endswith("}"):
        return [_typed(one) for one in text[1:-1].split(",")] if len(text) > len("{}") else []
    return _typed(text)


def _typed(text: str) -> Any:
    """What strvals makes of it: no floats, and no numbers with leading zeros."""
    match text.lower():
        case "true" | "false":
            return text.lower() == "true"
        case "null":
            return None
    if _INT.fullmatch(text) and (text == "0" or not text.startswith("0")) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return text
