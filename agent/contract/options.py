"""How objects are applied, beyond what Git says they are: options of an app, and differences that are left alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from agent.contract.model import WireModel

_Path = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_Glob = Annotated[str, StringConstraints(max_length=253)]


class SyncOption(StrEnum):
    REPLACE = "Replace"
    """Write the whole object instead of our part: what others added to it goes."""
    RECREATE = "Recreate"
    """Delete and make again what cannot be changed in place."""
    IF_NOT_PRESENT = "IfNotPresent"
    """Make it where it is missing, and leave it alone after that."""
    FAIL_ON_CONFLICT = "FailOnConflict"
    """Fail where another field manager has set a field otherwise, instead of taking the field over."""


class IgnoreDifference(WireModel):
    """Fields of some objects that others may change: they are neither drift nor written back."""

    group: _Glob = "*"
    kind: _Glob = "*"
    namespace: _Glob = "*"
    name: _Glob = "*"
    json_pointers: list[_Path] = Field(default_factory=list, max_length=32)
    """`/spec/replicas` (RFC 6901)."""
    json_paths: list[_Path] = Field(default_factory=list, max_length=32)
    """`.spec.template.spec.containers[?(@.name=="main")].image`; also `[*]`, `[0]`, `['key']`."""
    managers: list[Annotated[str, StringConstraints(min_length=1, max_length=128)]] = Field(
        default_factory=list, max_length=16
    )
    """Field managers: what they own in the live object is theirs."""
