"""What the API takes: parameters of questions, and bodies of acts."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from agent.contract.objectsync import MAX_OBJECT

MAX_LIMIT = 500
MAX_WAIT = 300
Word = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
Words = Annotated[list[Word], Field(max_length=64)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Seconds = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3})?s?$")]


def _is_json(value: Any) -> Any:
    """NaN and the like read here, and are no JSON: no database takes them. Raises ValueError."""
    json.dumps(value, allow_nan=False)
    return value


class Given(BaseModel):
    """What comes in: an unknown field is an error, since a misspelt filter must not mean "all"."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Nothing(Given):
    """No parameters."""


class Paged(Given):
    limit: Limit = 100
    cursor: Word = ""
    """`nextCursor` of the page before."""


class FacetQuery(Given):
    namespace: Words = Field(default_factory=list)
    cluster: Words = Field(default_factory=list)
    application_set: Words = Field(default_factory=list)
    """`namespace/name`."""
    health: Words = Field(default_factory=list)
    sync: Words = Field(default_factory=list)
    label: Words = Field(default_factory=list)
    """`key=value`, or `key` for any value; all of them must hold."""
    q: Word = ""
    """Words that must all appear in name, cluster, set, labels, state or message."""


class AppQuery(FacetQuery, Paged):
    """What is counted by facets is what is listed, page by page."""


class ObjectQuery(Paged):
    namespace: Word = ""
    name: Word = ""
    label_selector: Word = ""
    """As kubectl's `-l`."""


class SetQuery(Paged):
    namespace: Words = Field(default_factory=list)


class EventQuery(Paged):
    namespace: Words = Field(default_factory=list)
    name: Word = ""
    cluster: Words = Field(default_factory=list)
    kind: Words = Field(default_factory=list)
    reason: Words = Field(default_factory=list)
    application_set: Word = ""
    """`namespace/name`: the set itself and its children."""


class RolloutQuery(Given):
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
    """The commit, or its first seven digits or more."""
    wait: Seconds = "0s"
    until: Annotated[str, StringConstraints(pattern="^(Change|End)$")] = "Change"
    """`Change`: answer when anything of it changes; `End`: when it is over, well or not."""


class GraphQuery(Given):
    namespace: Words = Field(default_factory=list)


class ExplainQuery(Given):
    object: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9.]*/[^/\s]+$", max_length=512)]
    """`Kind/name` of one of its objects."""
    field: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Such as `.spec.replicas`; empty: all of the object."""


class SyncRequest(Given):
    object: Annotated[
        str, StringConstraints(pattern=r"^([^/\s]+(/[^/\s]+){1,2})?$", max_length=MAX_OBJECT)
    ] = ""
    """`Kind/name` of one object of the release that runs, to be applied again; empty: go to the target of now."""
    undo: bool = False
    """Take back what was asked of an object, and is not answered yet."""


class RollbackRequest(Given):
    release: Annotated[int, Field(ge=0)] = 0
    """Of the app's history; 0: the last that was Healthy in full."""
    undo: bool = False
    """Go back to what the plan wants."""


class ApproveRequest(Given):
    wave: Annotated[str, StringConstraints(max_length=63)] = ""
    """A wave of the set; empty: the deletions that are Held."""


class AdoptRequest(Given):
    take: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    """The digest whose plan is to be carried out; empty: let its agent say what would be taken over from whom."""
    undo: bool = False
    """Take the question back."""


class ExportRequest(Given):
    """The value of an external output."""

    output: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)]
    value: Annotated[Any, AfterValidator(_is_json)]
