"""Regular expressions of users, searched in names that others chose: none may take longer than it is worth.

Python's matcher tries again and again where Go's does not. What makes that grow beyond measure is refused here:
repetition within repetition, alternatives within repetition, references back; and lookaround, which Go lacks too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from hub.core.expansion import GeneratorError

MAX_PATTERN = 512
MAX_REPEATS = 4
MAX_SUBJECT = 1024
_ENDLESS = 64
"""Repetition of more than this counts as without end."""


def matches(pattern: str, subject: str) -> bool:
    """Whether it is found anywhere in the subject. Raises `GeneratorError` for a pattern that we do not run."""
    return _compiled(pattern).search(subject[:MAX_SUBJECT]) is not None


def found(pattern: str, subject: str) -> str:
    """The first match; empty where there is none. Raises `GeneratorError`."""
    match = _compiled(pattern).search(subject[:MAX_SUBJECT])
    return match[0] if match else ""


def replaced(pattern: str, new: str, subject: str) -> str:
    r"""Every match replaced; in `new`, `\1` and `\g<name>` are groups. Raises `GeneratorError`."""
    if len(new) > MAX_PATTERN:
        raise GeneratorError(f"a replacement of more than {MAX_PATTERN} characters is refused")
    try:
        return _compiled(pattern).sub(new, subject[:MAX_SUBJECT])
    except (re.error, IndexError) as error:
        raise GeneratorError(f"the replacement {new!r} does not read: {error}") from error


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN:
        raise GeneratorError(f"a pattern of more than {MAX_PATTERN} characters is refused")
    try:
        tree = parser.parse(pattern)
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise GeneratorError(f"the pattern {pattern!r} does not read: {error}") from error
    if _repeats(tree, pattern, within=False) > MAX_REPEATS:
        raise GeneratorError(f"the pattern {pattern!r} has more than {MAX_REPEATS} repetitions without end")
    return compiled


def _repeats(tree: Any, pattern: str, *, within: bool) -> int:
    count = 0
    for operator, argument in tree:
        if operator in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            _, most, inner = argument
            endless = most > _ENDLESS
            if within and most > 1:
                raise GeneratorError(f"the pattern {pattern!r} repeats what repeats")
            count += endless + _repeats(inner, pattern, within=within or most > 1)
        elif operator is codes.SUBPATTERN:
            count += _repeats(argument[-1], pattern, within=within)
        elif operator is codes.BRANCH:
            if within:
                raise GeneratorError(f"the pattern {pattern!r} repeats alternatives")
            count += sum(_repeats(one, pattern, within=within) for one in argument[1])
        elif operator in (codes.ASSERT, codes.ASSERT_NOT, codes.GROUPREF, codes.GROUPREF_EXISTS):
            raise GeneratorError(f"the pattern {pattern!r} looks around, or refers back")
    return count
