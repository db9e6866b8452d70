"""Expressions of Go templates as trees: pipelines, calls, fields, literals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hub.importers.golex import Token, Untranslatable, tokens


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | float | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """Fields below something: `.a.b` (base None), `$x.a`, `(call).a`."""

    base: Variable | Call | Literal | Path | None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x`; the name is empty for `$`, which is the root."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Node, ...] = ()


Node: TypeAlias = "Literal | Path | Variable | Call"

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}


class Parser:
    """One action's tokens, read from the left."""

    def __init__(self, body: str) -> None:
        self._body = body
        self._tokens = tokens(body)
        self._at = 0

    def word(self) -> str:
        """The word that stands here, or nothing; it is not taken."""
        token = self._peek()
        return token.text if token is not None and token.kind == "word" else ""

    def take(self) -> Token:
        token = self._peek()
        if token is None:
            raise self.failure("it ends too early")
        self._at += 1
        return token

    def declared(self) -> tuple[list[str], str] | None:
        """The variables of `$x :=`, `$i, $x :=` or `$x =`, and which sign it is; None where there are none."""
        at, names = self._at, []
        while at < len(self._tokens) and self._tokens[at].kind == "variable":
            names.append(self._tokens[at].text[1:])
            at += 1
            if at < len(self._tokens) and self._tokens[at].kind == ",":
                at += 1
        if names and at < len(self._tokens) and self._tokens[at].kind in (":=", "="):
            self._at = at + 1
            return names, self._tokens[at].kind
        return None

    def pipeline(self) -> Node:
        """The rest of the action, or of what is in parentheses."""
        node = self._command()
        while (token := self._peek()) is not None and token.kind == "|":
            self._at += 1
            node = _piped(node, self._command(), self)
        return node

    def end(self) -> None:
        if self._peek() is not None:
            raise self.failure(f'"{self.take().text}" is too much')

    def failure(self, problem: str) -> Untranslatable:
        return Untranslatable(f"{{{{ {self._body} }}}}: {problem}")

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _command(self) -> Node:
        token = self._peek()
        if token is not None and token.kind == "word" and token.text not in _CONSTANTS:
            self._at += 1
            args = []
            while (token_after := self._peek()) is not None and token_after.kind not in ("|", ")"):
                args.append(self._operand())
            return Call(token.text, tuple(args))
        return self._operand()

    def _operand(self) -> Node:
        token = self.take()
        match token.kind:
            case "string" | "number" | "word":
                return _simple(token)
            case "variable":
                return self._fields(Variable(token.text[1:]))
            case "root":
                return self._fields(None, token.text)
            case ".":
                return Path(None)
            case "(":
                inner = self.pipeline()
                if self.take().kind != ")":
                    raise self.failure('a ")" is missing')
                return self._fields(inner)
        raise self.failure(f'"{token.text}" is not expected')

    def _fields(self, base: Node | None, *first: str) -> Node:
        names = list(first)
        while (token := self._peek()) is not None and token.kind == "field":
            names.append(self.take().text)
        if base is not None and not names:
            return base
        return Path(base, tuple(names))


def _piped(value: Node, command: Node, parser: Parser) -> Node:
    if not isinstance(command, Call):
        raise parser.failure("what is after a | must be a function")
    return Call(command.name, (*command.args, value))


def _simple(token: Token) -> Node:
    if token.kind == "string":
        return Literal(token.text)
    if token.kind == "number":
        return Literal(_number(token.text))
    return Literal(_CONSTANTS[token.text]) if token.text in _CONSTANTS else Call(token.text)


def _number(text: str) -> float:
    try:
        return int(text, 0)
    except ValueError:
        return float(text)
