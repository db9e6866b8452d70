"""What a dry run would change: pure. Paths only, never values: they may be secret."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest

_NOISE = frozenset({"managedFields", "resourceVersion", "generation"})
_ABSENT = object()
MAX_PATHS = 50


def drifted(proposed: Manifest, live: Manifest) -> tuple[str, ...]:
    """Paths where the dry run's result differs from live, at most `MAX_PATHS`.

    A dry run differs from live only in what the apply would change, so that whatever differs is ours.
    """
    paths: list[str] = []
    for path in _differences(_content(proposed), _content(live), ""):
        paths.append(path)
        if len(paths) == MAX_PATHS:
            break
    return tuple(paths)


def _content(obj: Manifest) -> Manifest:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _NOISE}
    return {**obj, "metadata": metadata}


def _differences(left: Any, right: Any, path: str) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from _differences(left.get(key, _ABSENT), right.get(key, _ABSENT), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list):
        for index, (one, other) in enumerate(zip_longest(left, right, fillvalue=_ABSENT)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif left is _ABSENT or right is _ABSENT or left != right:
        yield path
