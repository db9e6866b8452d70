"""Application: one app on one cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from agent.contract.health import DriftMode  # noqa: TC001 - a pydantic field
from agent.contract.healthrule import HealthRule  # noqa: TC001 - a pydantic field
from agent.contract.options import IgnoreDifference, SyncOption  # noqa: TC001 - pydantic fields
from agent.contract.output import names_differ
from hub.api.applicationstatus import ApplicationStatus  # noqa: TC001 - a pydantic field
from hub.api.dependency import Dependency  # noqa: TC001 - a pydantic field
from hub.api.flow import Input, Output  # noqa: TC001 - pydantic fields
from hub.api.model import ApiModel, Duration, Name, Namespace, rule
from hub.api.notification import Notification  # noqa: TC001 - a pydantic field
from hub.api.source import Common, Overlay, Patch, Source


class SyncMode(StrEnum):
    AUTO = "Auto"
    MANUAL = "Manual"


class RetrySpec(ApiModel):
    limit: Annotated[int, Field(ge=0, le=1000)] = 5


class AppDrift(ApiModel):
    mode: DriftMode
    alert_after: Duration = "10m"


class SyncSpec(ApiModel):
    mode: SyncMode = SyncMode.AUTO
    prune: bool = True
    allow_empty: bool = False
    create_namespace: bool = False
    retry: RetrySpec = Field(default_factory=RetrySpec)
    drift: AppDrift | None = None
    """An Application's own wins over its cluster's sets'."""
    options: list[SyncOption] = Field(default_factory=list, max_length=8)
    """How its objects are applied; one may ask for more by annotation."""
    ignore_differences: list[IgnoreDifference] = Field(default_factory=list, max_length=64)
    """Fields that others may change: neither drift nor written back."""


class DeletionPolicy(StrEnum):
    DELETE = "Delete"
    ORPHAN = "Orphan"


class AppDeletion(ApiModel):
    policy: DeletionPolicy = DeletionPolicy.DELETE


class ApplicationSpec(ApiModel):
    cluster: Annotated[
        Name, Field(json_schema_extra=rule("self == oldSelf", "immutable: a move is a new Application"))
    ]
    """Immutable: a move is a new app and a decision about the old one."""
    namespace: Namespace = "default"
    sources: list[Source] = Field(min_length=1, max_length=16)
    overlay: Overlay | None = None
    """Kustomize over the result of all sources."""
    patches: list[Patch] = Field(default_factory=list, max_length=64)
    """Over the result, after the overlay."""
    set_patches: list[Patch] = Field(default_factory=list, max_length=64)
    """Its set's `patches`, over its own. The set writes them."""
    common: Common = Field(default_factory=Common)
    depends_on: list[Dependency] = Field(default_factory=list, max_length=32)
    inputs: list[Input] = Field(default_factory=list, max_length=32)
    """Values of other apps' outputs; each is an edge of the graph as well."""
    outputs: list[Output] = Field(default_factory=list, max_length=32)
    """What others may take from it."""
    sync: SyncSpec = Field(default_factory=SyncSpec)
    deletion: AppDeletion = Field(default_factory=AppDeletion)
    notifications: list[Notification] = Field(default_factory=list, max_length=16)
    """Who is told of it. Of a sink that several name, what stands nearest holds: this, its set, its Project."""
    health_rules: list[HealthRule] = Field(default_factory=list, max_length=32)
    """How its objects are judged, before its Project's rules and the built-in ones."""

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        if not names_differ(self.outputs):
            raise ValueError("two outputs have the same name")
        if len({each.as_ for each in self.inputs}) < len(self.inputs):
            raise ValueError("two inputs have the same name (as)")
        return self

    def edges(self) -> tuple[Dependency, ...]:
        """All that it waits for: its dependencies, then its inputs, each in its order."""
        return (*self.depends_on, *(each.edge() for each in self.inputs))

    def read(self) -> list[Source | Overlay]:
        """Everything that it is made from, the first source first."""
        return [*self.sources, *([self.overlay] if self.overlay else [])]

    def origins(self) -> list[tuple[str, str]]:
        """(address, revision) of all that is read, each once."""
        return list(dict.fromkeys((one.address, one.reference) for one in self.read()))


class Application(ApiModel):
    """One app on one cluster: a child of a set, or written by hand."""

    spec: ApplicationSpec
    status: ApplicationStatus | None = None
