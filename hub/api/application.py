"""Application: one app on one cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agent.contract.health import DriftMode  # noqa: TC001 - a pydantic field
from hub.api.model import (
    ApiModel,
    Condition,
    Duration,
    Glob,
    LabelSelector,
    Name,
    Namespace,
    OneOf,
    RelativePath,
    RepoURL,
    Revision,
    Text,
    Values,
    exactly_one,
    rule,
)


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


class DirectorySource(ApiModel):
    """Plain YAML and JSON files."""

    recurse: bool = False
    include: Glob | None = None
    exclude: Glob | None = None


class JinjaSource(ApiModel):
    """Files are Jinja2 templates (sandboxed, strict) over `cluster`, `app` and `values`."""

    enabled: bool = False
    values: Values = Field(default_factory=dict)


class Source(ApiModel):
    repo_url: RepoURL = Field(alias="repoURL")
    revision: Revision = "HEAD"
    path: RelativePath = "."
    directory: DirectorySource = Field(default_factory=DirectorySource)
    jinja: JinjaSource = Field(default_factory=JinjaSource)


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
    depends_on: list[Dependency] = Field(default_factory=list, max_length=32)
    sync: SyncSpec = Field(default_factory=SyncSpec)
    deletion: AppDeletion = Field(default_factory=AppDeletion)


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
