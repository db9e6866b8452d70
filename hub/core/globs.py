"""Globs over `/`-separated paths and addresses. Pure.

`*` and `?` do not cross `/`; `**` does, and `**/` also matches no folder at all. `[a-z]` and `[!a-z]` are
sets, `{a,b}` alternatives. Everything else means itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

from agent.contract.errors import TerminalError

MAX_STARS = 16
"""Each star multiplies what a backtracking matcher may try: more than anyone needs, fewer than hurt."""


class GlobError(TerminalError):
    """A glob that cannot be read."""

    reason = "InvalidGlob"


def glob_matches(pattern: str, path: str) -> bool:
    """Whether the whole path matches. Raises `GlobError`."""
    return _compiled(pattern).fullmatch(path) is not None


def is_literal(pattern: str) -> bool:
    """Whether it can match only itself."""
    return not any(mark in pattern for mark in "*?[{")


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.count("*") > MAX_STARS:
        raise GlobError(f"glob {pattern[:80]!r}: more than {MAX_STARS} stars")
    out: list[str] = []
    at, depth = 0, 0
    while at < len(pattern):
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            out.append("(?:.*/)?")
            at += 3
            continue
        char = pattern[at]
        if char == "*":
            stars = len(pattern) - at - len(pattern[at:].lstrip("*"))
            out.append(".*" if stars > 1 else "[^/]*")
            at += stars
            continue
        if char == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise GlobError(f"glob {pattern[:80]!r}: a [ is not closed")
            out.append(_set(pattern[at + 1 : end]))
            at = end + 1
            continue
        out.append(_one(char, inside=depth > 0))
        depth += (char == "{") - (char == "}" and depth > 0)
        at += 1
    if depth:
        raise GlobError(f"glob {pattern[:80]!r}: a {{ is not closed")
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error as error:
        raise GlobError(f"glob {pattern[:80]!r}: {error}") from error


def _set(body: str) -> str:
    negated, body = body[0] in "!^", body.lstrip("!^")
    chars = re.sub(r"([\\\[\]^&~|])", r"\\\1", body)
    return f"[^/{chars}]" if negated else f"(?!/)[{chars}]"


def _one(char: str, *, inside: bool) -> str:
    special = {"?": "[^/]", "{": "(?:"}
    if inside:
        special |= {",": "|", "}": ")"}
    return special.get(char, re.escape(char))
