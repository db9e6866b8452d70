"""Jinja2 expressions as text, with parentheses where they are needed."""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_RESERVED = frozenset(
    {*keyword.kwlist, "true", "false", "none", "loop", "self", "params", "recursive", "ignore", "context"}
)
_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))
"""Jinja2 finds these in any map as a field; as a subscript a key that is not there is not there."""
_WHOLE = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_DOTTED = re.compile(r"\w+(?:\.\w+|\[[^\[\]]+\])*")
ROOT = "params"
"""The whole parameter set."""


class Binding(IntEnum):
    """How tightly a text holds together."""

    OPERATOR = 1
    FILTER = 2
    ATOM = 3


@dataclass(frozen=True, slots=True)
class Expr:
    text: str
    binding: Binding = Binding.ATOM

    @property
    def atom(self) -> str:
        """As what a field, a subscript or a call may follow."""
        return self.text if self.binding is Binding.ATOM else f"({self.text})"

    @property
    def operand(self) -> str:
        """As what an operator or a filter may stand beside."""
        return f"({self.text})" if self.binding is Binding.OPERATOR else self.text

    def filtered(self, name: str) -> Expr:
        return Expr(f"{self.operand} | {name}", Binding.FILTER)

    def call(self, method: str, *args: Expr) -> Expr:
        return Expr(f"{self.atom}.{method}({', '.join(one.text for one in args)})")

    def field(self, name: str) -> Expr:
        """A key of it; one that is no identifier, or means something else, as a subscript."""
        if is_name(name) and name not in _METHODS:
            return Expr(f"{self.atom}.{name}")
        return Expr(f"{self.atom}[{quoted(name)}]")


def operator(sign: str, *operands: Expr) -> Expr:
    return Expr(f" {sign} ".join(one.operand for one in operands), Binding.OPERATOR)


def literal(value: Any) -> Expr:
    if value is None:
        return Expr("none")
    if isinstance(value, str):
        return Expr(quoted(value))
    return Expr(json.dumps(value))


def root_field(name: str) -> Expr:
    """A parameter by its key."""
    return Expr(name) if is_name(name) else Expr(ROOT).field(name)


def is_name(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None and name not in _RESERVED


def quoted(text: str) -> str:
    """A string literal: in double quotes only where it has to be, since it stands within YAML."""
    if "\\" not in text and "'" not in text and text.isprintable():
        return f"'{text}'" if '"' in text else f'"{text}"'
    return json.dumps(text, ensure_ascii=False)


def as_text(template: str) -> str:
    """A template that gives text, also where it is one expression: Argo CD knows no other."""
    whole = _WHOLE.fullmatch(template)
    if whole is None or "}}" in whole[1]:
        return template
    inner = whole[1] if _DOTTED.fullmatch(whole[1]) else f"({whole[1]})"
    return f"{{{{ {inner} | string }}}}"


def as_texts(value: Any) -> Any:
    """`as_text` of every text in the value."""
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list):
        return [as_texts(one) for one in value]
    return {key: as_texts(one) for key, one in value.items()} if isinstance(value, dict) else value


def plain(text: str) -> str:
    """Text that Jinja2 must print as it is."""
    for mark in ("{{", "{%", "{#"):
        if mark in text:
            text = "".join(
                part if part not in ("{{", "{%", "{#") else "{{ " + quoted(part) + " }}"
                for part in re.split(r"(\{\{|\{%|\{#)", text)
            )
            break
    return text
