"""Versions and ranges of them, as Helm and Argo CD read them (Masterminds/semver). Pure.

`^1.2`, `~1.2.3`, `1.x`, `>=1.2,<2`, `>= 1.2 < 2`, `1.2 - 1.4`, `||` between alternatives. Versions with a pre-release
are meant only by alternatives that name one: `>=1.2.0-0 <2` means `1.4.0-rc.1`, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import TYPE_CHECKING, TypeAlias

from hub.sources.errors import RevisionRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION = re.compile(
    r"v?(0|[1-9]\d{0,17})(?:\.(0|[1-9]\d{0,17}))?(?:\.(0|[1-9]\d{0,17}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_RANGE = re.compile(r"[\^~<>=!*].*|v?[0-9]+(\.[0-9]+)?\.[xX*].*|.*\|\|.*|v?\d.*\s.*")
_BETWEEN = re.compile(r"([^\s,]+)\s+-\s+([^\s,]+)")
_SIGN_AND_SPACE = re.compile(r"([\^~<>=!]+)\s+")
_TERM = re.compile(
    r"(=|!=|>|<|>=|=>|<=|=<|~|~>|\^)?v?(\d{1,18}|[xX*])(?:\.(\d{1,18}|[xX*]))?(?:\.(\d{1,18}|[xX*]))?"
    r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_WILD = {"x", "X", "*", None}
MAX_TERMS = 32
_Numbers: TypeAlias = tuple[int, int, int]


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One version; `text` as it was written. Build metadata does not order."""

    numbers: _Numbers
    pre: tuple[str, ...] = ()
    text: str = field(default="")

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """None for what is no version."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        numbers = (int(match[1]), int(match[2] or 0), int(match[3] or 0))
        return cls(numbers, tuple(match[4].split(".")) if match[4] else (), text)

    def _key(self) -> tuple[_Numbers, bool, tuple[tuple[bool, int, str], ...]]:
        parts = tuple((not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in self.pre)
        return self.numbers, not self.pre, parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()


@dataclass(frozen=True, slots=True)
class _Term:
    sign: str
    low: Version
    high: Version | None
    """The first version above a wildcard, tilde or caret; None for an exact term."""

    def holds(self, version: Version) -> bool:
        match self.sign:
            case "!=":
                return not self._within(version)
            case ">":
                return version.numbers >= self.high.numbers if self.high else version > self.low
            case ">=":
                return version >= self.low
            case "<":
                return version < self.low
            case "<=":
                return version.numbers < self.high.numbers if self.high else version <= self.low
            case _:
                return self._within(version)

    def _within(self, version: Version) -> bool:
        if self.high is None:
            return version == self.low
        return self.low <= version and version.numbers < self.high.numbers


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives, each of terms that all hold."""

    alternatives: tuple[tuple[_Term, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Range:
        """Raises `RevisionRefused`."""
        found = []
        for alternative in text.split("||"):
            part = _SIGN_AND_SPACE.sub(r"\1", _BETWEEN.sub(r">=\1 <=\2", alternative))
            words = [word for word in re.split(r"[,\s]+", part.strip()) if word]
            if not words or len(words) > MAX_TERMS:
                raise RevisionRefused(f"{text[:100]!a} is no range of versions")
            found.append(tuple(_term(word, text) for word in words))
        return cls(tuple(found))

    def best(self, texts: Iterable[str]) -> str | None:
        """The highest version that is meant, as it was written; None where none is."""
        known = [version for text in texts if (version := Version.parse(text)) is not None]
        meant = [one for one in known if any(_all_hold(terms, one) for terms in self.alternatives)]
        return max(meant, key=lambda one: (one, one.text)).text if meant else None


def _all_hold(terms: tuple[_Term, ...], version: Version) -> bool:
    """As Masterminds/semver from 3.4 on: one term that names a pre-release lets them pass the others."""
    if version.pre and not any(term.low.pre for term in terms):
        return False
    return all(term.holds(version) for term in terms)


def is_range(revision: str) -> bool:
    """Whether it can only be meant as a range of versions; one version is none."""
    return _RANGE.fullmatch(revision) is not None


def _term(word: str, text: str) -> _Term:
    match = _TERM.fullmatch(word)
    if match is None:
        raise RevisionRefused(f"{text[:100]!a} is no range of versions")
    sign, first, second, third, pre = match.groups()
    given = [int(one) for one in _until_wild((first, second, third))]
    numbers = (*given, *[0] * (3 - len(given)))
    low = Version((numbers[0], numbers[1], numbers[2]), tuple(pre.split(".")) if pre else ())
    sign = {"=>": ">=", "=<": "<=", "~>": "~", None: "=", "!=": "!="}.get(sign, sign)
    return _Term(sign, low, _above(sign, given, low))


def _until_wild(parts: tuple[str | None, ...]) -> list[str]:
    found: list[str] = []
    for one in parts:
        if one is None or one in _WILD:
            break
        found.append(one)
    return found


def _above(sign: str, given: list[int], low: Version) -> Version | None:  # noqa: PLR0911 - a table
    """The first version that a term does not mean any more, where it means more than one."""
    major, minor, patch = low.numbers
    if not given:
        return Version((10**18, 0, 0))
    match sign:
        case "^" if major or len(given) == 1:
            return Version((major + 1, 0, 0))
        case "^" if minor or len(given) == 2:  # noqa: PLR2004 - major and minor are given
            return Version((0, minor + 1, 0))
        case "^":
            return Version((0, 0, patch + 1))
        case "~" if given == [0, 0, 0]:  # as is said there: any
            return Version((10**18, 0, 0))
        case "~":
            return Version((major + 1, 0, 0)) if len(given) == 1 else Version((major, minor + 1, 0))
    if len(given) == 1:
        return Version((major + 1, 0, 0))
    return Version((major, minor + 1, 0)) if len(given) == 2 else None  # noqa: PLR2004
