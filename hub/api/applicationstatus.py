"""What an Application says of itself: written by the controller, but for what the gateway and the API apply."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from hub.api.model import ApiModel, Condition, Text


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
    forced: Text = ""
    """Who let it go past what held it."""


class OutputStatus(ApiModel):
    """Kept while its producer is away: whether it is stale is its cluster's and its app's health to say."""

    name: Text
    value: Annotated[Any, Field(json_schema_extra={"x-any": True})] = None
    digest: Text = ""
    """At which it was Healthy with this value."""
    revision: Text = ""
    at: Text = ""
    mark: Text = ""
    """Of a sealed one, whose value is not here: changes with it."""
    sealed: list[dict[str, Any]] | None = Field(default=None, max_length=64)
    """Of a sealed one: what each who takes it gets, readable on its cluster alone."""
    problem: Text = ""
    """Why there is no newer value; the one here still holds."""
    missing: bool = False
    """There never was a good value."""


class InputStatus(ApiModel):
    as_: Text = Field(alias="as")
    value: Annotated[Any, Field(json_schema_extra={"x-any": True})] = None
    sealed: dict[str, Any] | None = None
    """Of a sealed one, instead of a value: what is relayed."""
    origins: list[Text] = Field(default_factory=list, alias="from")
    """The Applications that it came from; none for a default."""
    declared: Text = ""
    """A mark of the input as it was declared then."""
    at: Text = ""


class SoakStatus(ApiModel):
    edge: Text
    """A mark of the edge's terms."""
    of: Text = ""
    """A mark of the releases that it means."""
    since: Text
    """Since when it holds without a break."""


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
    outputs: Annotated[list[OutputStatus], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=32
    )
    """The last good value of each output."""
    external: Annotated[list[dict[str, Any]], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=32
    )
    """Values of external outputs as they were posted; applied by the API alone."""
    inputs: Annotated[list[InputStatus], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=32
    )
    """What its target is rendered with."""
    input_changes: Annotated[list[dict[str, Any]], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=6
    )
    """When it took new values of its inputs."""
    soaks: Annotated[list[SoakStatus], Field(json_schema_extra=_HOT)] | None = Field(
        default=None, max_length=64
    )
    """Edges with `soak` that hold."""
    deletion: Annotated[DeletionStatus, Field(json_schema_extra=_HOT)] | None = None
    """The recorded decision that it goes."""
    adoption: Annotated[dict[str, Any], Field(json_schema_extra=_HOT)] | None = None
    """What the agent says of taking its objects over from other tools; applied by the gateway alone."""
    object_sync: Annotated[dict[str, Any], Field(json_schema_extra=_HOT)] | None = None
    """What came of the last object that a person had applied again; applied by the gateway alone."""
