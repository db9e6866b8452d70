"""ApplicationSet: generators x template -> children, with rollout and deletion rules.

Typed fields cannot hold `{{ }}`, so the template is loose here and the rendered child is checked as an
Application.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from hub.api.application import DeletionPolicy
from hub.api.generators import Generator  # noqa: TC001 - a pydantic field
from hub.api.model import (
    ApiModel,
    Condition,
    Duration,
    IntOrPercent,
    TemplateText,
    Text,
)
from hub.api.notification import NotificationOfMany  # noqa: TC001 - a pydantic field
from hub.api.rollout import Rollout, RolloutStatus
from hub.api.source import Patch  # noqa: TC001 - a pydantic field

Pointer = Annotated[
    str,
    StringConstraints(
        max_length=512,
        pattern=r"^/(spec/(sync|dependsOn|sources)(/.*)?|metadata/(labels|annotations)/[^/]+)$",
    ),
]


class TemplateMetadata(ApiModel):
    name: TemplateText
    labels: dict[str, TemplateText] = Field(default_factory=dict, max_length=64)
    annotations: dict[str, TemplateText] = Field(default_factory=dict, max_length=64)


class ApplicationTemplate(ApiModel):
    metadata: TemplateMetadata
    spec: Annotated[dict[str, Any], Field(json_schema_extra={"x-preserve": True})]


class HealthPolicy(ApiModel):
    min_healthy: IntOrPercent = "100%"
    stale: Annotated[str, StringConstraints(pattern="^(Wait|Ignore|Fail)$")] = "Wait"


class DeletionBudget(ApiModel):
    """How many children an expansion may drop: max(max, min) in `per`; beyond it they are Held."""

    max: IntOrPercent = "20%"
    min: Annotated[int, Field(ge=0, le=100000)] = 2
    per: Duration = "1h"


class DeletionSpec(ApiModel):
    policy: DeletionPolicy = DeletionPolicy.DELETE
    budget: DeletionBudget = Field(default_factory=DeletionBudget)


class IgnoredFields(ApiModel):
    """Fields of children that others own: once a child is there, it keeps what it has."""

    name: Annotated[str, StringConstraints(max_length=253)] = ""
    """One child; all of them where it is empty."""
    json_pointers: list[Pointer] = Field(min_length=1, max_length=32)
    """Below `/spec/sync`, `/spec/dependsOn`, `/spec/sources`, or one label or annotation."""


class ApplicationSetSpec(ApiModel):
    generators: list[Generator] = Field(min_length=1, max_length=16)
    template: ApplicationTemplate
    template_patch: TemplateText | None = None
    patches: list[Patch] = Field(default_factory=list, max_length=64)
    """Over the manifests of every child, after the child's own; templates, as the child's are."""
    ignore_differences: list[IgnoredFields] = Field(default_factory=list, max_length=16)
    rollout: Rollout = Field(default_factory=Rollout)
    health: HealthPolicy = Field(default_factory=HealthPolicy)
    deletion: DeletionSpec = Field(default_factory=DeletionSpec)
    notifications: list[NotificationOfMany] = Field(default_factory=list, max_length=16)
    """Who is told of the set, and with `children` of each child."""


class HeldDeletion(ApiModel):
    app: Text
    reason: Text
    since: Text


class DropRecord(ApiModel):
    at: Text
    count: int
    approved: int = 0
    """How many of these somebody approved: they leave the hub's breaker as it is."""


class PlanStatus(ApiModel):
    id: int
    revisions: dict[str, Text] = Field(default_factory=dict, max_length=64)
    counts: dict[str, int] = Field(default_factory=dict, max_length=16)
    held: list[HeldDeletion] = Field(default_factory=list, max_length=256)
    drops: list[DropRecord] = Field(default_factory=list, max_length=64)
    """What was dropped within the budget's period: durable, so that a restart does not refill the budget."""
    at: Text = ""


class SetHealth(ApiModel):
    state: Text = ""
    message: Text = ""
    counts: dict[str, int] = Field(default_factory=dict, max_length=16)
    worst: list[Text] = Field(default_factory=list, max_length=5)


class ApplicationSetStatus(ApiModel):
    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    plan: PlanStatus | None = None
    health: SetHealth | None = None
    sync: dict[str, int] | None = Field(default=None, max_length=16)
    """Children by sync state."""
    children: int | None = None
    attempted: dict[str, Text] | None = Field(default=None, max_length=64)
    """The commits of an expansion that failed, where only a change mends it: the plan is of earlier ones."""
    rollout: RolloutStatus | None = None
    """What its waves have come to; none for a set without waves."""


class ApplicationSet(ApiModel):
    """The parent of its children."""

    spec: ApplicationSetSpec
    status: ApplicationSetStatus | None = None
