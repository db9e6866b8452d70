"""Values that nobody may see: they belong into objects of kind Secret, and into no message. Pure; workers run it.

Secrets are sealed on their way out; a ConfigMap or an environment variable is not. A value that came from a Secret or
from an encrypted file and would stand there is refused, since the store would hold it in the clear.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from agent.contract.manifest import ref_of
from agent.contract.secrets import is_secret
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest

_SHORTEST = 8
"""Characters. A shorter text is a word like `true` or `default` more often than a secret."""
_SHORTEST_SAID = 3
"""In messages even those are hidden."""
_MOST = 10_000
HIDDEN = "(secret)"


class SecretInClear(ManifestError):
    """A secret value would stand in an object that is no Secret."""

    reason = "SecretInClear"


class Confidential:
    """The secret values of one rendering."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._short: set[str] = set()
        self._numbers: set[float] = set()

    def add(self, value: Any) -> None:
        """Remember every text in it, and every number of some length."""
        self._numbers |= {one for one in _numbers(value) if len(f"{one}") >= _SHORTEST_SAID}
        for _, leaf in _leaves(value, ""):
            text = leaf.strip()
            if len(self._texts) >= _MOST:
                return
            if len(text) >= _SHORTEST:
                self._texts |= {text, base64.b64encode(leaf.encode()).decode()}
            elif len(text) >= _SHORTEST_SAID:
                self._short.add(text)

    def check(self, objects: Iterable[Manifest], *, where: str) -> None:
        """Raise `SecretInClear` for the first that stands where it would not be sealed; the value is not told."""
        if not self._texts:
            return
        pattern = _any_of(self._texts)
        for one in objects:
            if is_secret(one):
                continue
            for path, leaf in _leaves(one, ""):
                if pattern.search(leaf):
                    raise SecretInClear(
                        f"{ref_of(one)}: {path.removeprefix('.')} would hold a secret value in the clear: "
                        "put it into a Secret and refer to that, or take it from a ConfigMap if it is none",
                        where=where,
                    )

    def without(self, error: ManifestError) -> ManifestError:
        """The error with no secret value in its words."""
        if not self._texts and not self._short:
            return error
        pattern = _any_of(self._texts | self._short)
        return error.but(detail=pattern.sub(HIDDEN, error.detail), params=pattern.sub(HIDDEN, error.params))

    def hidden(self, value: Any) -> Any:
        """The same with no secret value in it: texts in which one stands, and numbers that are one."""
        if not (self._texts or self._short or self._numbers):
            return value
        both = self._texts | self._short
        return self._hidden(value, _any_of(both) if both else None)

    def _hidden(self, value: Any, pattern: re.Pattern[str] | None) -> Any:
        match value:
            case str():
                return pattern.sub(HIDDEN, value) if pattern is not None else value
            case dict():
                return {
                    self._hidden(key, pattern): self._hidden(inner, pattern) for key, inner in value.items()
                }
            case list() | tuple():
                return [self._hidden(inner, pattern) for inner in value]
            case bool() | None:
                return value
            case int() | float() if value in self._numbers:
                return HIDDEN
            case _:
                return value


def _numbers(value: Any) -> Iterator[float]:
    match value:
        case dict():
            for inner in value.values():
                yield from _numbers(inner)
        case list() | tuple():
            for inner in value:
                yield from _numbers(inner)
        case int() | float() if not isinstance(value, bool):
            yield value


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every text in it."""
    match value:
        case str():
            yield path, value
        case dict():
            for key, inner in value.items():
                yield from _leaves(inner, f"{path}.{key}")
        case list() | tuple():
            for index, inner in enumerate(value):
                yield from _leaves(inner, f"{path}[{index}]")
