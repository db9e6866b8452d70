"""Generators that ask somebody: Git hosts, plugins, other controllers. Fields are named as Argo CD names them.

Texts are not held to a format here: inside a matrix they may be templates.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from hub.api.model import ApiModel, Glob, LabelSelector, Name, OneOf, Values, exactly_one

_Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_Optional = Annotated[str, StringConstraints(max_length=512)]
_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_Labels = Annotated[list[_Text], Field(max_length=16)]
MIN_REQUEUE = 30
_Seconds = Annotated[int, Field(ge=MIN_REQUEUE, le=86400)]


class SecretRef(ApiModel):
    """A key of a Secret in the set's namespace that is labelled `axletree.dev/credentials: generator`."""

    secret_name: Name
    key: _Text = "token"


class ConfigMapRef(ApiModel):
    name: Name


class BasicAuth(ApiModel):
    username: _Text
    password_ref: SecretRef


class BearerToken(ApiModel):
    token_ref: SecretRef


class ScmGithub(ApiModel):
    organization: _Text
    api: _Optional = ""
    token_ref: SecretRef | None = None
    all_branches: bool = False
    exclude_archived_repos: bool = False


class ScmGitlab(ApiModel):
    group: _Text
    api: _Optional = ""
    token_ref: SecretRef | None = None
    all_branches: bool = False
    include_subgroups: bool = False
    include_shared_projects: bool = True
    include_archived_repos: bool = False
    topic: _Optional = ""


class ScmGitea(ApiModel):
    owner: _Text
    api: _Text
    token_ref: SecretRef | None = None
    all_branches: bool = False
    exclude_archived_repos: bool = False


class ScmBitbucket(ApiModel):
    owner: _Text
    user: _Optional = ""
    app_password_ref: SecretRef | None = None
    api: _Optional = ""
    all_branches: bool = False


class ScmBitbucketServer(ApiModel):
    project: _Text
    api: _Text
    basic_auth: BasicAuth | None = None
    bearer_token: BearerToken | None = None
    all_branches: bool = False


class ScmAzureDevOps(ApiModel):
    organization: _Text
    team_project: _Text
    access_token_ref: SecretRef | None = None
    api: _Optional = ""
    all_branches: bool = False


class ScmFilter(ApiModel):
    """All that is said must hold; of several filters, one must."""

    repository_match: _Pattern | None = None
    paths_exist: list[Glob] = Field(default_factory=list, max_length=16)
    paths_do_not_exist: list[Glob] = Field(default_factory=list, max_length=16)
    label_match: _Pattern | None = None
    branch_match: _Pattern | None = None


_SCM_HOSTS = ("github", "gitlab", "gitea", "bitbucket", "bitbucketServer", "azureDevOps")


class ScmProviderGenerator(OneOf):
    """The repositories of an organization, group or project on one host; one parameter set a branch."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_SCM_HOSTS))

    github: ScmGithub | None = None
    gitlab: ScmGitlab | None = None
    gitea: ScmGitea | None = None
    bitbucket: ScmBitbucket | None = None
    bitbucket_server: ScmBitbucketServer | None = None
    azure_dev_ops: ScmAzureDevOps | None = None
    filters: list[ScmFilter] = Field(default_factory=list, max_length=16)
    clone_protocol: Annotated[str, StringConstraints(pattern="^(https|ssh)$")] = "https"
    requeue_after_seconds: _Seconds = 1800
    values: Values = Field(default_factory=dict)

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("github", "gitlab", "gitea", "bitbucket", "bitbucket_server", "azure_dev_ops")


class RequestsGithub(ApiModel):
    owner: _Text
    repo: _Text
    api: _Optional = ""
    token_ref: SecretRef | None = None
    labels: _Labels = Field(default_factory=list)


class RequestsGitlab(ApiModel):
    project: _Text
    api: _Optional = ""
    token_ref: SecretRef | None = None
    labels: _Labels = Field(default_factory=list)
    pull_request_state: _Optional = ""


class RequestsGitea(ApiModel):
    owner: _Text
    repo: _Text
    api: _Text
    token_ref: SecretRef | None = None
    labels: _Labels = Field(default_factory=list)


class RequestsBitbucket(ApiModel):
    owner: _Text
    repo: _Text
    api: _Optional = ""
    basic_auth: BasicAuth | None = None
    bearer_token: BearerToken | None = None


class RequestsBitbucketServer(ApiModel):
    project: _Text
    repo: _Text
    api: _Text
    basic_auth: BasicAuth | None = None
    bearer_token: BearerToken | None = None


class RequestsAzureDevOps(ApiModel):
    organization: _Text
    project: _Text
    repo: _Text
    api: _Optional = ""
    token_ref: SecretRef | None = None
    labels: _Labels = Field(default_factory=list)


class RequestFilter(ApiModel):
    """All that is said must hold; of several filters, one must."""

    branch_match: _Pattern | None = None
    target_branch_match: _Pattern | None = None
    title_match: _Pattern | None = None


_REQUEST_HOSTS = ("github", "gitlab", "gitea", "bitbucket", "bitbucketServer", "azuredevops")


class PullRequestGenerator(OneOf):
    """The open pull requests of one repository: previews come and go with them."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_REQUEST_HOSTS))

    github: RequestsGithub | None = None
    gitlab: RequestsGitlab | None = None
    gitea: RequestsGitea | None = None
    bitbucket: RequestsBitbucket | None = None
    bitbucket_server: RequestsBitbucketServer | None = None
    azuredevops: RequestsAzureDevOps | None = None
    filters: list[RequestFilter] = Field(default_factory=list, max_length=16)
    continue_on_repo_not_found_error: bool = False
    requeue_after_seconds: _Seconds = 1800
    values: Values = Field(default_factory=dict)

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("github", "gitlab", "gitea", "bitbucket", "bitbucket_server", "azuredevops")


class PluginInput(ApiModel):
    parameters: dict[str, Any] = Field(default_factory=dict)


class PluginGenerator(ApiModel):
    """What a service answers over HTTP; its address and token are in a ConfigMap and a Secret."""

    config_map_ref: ConfigMapRef
    input: PluginInput = Field(default_factory=PluginInput)
    requeue_after_seconds: _Seconds = 1800
    values: Values = Field(default_factory=dict)


class ClusterDecisionGenerator(ApiModel):
    """The clusters that another controller chose, as a PlacementDecision of Open Cluster Management."""

    config_map_ref: Name
    """Which kind is read, and where in its status the decisions are."""
    name: _Optional = ""
    label_selector: LabelSelector | None = None
    requeue_after_seconds: _Seconds = 180
    values: Values = Field(default_factory=dict)


GENERATORS: dict[str, type[ApiModel]] = {
    "scmProvider": ScmProviderGenerator,
    "pullRequest": PullRequestGenerator,
    "plugin": PluginGenerator,
    "clusterDecisionResource": ClusterDecisionGenerator,
}
