"""CEL expressions over one object, bounded before they run. Pure; the library is loaded by the first rule.

The library has no cost limit and holds the interpreter while it works, so that what could grow is refused when a
rule is read: the length, the nesting of macros, `map` (which makes lists of lists), the number of `+`, and `+`
where a macro would repeat it. What is left costs at most a product of the lengths of the object's own lists.

https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import PathFinder
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError
from agent.contract.healthrule import MAX_EXPRESSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from agent.contract.manifest import Manifest

_PACKAGE, _EXTENSION = "cel", "cel.cel"
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_MACROS = frozenset({"all", "exists", "exists_one", "filter"})
_MAX_NESTING = 2
_MAX_MACROS = 8
_MAX_JOINS = 8
_MAX_DEPTH = 32
_MAX_COST = 200_000
"""Of one evaluation, in units of about a microsecond: see `_cost`."""
_TEXT_UNIT, _SOURCE_UNIT = 1000, 100
_PATTERN = 30
"""A pattern is compiled each time that it is used."""
_TOKEN = re.compile(
    r"""(?x)
    (?P<skip> \s+ | //[^\n]* )
  | (?P<text> [rRbB]{0,2} (?: \"{3}.*?\"{3} | '{3}.*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ) )
  | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<other> . )
    """,
    re.DOTALL,
)


class RuleInvalid(TerminalError):
    """A health rule that cannot be read, or that could cost more than a check may."""

    reason = "RuleInvalid"


class CelMissing(TerminalError):
    """Rules in CEL are there, and the library that reads them is not installed."""

    reason = "CelMissing"


class Undecided(Exception):
    """An expression that cannot be evaluated over this object, and why."""


class Expression:
    """One compiled expression. Raises `RuleInvalid` for what does not read or is unbounded."""

    __slots__ = ("_nesting", "_program", "_weight")

    def __init__(self, source: str) -> None:
        self._nesting = check(source)
        self._weight = (1 + len(source) // _SOURCE_UNIT) * (_PATTERN if "matches" in source else 1)
        try:
            self._program = library().compile(source)
        except ValueError as error:
            raise RuleInvalid(f"{source[:80]!r}: {str(error).splitlines()[0][:200]}") from error

    def value(self, obj: Manifest) -> Any:
        """What the expression gives; None where a field that it reads is not there. Raises `Undecided`."""
        return self.over({**_parts(obj), "object": obj}, judged=obj)

    def over(self, variables: dict[str, Any], *, judged: Any = None, limit: int = _MAX_COST) -> Any:
        """The same over other variables than an object's. `judged` is what they are made of, where that is less.

        `limit` is about how many microseconds it may take.
        """
        if self._nesting and self._cost(variables if judged is None else judged) > limit:
            raise Undecided("the object's lists or texts are too long to be judged by it")
        try:
            return self._program.execute(variables)
        except (KeyError, IndexError):
            return None
        except (ValueError, RuntimeError, TypeError, OverflowError, ArithmeticError) as error:
            if "No such key" in str(error) or "index out of" in str(error).lower():
                return None
            raise Undecided(str(error).splitlines()[0][:200]) from error

    def _cost(self, obj: Any) -> int:
        """An upper bound: the innermost macro's turns, each of which may read the longest text several times."""
        items, characters = _longest(obj)
        return int(items**self._nesting) * (1 + characters // _TEXT_UNIT) * self._weight

    def holds(self, obj: Manifest) -> bool:
        """Whether it is true. Raises `Undecided` for what is neither true nor false."""
        value = self.value(obj)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise Undecided(f"it gives {type(value).__name__}, not a boolean")
        return value


def check(source: str) -> int:
    """How deep macros are nested. Raises `RuleInvalid` for an expression that could grow without bound."""
    if len(source) > MAX_EXPRESSION:
        raise RuleInvalid(f"an expression has at most {MAX_EXPRESSION} characters")
    stack: list[bool] = []
    deepest = macros = joins = 0
    for before, word in pairwise(["", *_words(source)]):
        if word in _OPENING:
            stack.append(word == "(" and before in _MACROS)
            macros += stack[-1]
            _open(before, word, stack, macros)
            deepest = max(deepest, sum(stack))
        elif word in _CLOSING and stack:
            stack.pop()
        elif word == "+":
            joins += 1
            if any(stack):
                raise RuleInvalid("`+` inside a macro could grow without bound")
    if joins > _MAX_JOINS:
        raise RuleInvalid(f"at most {_MAX_JOINS} `+`")
    return deepest


def _open(before: str, word: str, stack: list[bool], macros: int) -> None:
    """What a bracket may begin."""
    if word == "(" and before == "map":
        raise RuleInvalid("the macro `map` is not taken: use `exists`, `all` or `filter`")
    if sum(stack) > _MAX_NESTING or macros > _MAX_MACROS:
        raise RuleInvalid(f"at most {_MAX_NESTING} macros in each other, and {_MAX_MACROS} in all")
    if len(stack) > _MAX_DEPTH:
        raise RuleInvalid(f"brackets are at most {_MAX_DEPTH} deep")


def _words(source: str) -> Iterator[str]:
    """Names and signs, less space and comments; a text is an empty word."""
    for token in _TOKEN.finditer(source):
        if not token["skip"]:
            yield token[0] if token["text"] is None else ""


def library() -> ModuleType:
    """The compiled part of the library alone: its package imports a shell, which costs 25 MB. Raises `CelMissing`."""
    loaded = sys.modules.get(_EXTENSION)
    if loaded is not None:
        return loaded
    package = importlib.util.find_spec(_PACKAGE)
    where = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec(_EXTENSION, where) if where else None
    if spec is None or spec.loader is None:
        raise CelMissing("rules in CEL need the package common-expression-language (the extra `cel`)")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_EXTENSION] = module
    return module


def _parts(obj: Manifest) -> dict[str, Any]:
    """The object's top-level fields as variables; those that rules name most are always there."""
    return {"metadata": {}, "spec": {}, "status": {}, **obj}


def _longest(value: Any) -> tuple[int, int]:
    """The lengths of the longest list or map, and of the longest text, anywhere in it."""
    longest, text, rest = 0, 0, [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            text = max(text, len(each))
        elif isinstance(each, dict):
            longest = max(longest, len(each))
            rest.extend(each.values())
        elif isinstance(each, list):
            longest = max(longest, len(each))
            rest.extend(each)
    return longest, text
