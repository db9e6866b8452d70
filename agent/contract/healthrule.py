"""A rule of a user's own by which the objects of one kind are judged: CEL, or one of Argo CD's Lua checks."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from agent.contract.model import WireModel

MAX_EXPRESSION = 2048
"""In characters: what is longer is a program, and belongs into a controller."""
MAX_SCRIPT = 64 * 1024
MAX_RULES = 512
"""Argo CD's own tree has half as many."""

Expression = Annotated[str, StringConstraints(max_length=MAX_EXPRESSION)]
_Pattern = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9.*-]*$")]


class HealthRule(WireModel):
    """Judges objects of `group` and `kind`; `*` in either stands for any run of characters.

    The expressions are asked in this order: `inProgress`, `failed`, `suspended`, `current`; the first that holds
    decides. They see the object as `object`, and its parts by their names (`status`, `spec`, `metadata`, `data`). A
    field that is not there makes its expression false. Where none holds, the object is Progressing if there is a
    `current`, and Healthy otherwise.
    """

    group: _Pattern = ""
    kind: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9*]+$")]
    in_progress: Expression | None = None
    failed: Expression | None = None
    suspended: Expression | None = None
    current: Expression | None = None
    message: Expression | None = None
    """Gives the message where the object is not Healthy; without it, that of its conditions."""
    lua: Annotated[str, StringConstraints(max_length=MAX_SCRIPT)] | None = None
    """A health check of Argo CD: `obj` is the object, a table with `status` and `message` is returned."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.lua) != (has(self.inProgress) || has(self.failed) || has(self.suspended)"
                    " || has(self.current))",
                    "message": "either expressions or lua",
                }
            ]
        }
    )

    @model_validator(mode="after")
    def _one_language(self) -> Self:
        said = any((self.in_progress, self.failed, self.suspended, self.current))
        if said == bool(self.lua):
            raise ValueError("a health rule has either expressions or a Lua script")
        return self


HealthRules = Annotated[list[HealthRule], Field(max_length=MAX_RULES)]
