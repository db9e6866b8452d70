"""ApplicationSet: generators x template -> children, with rollout and deletion rules.

CRD schemas cannot recurse: generators are typed to depth two, and deeper ones are checked by the hub. Typed
fields cannot hold `{{ }}`, so the template is loose here and the rendered child is checked as an Application.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from hub.api.application import DeletionPolicy
from hub.api.model import (
    ApiModel,
    Condition,
    Duration,
    Glob,
    IntOrPercent,
    LabelSelector,
    Name,
    OneOf,
    RepoURLTemplate,
    RevisionTemplate,
    Text,
    Values,
    exactly_one,
)

TemplateText = Annotated[str, StringConstraints(max_length=65536)]


class ListGenerator(ApiModel):
    elements: list[dict[str, Any]] = Field(default_factory=list, max_length=1024)


class ClustersGenerator(ApiModel):
    """Every accepted cluster that matches; `hub` only where it is selected by name or label."""

    selector: LabelSelector | None = None
    cluster_set: Name | None = None
    names: list[Name] = Field(default_factory=list, max_length=256)
    values: Values = Field(default_factory=dict)


class DirectoryPattern(ApiModel):
    path: Glob
    exclude: bool = False


class FilePattern(ApiModel):
    path: Glob
    exclude: bool = False


class GitGenerator(OneOf):
    """Directories or files of a repository; exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=exactly_one(lists=("directories", "files")))

    repo_url: RepoURLTemplate = Field(alias="repoURL")
    revision: RevisionTemplate = "HEAD"
    directories: list[DirectoryPattern] = Field(default_factory=list, max_length=16)
    files: list[FilePattern] = Field(default_factory=list, max_length=16)
    path_param_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]*$", max_length=32)] = ""
    values: Values = Field(default_factory=dict)

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("directories", "files")


class LeafGenerator(OneOf):
    """Exactly one kind of generator, with its filter."""

    list_: ListGenerator | None = Field(default=None, alias="list")
    clusters: ClustersGenerator | None = None
    git: GitGenerator | None = None
    selector: LabelSelector | None = None
    """Over the flattened params that it gives."""

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("list_", "clusters", "git")


class InnerMatrix(ApiModel):
    generators: list[dict[str, Any]] = Field(min_length=1, max_length=8)
    """Deeper generators: loose in the schema, checked by the hub."""


class InnerGenerator(LeafGenerator):
    """A generator inside a matrix."""

    model_config = ConfigDict(json_schema_extra=exactly_one("list", "clusters", "git", "matrix"))

    matrix: InnerMatrix | None = None

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("list_", "clusters", "git", "matrix")


class MatrixGenerator(ApiModel):
    """The product of its generators, in order; a later one may use an earlier one's params in templates."""

    generators: list[InnerGenerator] = Field(min_length=1, max_length=8)


class Generator(LeafGenerator):
    """A generator of the set: exactly one kind, with its filter and its own template."""

    model_config = ConfigDict(json_schema_extra=exactly_one("list", "clusters", "git", "matrix"))

    matrix: MatrixGenerator | None = None
    template: Annotated[dict[str, Any], Field(json_schema_extra={"x-preserve": True})] | None = None
    """Merged over the set's template for the children of this generator."""

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("list_", "clusters", "git", "matrix")


class TemplateMetadata(ApiModel):
    name: TemplateText
    labels: dict[str, TemplateText] = Field(default_factory=dict, max_length=64)
    annotations: dict[str, TemplateText] = Field(default_factory=dict, max_length=64)


class ApplicationTemplate(ApiModel):
    metadata: TemplateMetadata
    spec: Annotated[dict[str, Any], Field(json_schema_extra={"x-preserve": True})]


class Wave(ApiModel):
    name: Name
    selector: LabelSelector | None = None
    max_concurrent: IntOrPercent | None = None
    failure_budget: IntOrPercent = 0
    soak: Duration | None = None
    timeout: Duration = "30m"
    approval: Annotated[str, StringConstraints(pattern="^(Automatic|Manual)$")] = "Automatic"


class Rollout(ApiModel):
    waves: list[Wave] = Field(default_factory=list, max_length=32)
    on_failure: Annotated[str, StringConstraints(pattern="^(Halt|Rollback|Continue)$")] = "Halt"


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


class ApplicationSetSpec(ApiModel):
    generators: list[Generator] = Field(min_length=1, max_length=16)
    template: ApplicationTemplate
    template_patch: TemplateText | None = None
    rollout: Rollout = Field(default_factory=Rollout)
    health: HealthPolicy = Field(default_factory=HealthPolicy)
    deletion: DeletionSpec = Field(default_factory=DeletionSpec)


class HeldDeletion(ApiModel):
    app: Text
    reason: Text
    since: Text


class DropRecord(ApiModel):
    at: Text
    count: int


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


class ApplicationSet(ApiModel):
    """The parent of its children."""

    spec: ApplicationSetSpec
    status: ApplicationSetStatus | None = None
