"""The words by which one app says that it comes after others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from hub.api.model import Duration, LabelSelector, Name, Namespace, OneOf, exactly_one


class Scope(StrEnum):
    SAME = "Same"
    ANY = "Any"
    ALL = "All"


class Ready(StrEnum):
    HEALTHY = "Healthy"
    SYNCED = "Synced"
    RELEASED = "Released"


ReadyRule = Annotated[
    str,
    StringConstraints(pattern=r"^(Healthy|Synced|Released)$|\b(dep|self)\b", min_length=1, max_length=1024),
]
"""`Healthy`, `Synced`, `Released`, or an expression in CEL over `dep` and `self`."""


class At(StrEnum):
    TARGET = "Target"
    """At its own target in its current plan: old health opens nothing."""
    ANY = "Any"


class OnStale(StrEnum):
    WAIT = "Wait"
    IGNORE = "Ignore"
    FAIL = "Fail"


class ClusterTarget(OneOf):
    """On which clusters the other side is meant: exactly one of the three."""

    model_config = ConfigDict(json_schema_extra=exactly_one("scope", "selector", lists=("names",)))

    scope: Scope | None = None
    names: list[Name] = Field(default_factory=list, max_length=256)
    selector: LabelSelector | None = None

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("scope", "selector", "names")


class Dependency(OneOf):
    """One edge: exactly one of `name`, `selector` (over Application labels) and `applicationSet`."""

    model_config = ConfigDict(json_schema_extra=exactly_one("name", "selector", "applicationSet"))

    name: Name | None = None
    namespace: Namespace | None = None
    """Another project's namespace, where that project allows edges from ours; ours by default."""
    selector: LabelSelector | None = None
    application_set: Name | None = None
    clusters: ClusterTarget = Field(default_factory=lambda: ClusterTarget(scope=Scope.SAME))
    ready: ReadyRule = Ready.HEALTHY.value
    """An expression is asked once the dependency is Synced at its target (with `at: Any`: at what it runs)."""
    at: At = At.TARGET
    soak: Duration | None = None
    """How long it must have been ready without a break."""
    on_stale: OnStale = OnStale.WAIT
    optional: bool = False

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("name", "selector", "application_set")
