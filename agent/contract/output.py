"""What an app tells the others: values that its agent reads from objects that the app owns. Never from a Secret."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from agent.contract.healthrule import Expression
from agent.contract.model import WireModel

MAX_OUTPUTS = 32
MAX_VALUE = 1024
"""Bytes of one value as canonical JSON."""
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

OutputName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=63)]
_Text = Annotated[str, StringConstraints(max_length=253)]


class OutputObject(WireModel):
    """One object of the app: it must be among those that the app's bundle holds."""

    group: _Text | None = None
    """Empty for core kinds; any group where it is left out."""
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]*$", min_length=1, max_length=63)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    namespace: _Text | None = None
    """The app's own where it is left out."""

    @property
    def secret(self) -> bool:
        """Whether it may be a Secret of Kubernetes."""
        return self.kind == "Secret" and not self.group


class OutputRule(WireModel):
    """One output: what it is called, which object it is read from, and how."""

    name: OutputName
    object: OutputObject
    value: Expression
    """CEL over the live object: `object`, and its parts by their names (`status`, `spec`, `metadata`, `data`)."""

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        if self.object.secret:
            raise ValueError("an output is never read from a Secret")
        return self


class SealedRule(WireModel):
    """One sealed output, which may be read from a Secret: its `data` is decoded then."""

    name: OutputName
    object: OutputObject
    value: Expression


SealedRules = Annotated[list[SealedRule], Field(max_length=MAX_OUTPUTS)]
OutputRules = Annotated[list[OutputRule], Field(max_length=MAX_OUTPUTS)]


class OutputReport(WireModel):
    """What an agent says of one output, of an app that is Healthy at the digest that the report names."""

    name: OutputName
    value: Annotated[str, StringConstraints(max_length=MAX_VALUE)] | None = None
    """As JSON text; none where there is a problem."""
    problem: Annotated[str, StringConstraints(max_length=512)] = ""


def names_differ(rules: list[Any]) -> bool:
    """Whether every rule of a list has a name of its own."""
    return len({rule.name for rule in rules}) == len(rules)
