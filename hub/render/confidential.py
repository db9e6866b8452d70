"""Values that nobody may see: they belong into objects of kind Secret, and into no message. Pure; workers run it.

Secrets are sealed on their way out; a ConfigMap or an environment variable is not. A value that came from a Secret or
from an encrypted file and would stand there is refused, since the store would hold it in the clear.
"""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

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
_MILLION, _HUGE = 1e6, 1e300
_GO = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}
"""What Go's encoder of JSON escapes."""
_SPACE = re.compile(r"\s")
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
        """Remember every text in it, and every number of some length, which a template may print as a text."""
        for number in _numbers(value):
            if len(f"{number}") >= _SHORTEST_SAID:
                self._numbers.add(number)
                self._add(f"{number}")
                if _MILLION <= abs(number) < _HUGE:
                    self._add(_as_go(number))
        for _, leaf in _leaves(value, ""):
            self._add(leaf)

    def _add(self, leaf: str) -> None:
        text = leaf.strip()
        if len(self._texts) >= _MOST:
            raise ManifestError(f"more than {_MOST} secret values in one app", reason="RenderTooLarge")
        if len(text) >= _SHORTEST:
            self._texts |= {text, base64.b64encode(leaf.encode()).decode()}
        elif len(text) >= _SHORTEST_SAID:
            self._short.add(text)

    def check(self, objects: Iterable[Manifest], *, where: str) -> None:
        """Raise `SecretInClear` for the first that stands where it would not be sealed; the value is not told."""
        if not self._texts:
            return
        pattern = _any_of(self._texts)
        numbers = any(len(f"{one}") >= _SHORTEST for one in self._numbers)
        for one in objects:
            for path, leaf in _leaves(_unsealed(one), "", numbers=numbers):
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


def _unsealed(one: Manifest) -> Any:
    """What of an object is stored as it is: of a Secret, what somebody may have copied its values to."""
    if not is_secret(one):
        return one
    return {"metadata": {key: one["metadata"].get(key) for key in ("labels", "annotations")}}


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


def _as_go(number: float) -> str:
    """As a template prints it: all numbers are floats there, and from a million on `4.8151623e+07` is what they say."""
    _, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    mantissa = f"{first}.{rest}" if rest else first
    return f"{mantissa}e{len(rest) + int(exponent):+03d}"


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """The texts as they are, and in the forms that templates give them: indented, quoted, in an address."""
    forms = {form for text in texts for form in _forms(text)}
    return re.compile("|".join(sorted(forms, key=len, reverse=True)))


def _forms(text: str) -> Iterator[str]:
    """Regular expressions."""
    yield r"\s+".join(map(re.escape, text.split())) if "\n" in text else re.escape(text)
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    for one in {quoted, quoted.translate(_GO)} - {text}:
        yield re.escape(one)
    address = quote(text, safe="")
    if address != text and not _SPACE.search(text):
        yield re.escape(address)


def _leaves(value: Any, path: str, *, numbers: bool = False) -> Iterator[tuple[str, str]]:
    """(path, text) of every text in it, and of every number as it is printed, where they are asked for."""
    match value:
        case str():
            yield path, value
        case dict():
            for key, inner in value.items():
                yield from _leaves(inner, f"{path}.{key}", numbers=numbers)
        case list() | tuple():
            for index, inner in enumerate(value):
                yield from _leaves(inner, f"{path}[{index}]", numbers=numbers)
        case int() | float() if numbers and not isinstance(value, bool):
            yield path, f"{value}"
