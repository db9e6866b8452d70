"""The base of the CRD models, and the bounded scalar types that they share.

Every list, map and string is bounded: the API server estimates the cost of CEL rules from these bounds and
refuses a CRD whose rules could be too dear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from pydantic.config import JsonDict

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=DNS_SUBDOMAIN, min_length=1, max_length=253)]
Namespace = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=63)]
NamespaceGlob = Annotated[str, StringConstraints(pattern=r"^[-a-z0-9*?]+$", min_length=1, max_length=63)]
REPO_URL = (
    r"https?://[^\s/@{]+(/\S*)?"
    r"|ssh://([A-Za-z0-9_][-\w.]*@)?[A-Za-z0-9\[][^\s@{]*"
    r"|git@[A-Za-z0-9\[][^\s:]*:[^-\s]\S*"
)
RepoURL = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=rf"^({REPO_URL})$")]
"""https, http, ssh, or `git@host:path`. No credentials inside (they belong in a Secret), nothing that Git
could read as an option, and no local path."""
RepoURLTemplate = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=rf"^({REPO_URL}|[^-\s].*\{{\{{.*|\{{\{{.*)$"),
]
"""A repository URL, or a template of one: a later generator of a matrix may use an earlier one's params."""
Revision = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^([^-\s]\S*|[v0-9^~<>=!*][0-9A-Za-z.+*^~<>=!|, -]*)?$")
]
"""A branch, tag, commit or range of versions; never anything that Git could read as an option."""
RevisionTemplate = Annotated[
    str, StringConstraints(max_length=255, pattern=r"^([^-\s]\S*|[^-\s].*\{\{.*|\{\{.*)?$")
]
_SEGMENT = r"(\.|[^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+)"
RelativePath = Annotated[
    str, StringConstraints(max_length=1024, pattern=rf"^({_SEGMENT}(/+{_SEGMENT})*/*)?$")
]
"""Inside its repository: not absolute, no `..` segment. (RE2 has no lookahead, hence the long form.)"""
Glob = Annotated[str, StringConstraints(min_length=1, max_length=512)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
SelectedText = Annotated[str, StringConstraints(max_length=1024)]
Duration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|s|m|h|d))+$", max_length=32)]
"""`90s`, `10m`, `1h30m`, `7d`."""
Percent = Annotated[str, StringConstraints(pattern=r"^([0-9]|[1-9][0-9]|100)%$", max_length=4)]
Count = Annotated[int, Field(ge=0, le=1000000)]
IntOrPercent = Annotated[Count | Percent, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
"""A count, or a share of the whole: `3` or `20%`."""
Text = Annotated[str, StringConstraints(max_length=4096)]
TemplateText = Annotated[str, StringConstraints(max_length=65536)]
"""Text that is rendered, or a template."""
Values = dict[str, Any]
"""Free JSON that templates read. Kept as it is by the API server."""


class ApiModel(BaseModel):
    """camelCase outside, snake_case inside.

    Unknown fields are ignored when read: the API server has refused or pruned them before, and a newer CRD
    may hold fields that this code does not know.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready data by the CRD's names, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str) -> JsonDict:
    """A CEL rule for a model's `json_schema_extra`: what the API server itself refuses."""
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}


def rules(*each: tuple[str, str]) -> JsonDict:
    """Several, as (expression, message)."""
    return {"x-kubernetes-validations": [{"rule": one, "message": said} for one, said in each]}


def exactly_one(*fields: str, lists: tuple[str, ...] = ()) -> JsonDict:
    """The CEL rule that one and only one of the fields is set; those in `lists` count when not empty."""
    terms = [f"(has(self.{name}) ? 1 : 0)" for name in fields]
    terms += [f"(has(self.{name}) && size(self.{name}) > 0 ? 1 : 0)" for name in lists]
    return rule(" + ".join(terms) + " == 1", f"exactly one of {', '.join((*fields, *lists))}")


class OneOf(ApiModel):
    """A model of which exactly one field of `one_of()` is set.

    Checked here as well as in CEL: rendered templates and deep generators never pass the API server as what
    they become.
    """

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        raise NotImplementedError

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = self.one_of()
        if sum(getattr(self, name) not in (None, []) for name in names) != 1:
            fields = type(self).model_fields
            raise ValueError(f"exactly one of {', '.join(fields[name].alias or name for name in names)}")
        return self


class LabelExpression(ApiModel):
    key: LabelKey
    operator: Annotated[str, StringConstraints(pattern="^(In|NotIn|Exists|DoesNotExist|Gt|Lt)$")]
    values: list[LabelValue] = Field(default_factory=list, max_length=64)


class LabelSelector(ApiModel):
    """As everywhere in Kubernetes; an empty one selects everything."""

    match_labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    match_expressions: list[LabelExpression] = Field(default_factory=list, max_length=16)


class TextExpression(LabelExpression):
    values: list[SelectedText] = Field(default_factory=list, max_length=64)


class TextSelector(LabelSelector):
    """A selector whose values are templates, or are compared with other texts than labels' values."""

    match_labels: dict[LabelKey, SelectedText] = Field(default_factory=dict, max_length=64)
    match_expressions: list[TextExpression] = Field(default_factory=list, max_length=16)  # type: ignore[assignment]


class Condition(ApiModel):
    """The standard Kubernetes condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    status: Annotated[str, StringConstraints(pattern="^(True|False|Unknown)$")]
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    message: Annotated[str, StringConstraints(max_length=8192)] = ""
    last_transition_time: Annotated[str, StringConstraints(max_length=40)] = ""
    observed_generation: int | None = None
