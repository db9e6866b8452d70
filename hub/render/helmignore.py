"""`.helmignore`: which files of a folder are no part of its chart, by Helm's own rules. Pure.

As package ignore of Helm: no `**`; a pattern without a slash is over the last part of a path; a negated one
ignores what it does *not* match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.render.content import text_of

if TYPE_CHECKING:
    from hub.render.content import Content

FILE = ".helmignore"
_DEFAULTS = ("templates/.?*",)


class InvalidIgnore(TerminalError):
    """A line that Helm refuses, too."""

    reason = "InvalidHelmIgnore"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    whole: bool
    folder: bool
    negated: bool

    def ignores(self, path: str, *, is_folder: bool) -> bool:
        subject = path if self.whole else path.rpartition("/")[2]
        matches = self.pattern.fullmatch(subject) is not None
        if self.negated:
            return not matches or (self.folder and not is_folder)
        return matches and (is_folder or not self.folder)


def kept(files: Content) -> Content:
    """The files that are the chart's. Raises `InvalidIgnore`."""
    lines = text_of(files[FILE]).splitlines() if FILE in files else []
    rules = [rule for line in (*lines, *_DEFAULTS) if (rule := _rule(line)) is not None]
    known: dict[str, bool] = {"": False}

    def ignored(path: str, *, is_folder: bool) -> bool:
        if path not in known:
            parent = ignored(path.rpartition("/")[0], is_folder=True)
            known[path] = parent or any(rule.ignores(path, is_folder=is_folder) for rule in rules)
        return known[path]

    return {path: content for path, content in files.items() if not ignored(path, is_folder=False)}


def _rule(line: str) -> _Rule | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    if "**" in text:
        raise InvalidIgnore(f".helmignore: {text[:100]!a}: Helm knows no **")
    negated = text.startswith("!")
    text = text.removeprefix("!")
    folder = text.endswith("/")
    text = text.removesuffix("/")
    whole = "/" in text
    return _Rule(_compiled(text.removeprefix("/")), whole, folder, negated)


def _compiled(glob: str) -> re.Pattern[str]:
    """Go's filepath.Match: `*` and `?` do not cross a slash."""
    parts: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        end = glob.find("]", at + 2) if char == "[" else -1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif end > 0:
            inner = glob[at + 1 : end]
            negated = inner.startswith("^")
            body = re.escape(inner.removeprefix("^")).replace(r"\-", "-")
            parts.append(f"[{'^' if negated else ''}{body}]")
            at = end
        elif char == "\\" and at + 1 < len(glob):
            at += 1
            parts.append(re.escape(glob[at]))
        else:
            parts.append(re.escape(char))
        at += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise InvalidIgnore(f".helmignore: {glob[:100]!a} is no pattern") from error
