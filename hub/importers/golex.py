"""Go templates into tokens, by the grammar of https://pkg.go.dev/text/template. Only what sets of Argo CD hold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Untranslatable(TerminalError):
    """A template that has no equal in Jinja2, or that does not parse. The message says which part."""

    reason = "Untranslatable"


@dataclass(frozen=True, slots=True)
class Text:
    """What is printed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """What is between the braces. `left` and `right`: the white space on that side is cut."""

    body: str
    left: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    """`string`, `number`, `field`, `variable`, `word`, or the character itself."""
    text: str


_TOKENS = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)+')
  | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?))
  | (?P<field>\.[\w]+)
  | (?P<variable>\$\w*)
  | (?P<declare>:=)
  | (?P<word>\w+)
  | (?P<mark>[.|(),=])
    """,
    re.VERBOSE,
)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`', re.DOTALL)


def pieces(source: str) -> Iterator[Text | Action]:
    """Text and actions in turn. Raises `Untranslatable` where an action has no end."""
    at = 0
    while (start := source.find("{{", at)) >= 0:
        if start > at:
            yield Text(source[at:start])
        end = _end(source, start + 2)
        body = source[start + 2 : end]
        left = body.startswith("-") and body[1:2].isspace()
        right = body.endswith("-") and body[-2:-1].isspace()
        yield Action(body[1 if left else 0 : -1 if right else None].strip(), left, right)
        at = end + 2
    if at < len(source):
        yield Text(source[at:])


def _end(source: str, at: int) -> int:
    """Where the action's closing braces are: those within a string, or a comment, do not count."""
    if source[at:].lstrip("- \t\n").startswith("/*"):
        at = source.find("*/", at) + 2
    while at < len(source):
        if source.startswith("}}", at):
            return at
        string = _STRING.match(source, at)
        at = string.end() if string else at + 1
    raise Untranslatable('an action "{{" has no end')


def tokens(body: str) -> list[Token]:
    """The tokens of one action. White space is kept only where it parts a field from what is before it."""
    found: list[Token] = []
    at, parted = 0, True
    while at < len(body):
        match = _TOKENS.match(body, at)
        if match is None:
            raise Untranslatable(f"{body[at : at + 20]!r} does not read in {{{{ {body} }}}}")
        at = match.end()
        kind, text = str(match.lastgroup), match.group()
        if kind == "space":
            parted = True
            continue
        if kind in ("mark", "declare"):
            kind = text
        elif kind == "field":
            # `.a.b` is one chain and `.a .b` are two: the first of a chain is told apart
            kind, text = ("root" if parted else "field"), text[1:]
        found.append(Token(kind, _string(text) if kind == "string" else text))
        parted = kind in ("|", "(", ",", "=", ":=")
    return found


def _string(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    if text[0] == "'":
        raise Untranslatable(f"the character {text} has no equal; write it as a string")
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise Untranslatable(f"the string {text} does not read") from None
