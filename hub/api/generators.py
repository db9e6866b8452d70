"""Generators: what an ApplicationSet's parameter sets come from.

CRD schemas cannot recurse: generators are typed to depth two, and deeper ones are checked by the hub.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from hub.api.hosts import (  # noqa: TC001 - pydantic fields
    ClusterDecisionGenerator,
    PluginGenerator,
    PullRequestGenerator,
    ScmProviderGenerator,
)
from hub.api.model import (
    ApiModel,
    Glob,
    Name,
    OneOf,
    RepoURLTemplate,
    RevisionTemplate,
    TemplateText,
    TextSelector,
    Values,
    exactly_one,
)

MergeKey = Annotated[str, StringConstraints(min_length=1, max_length=253)]
MergeMode = Annotated[str, StringConstraints(pattern="^(Left|Inner|Outer)$")]

Loose = Annotated[dict[str, Any], Field(json_schema_extra={"x-preserve": True})]

_KINDS = (
    "list",
    "clusters",
    "git",
    "scmProvider",
    "pullRequest",
    "plugin",
    "clusterDecisionResource",
    "matrix",
    "merge",
)
_FIELDS = (
    "list_",
    "clusters",
    "git",
    "scm_provider",
    "pull_request",
    "plugin",
    "cluster_decision_resource",
)


class ListGenerator(ApiModel):
    """Its elements, then those of the YAML text."""

    elements: list[dict[str, Any]] = Field(default_factory=list, max_length=1024)
    elements_yaml: TemplateText | None = None
    """A list as YAML text, or a template that gives one."""
    values: Values = Field(default_factory=dict)


class ClustersGenerator(ApiModel):
    """Every accepted cluster that matches; `hub` only where it is selected by name or label."""

    selector: TextSelector | None = None
    cluster_set: Name | None = None
    names: list[Name] = Field(default_factory=list, max_length=256)
    flat_list: bool = False
    """One parameter set with all of them as `clusters`, instead of one each."""
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
    selector: TextSelector | None = None
    """Over the flattened params that it gives."""

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return (*_FIELDS, "matrix", "merge")


class InnerMatrix(ApiModel):
    generators: list[dict[str, Any]] = Field(min_length=1, max_length=8)
    """Deeper generators: loose in the schema, checked by the hub."""
    values: Values = Field(default_factory=dict)


class InnerMerge(InnerMatrix):
    merge_keys: list[MergeKey] = Field(min_length=1, max_length=8)
    mode: MergeMode = "Left"


class InnerGenerator(LeafGenerator):
    """A generator inside a matrix or a merge. Those that ask somebody are checked by the hub: they are large."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_KINDS))

    scm_provider: Loose | None = None
    pull_request: Loose | None = None
    plugin: Loose | None = None
    cluster_decision_resource: Loose | None = None
    matrix: InnerMatrix | None = None
    merge: InnerMerge | None = None


class MatrixGenerator(ApiModel):
    """The product of its generators, in order; a later one may use an earlier one's params in templates."""

    generators: list[InnerGenerator] = Field(min_length=1, max_length=8)
    values: Values = Field(default_factory=dict)


class MergeGenerator(ApiModel):
    """The first generator's parameter sets, with what the later ones say of the same keys over them."""

    generators: list[InnerGenerator] = Field(min_length=2, max_length=8)
    merge_keys: list[MergeKey] = Field(min_length=1, max_length=8)
    """By which two parameter sets are the same one; dotted keys reach into maps."""
    mode: MergeMode = "Left"
    values: Values = Field(default_factory=dict)


class Generator(LeafGenerator):
    """A generator of the set: exactly one kind, with its filter and its own template."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_KINDS))

    scm_provider: ScmProviderGenerator | None = None
    pull_request: PullRequestGenerator | None = None
    plugin: PluginGenerator | None = None
    cluster_decision_resource: ClusterDecisionGenerator | None = None
    matrix: MatrixGenerator | None = None
    merge: MergeGenerator | None = None
    template: Loose | None = None
    """Merged over the set's template for the children of this generator."""
