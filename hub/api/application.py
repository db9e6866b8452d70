"""Application: one app on one cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agent.contract.health import DriftMode  # noqa: TC001 - a pydantic field
from agent.contract.healthrule import HealthRule  # noqa: TC001 - a pydantic field
from agent.contract.options import IgnoreDifference, SyncOption  # noqa: TC001 - pydantic fields
from hub.api.model import (
    ApiModel,
    Condition,
    Duration,
    LabelSelector,
    Name,
    Namespace,
    OneOf,
    Text,
    exactly_one,
    rule,
)
from hub.api.source import Common, Overlay, Patch, Source


class Scope(StrEnum):
    SAME = "Same"
    ANY = "Any"
    ALL = "All"


class Ready(StrEnum):
    HEALTHY = "Healthy"
    SYNCED = "Synced"
    RELEASED = "Released"


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
    ready: Ready = Ready.HEALTHY
    at: At = At.TARGET
    on_stale: OnStale = OnStale.WAIT
    optional: bool = False

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("name", "selector", "application_set")


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
    common: Common = Field(default_factory=Common)
    depends_on: list[Dependency] = Field(default_factory=list, max_length=32)
    sync: SyncSpec = Field(default_factory=SyncSpec)
    deletion: AppDeletion = Field(default_factory=AppDeletion)
    health_rules: list[HealthRule] = Field(default_factory=list, max_length=32)
    """How its objects are judged, before its Project's rules and the built-in ones."""

    def read(self) -> list[Source | Overlay]:
        """Everything that it is made from, the first source first."""
        return [*self.sources, *([self.overlay] if self.overlay else [])]

    def origins(self) -> list[tuple[str, str]]:
        """(address, revision) of all that is read, each once."""
        return list(dict.fromkeys((one.address, one.revision) for one in self.read()))


class SyncStatus(ApiModel):
    state: Text = ""
    message: Text = ""
    plan: int = 0
    target: Text = ""
    """Digest that the current plan gives it; empty while it cannot be rendered."""
    target_blob: Text = ""
    released: Text = ""
    release: int = 0
    live: Text = ""
    revision: Text = ""
    pinned: Text = ""
    """By whom the target is an earlier release (`person`, `wave`); empty: it is what the plan renders."""


class HealthStatus(ApiModel):
    state: Text = ""
    message: Text = ""
    observed_at: Text = ""
    counts: dict[str, int] | None = Field(default=None, max_length=16)
    worst: list[Text] | None = Field(default=None, max_length=5)


class BlockedBy(ApiModel):
    edge: Text = ""
    """`Dependency`, `Project`, `Render`, `Stale`, `Cycle`, `Paused`, ..."""
    on: Text = ""
    """What it waits for: an Application's `namespace/name`, a wave, a rule."""
    message: Text = ""
    root: Text = ""
    """The end of the chain: what a person should look at."""


class HistoryEntry(ApiModel):
    release: int
    digest: Text
    revision: Text = ""
    at: Text = ""
    blob: Text = ""
    well: bool = False
    """It was Healthy in full: a way back leads here."""


class DeletionStatus(ApiModel):
    """The recorded decision. Without it no tombstone is ever written."""

    reason: Text
    decided_at: Text
    held: Text = ""
    """Why the decision waits (`Budget`, `Breaker`, `Undecided`); empty: it is being carried out."""


_HOT = {"x-hot": True}


class ApplicationStatus(ApiModel):
    """What is known of it. Written with every change, and so left open in the CRD's schema: see `_hot` there."""

    observed_generation: int | None = None
    conditions: Annotated[list[Condition], Field(json_schema_extra=_HOT)] = Field(
        default_factory=list, max_length=16
    )
    sync: Annotated[SyncStatus, Field(json_schema_extra=_HOT)] | None = None
    """What is wanted, released and live, by digest."""
    health: Annotated[HealthStatus, Field(json_schema_extra=_HOT)] | None = None
    """How it is, and as of when."""
    observed: Annotated[dict[str, Any], Field(json_schema_extra=_HOT)] | None = None
    """What the agent said last (a report with its epoch and seq); applied by the gateway alone."""
    blocked_by: Annotated[list[BlockedBy], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=8
    )
    """What holds its release: the edge or rule, what it waits for, and the root of that."""
    history: Annotated[list[HistoryEntry], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=10
    )
    """The last releases, newest first."""
    deletion: Annotated[DeletionStatus, Field(json_schema_extra=_HOT)] | None = None
    """The recorded decision that it goes."""


class Application(ApiModel):
    """One app on one cluster: a child of a set, or written by hand."""

    spec: ApplicationSpec
    status: ApplicationStatus | None = None
