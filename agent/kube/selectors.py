"""Label selectors, as the API server reads them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_VALUE = re.compile(rf"({_NAME})?")
_ANY_TEXT = re.compile(r".*", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


class SelectorError(TerminalError):
    """A selector that the API server would refuse."""

    reason = "InvalidSelector"


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GT:
                return _is_integer(value) and int(value or 0) > int(self.values[0])
            case Operator.LT:
                return _is_integer(value) and int(value or 0) < int(self.values[0])

    def __str__(self) -> str:  # noqa: PLR0911 - one form an operator
        match self.operator:
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case Operator.IN:
                return f"{self.key} in ({','.join(self.values)})"
            case Operator.NOT_IN if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case Operator.NOT_IN:
                return f"{self.key} notin ({','.join(self.values)})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.GT:
                return f"{self.key}>{self.values[0]}"
            case Operator.LT:
                return f"{self.key}<{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything. `str()` is what `kubectl -l` takes."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def __bool__(self) -> bool:
        """Whether it restricts anything."""
        return bool(self.requirements)


def parse_selector(spec: Mapping[str, Any] | None, *, any_text: bool = False) -> Selector:
    """Read a LabelSelector (`matchLabels`, `matchExpressions`). None and empty match everything.

    `any_text`: it is over other things than labels, and its values may be what no label's value is (`apps/web`).
    Raises `SelectorError`, for unknown fields too: a misspelt `matchLabels` must not mean "everything".
    """
    if spec is None:
        return Selector()
    unknown = sorted(set(spec) - {"matchLabels", "matchExpressions"})
    if unknown:
        raise SelectorError(f"a selector has no field {unknown[0]!r}")
    labels, expressions = spec.get("matchLabels") or {}, spec.get("matchExpressions") or []
    if not hasattr(labels, "items") or not isinstance(expressions, list | tuple):
        raise SelectorError("matchLabels is a map of strings, matchExpressions a list")
    shape = _ANY_TEXT if any_text else _VALUE
    found = [_requirement(key, Operator.IN, (value,), shape) for key, value in sorted(labels.items())]
    found.extend(_expression(expression, shape) for expression in expressions)
    return Selector(tuple(found))


def _expression(expression: Any, shape: re.Pattern[str]) -> Requirement:
    if not hasattr(expression, "get"):
        raise SelectorError("an entry of matchExpressions is a map of key, operator and values")
    name = expression.get("operator", "")
    try:
        operator = Operator(name)
    except ValueError as error:
        raise SelectorError(f"{name!r} is no operator: one of {', '.join(Operator)}") from error
    return _requirement(expression.get("key", ""), operator, tuple(expression.get("values") or ()), shape)


def _requirement(
    key: Any, operator: Operator, values: tuple[Any, ...], shape: re.Pattern[str]
) -> Requirement:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise SelectorError(f"{key!r} is no label key")
    for value in values:
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise SelectorError(f"{key}: {value!r} is no label value")
    match operator:
        case Operator.IN | Operator.NOT_IN:
            if not values:
                raise SelectorError(f"{key}: {operator} needs values")
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            if values:
                raise SelectorError(f"{key}: {operator} takes no values")
        case Operator.GT | Operator.LT:
            if len(values) != 1 or not _is_integer(values[0]):
                raise SelectorError(f"{key}: {operator} takes one integer")
    return Requirement(key, operator, values)


def _is_integer(value: str | None) -> bool:
    return value is not None and _INTEGER.fullmatch(value) is not None
