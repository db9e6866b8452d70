"""Parameter sets: merging, flattening, naming. Pure, and light: workers import it."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Params: TypeAlias = dict[str, Any]
"""One generated parameter set, plain JSON. One set gives one child."""

MAX_PARAMS_TEXT = 300
_MIN_ENTRY = 16
"""How much of a parameter set a message may quote, in characters."""
MAX_NAME = 253


class Yielding(dict[str, Any]):
    """A parameter of ours beside Argo CD's: where a set has a value of its own by that name, that one stays.

    Only a value that is no map: whoever asks it for a field then hears that there is none. Two maps merge, and
    have no key with two values.
    """


MISSING: Final = object()
"""What `lookup` gives where there is nothing: None is a value."""

_BAD_NAME = re.compile(r"[^-a-z0-9.]")


class ParamsConflict(Exception):
    """Two sets give one key different values; `key` is its dotted path. Generators say whose they were."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def merge_params(first: Mapping[str, Any], second: Mapping[str, Any], *, at: str = "") -> Params:
    """Both sets in one; maps merge. Raises `ParamsConflict` where a key has two values."""
    merged = dict(first)
    for key, value in second.items():
        path = f"{at}.{key}" if at else key
        if key not in merged:
            merged[key] = value
            continue
        held = merged[key]
        if isinstance(held, Yielding) != isinstance(value, Yielding) and not (
            isinstance(held, dict) and isinstance(value, dict)
        ):
            merged[key] = value if isinstance(held, Yielding) else held
        elif isinstance(held, dict) and isinstance(value, dict):
            merged[key] = merge_params(held, value, at=path)
        elif type(held) is not type(value) or held != value:
            raise ParamsConflict(path)
    return merged


def with_itself(params: Params) -> Params:
    """For templates: the set, and the whole of it as `params`, for keys that are no identifiers."""
    return params if "params" in params else {**params, "params": params}


def overlay(base: Any, patch: Any) -> Any:
    """`patch` over `base`: maps merge key by key, everything else (lists too) is replaced."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return patch
    merged = dict(base)
    for key, value in patch.items():
        merged[key] = overlay(base[key], value) if key in base else value
    return merged


def lookup(params: Mapping[str, Any], key: str) -> Any:
    """The value of a key, which may be dotted (`values.region`), or `MISSING`. A key with dots of its own wins."""
    if key in params:
        return params[key]
    head, dot, rest = key.partition(".")
    while dot:
        inner = params.get(head)
        if isinstance(inner, dict):
            return lookup(inner, rest)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return MISSING


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Dotted keys and text values, for selectors: `path.basename`, `path.segments.0`."""
    flat: dict[str, str] = {}

    def walk(at: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{at}.{key}" if at else str(key), inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(f"{at}.{index}", inner)
        else:
            flat[at] = scalar_text(value)

    walk("", dict(params))
    return flat


def scalar_text(value: Any) -> str:
    """A scalar as Kubernetes people write it: `true`, not `True`."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


_USER_PART = re.compile(r"://[^/\s\"@]*@")


def params_text(params: Mapping[str, Any]) -> str:
    """The set in one bounded line, for messages.

    Where it is too long, the long values are cut, shortest first in line: a cluster's labels must not hide the
    directory that was matched with it.
    """
    own = {key: value for key, value in params.items() if key != "params"}
    text = _json(own)
    if len(text) <= MAX_PARAMS_TEXT:
        return text
    entries = sorted(
        (f"{_json(key)}: {_json(value)}" for key, value in own.items()), key=lambda each: (len(each), each)
    )
    room, cut = MAX_PARAMS_TEXT - 2, []
    for left, entry in zip(range(len(entries), 0, -1), entries, strict=True):
        cut.append(_cut(entry, max(room // left - 2, _MIN_ENTRY)))
        room -= len(cut[-1]) + 2
    return _cut(f"{{{', '.join(cut)}}}", MAX_PARAMS_TEXT)


def _json(value: object) -> str:
    """As JSON, without what stands before the host in an address: that is a password more often than not."""
    return _USER_PART.sub("://***@", json.dumps(value, sort_keys=True, ensure_ascii=False, default=_shown))


def _shown(value: object) -> str:
    """What is no JSON: a reference that only a child's own rendering resolves, as it is written."""
    return f"{{{{ {value.reference} }}}}" if hasattr(value, "reference") else str(value)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def normalize(text: str) -> str:
    """A name that is a DNS subdomain: what Argo CD calls `nameNormalized` and `basenameNormalized`."""
    return _BAD_NAME.sub("-", text.lower())[:MAX_NAME].strip("-.")


def nearest(key: str, known: Iterable[str]) -> str:
    """`; did you mean "sources"?`, or nothing where nothing is near."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(key.lower(), sorted(by_lower), n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[found[0]]}"?' if found else ""
