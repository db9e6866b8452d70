"""The words by which a value goes from one app to another: what gives it, and what takes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from agent.contract.healthrule import Expression  # noqa: TC001 - a pydantic field
from agent.contract.output import OutputName, OutputObject, OutputRule, SealedRule
from hub.api.dependency import ClusterTarget, Dependency, OnStale, Scope
from hub.api.model import ApiModel, LabelSelector, Name, Namespace, OneOf, exactly_one, rules


class InputStale(StrEnum):
    USE_LAST = "UseLast"
    """Go on with the last good value."""
    WAIT = "Wait"
    FAIL = "Fail"


_AS_EDGE = {
    InputStale.USE_LAST: OnStale.IGNORE,
    InputStale.WAIT: OnStale.WAIT,
    InputStale.FAIL: OnStale.FAIL,
}


class InputSecret(ApiModel):
    """Where a sealed input goes: a Secret that the app gets beside its own objects, in its namespace."""

    name: Name
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)] = (
        "value"
    )


class Input(OneOf):
    """A value that another app exports, and an edge to it: exactly one of `name`, `selector`, `applicationSet`.

    It gives one value where it means one app: by `name`, on the same cluster, or on one cluster by name. Else a
    list, sorted by cluster.
    """

    model_config = ConfigDict(json_schema_extra=exactly_one("name", "selector", "applicationSet"))

    as_: OutputName = Field(alias="as")
    """What it is called here: `{{ inputs.AS }}`, in source values and patches."""
    name: Name | None = None
    namespace: Namespace | None = None
    """Another project's namespace, where that project allows edges from ours; ours by default."""
    selector: LabelSelector | None = None
    application_set: Name | None = None
    clusters: ClusterTarget = Field(default_factory=lambda: ClusterTarget(scope=Scope.SAME))
    output: OutputName
    default: Annotated[Any, Field(json_schema_extra={"x-any": True})] = None
    """Where nothing is meant, or what is meant has no such output. Without one it is waited for."""
    on_stale: InputStale = InputStale.USE_LAST
    """If the other's cluster is not heard."""
    secret: InputSecret | None = None
    """Of a sealed output, which has no other place: it is no `{{ inputs.AS }}`."""

    @model_validator(mode="after")
    def _sealed_has_no_default(self) -> Self:
        if self.secret is not None and (self.default is not None or not self.single):
            raise ValueError("a sealed input is of one app, and has no default")
        return self

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("name", "selector", "application_set")

    @property
    def single(self) -> bool:
        """Whether it gives one value rather than a list: by what is declared, not by what happens to be there."""
        where = self.clusters
        return self.name is not None or where.scope is Scope.SAME or len(where.names) == 1

    def edge(self) -> Dependency:
        """The dependency that it is, too: what it takes comes from a producer that is Healthy at its target."""
        return Dependency(
            name=self.name,
            namespace=self.namespace,
            selector=self.selector,
            application_set=self.application_set,
            clusters=self.clusters,
            on_stale=_AS_EDGE[self.on_stale],
            optional=self.default is not None,
        )


_EXTERNAL = "(has(self.external) && self.external)"
_SEALED = "(has(self.sealed) && self.sealed)"
_ORIGIN = f"{_EXTERNAL} ? !has(self.object) && !has(self.value) : has(self.object) && has(self.value)"
_NO_SECRET = (
    f"{_SEALED} || !has(self.object) || self.object.kind != 'Secret'"
    " || (has(self.object.group) && self.object.group != '')"
)
_READ = f"!{_SEALED} || !{_EXTERNAL}"


class Output(ApiModel):
    """A value that other apps may take as an input: read by the agent of a Healthy app, or posted to the API."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (_ORIGIN, "either external, or object and value"),
            (_NO_SECRET, "an output is never read from a Secret, unless it is sealed"),
            (_READ, "a sealed output is read by the agent"),
        )
    )

    name: OutputName
    object: OutputObject | None = None
    value: Expression | None = None
    """CEL over the live object: `object`, and its parts by their names (`status`, `spec`, `metadata`, `data`)."""
    sealed: bool = False
    """Sealed by the agent for each app that takes it, which gets it as a Secret; may be read from a Secret."""
    external: bool = False
    """Posted by a program: what it made outside Kubernetes is an output like any other."""
    schema_: Annotated[dict[str, Any] | None, Field(json_schema_extra={"x-any": True})] = Field(
        default=None, alias="schema"
    )
    """A JSON Schema: the hub takes no value that it refuses. Without one, any JSON."""
    export_to: list[Annotated[str, StringConstraints(pattern=r"^([-a-z0-9]+|\*)$", max_length=63)]] = Field(
        default_factory=list, max_length=64
    )
    """Other projects (namespaces) that may read it, of those in our Project's `allowEdgesFrom`; `*` for all those."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        read = self.object is not None and self.value is not None
        if read == self.external or (self.external and (self.object or self.value)):
            raise ValueError("either external, or object and value")
        if self.sealed and (self.external or self.schema_ is not None):
            raise ValueError("a sealed output is read by the agent, and nobody can check it against a schema")
        if self.object is not None and self.object.secret and not self.sealed:
            raise ValueError("an output is never read from a Secret, unless it is sealed")
        return self

    def rule(self) -> OutputRule | None:
        """What the agent has to know of it; None for one that it does not read, or that is sealed."""
        if self.object is None or self.value is None or self.sealed:
            return None
        return OutputRule(name=self.name, object=self.object, value=self.value)

    def sealed_rule(self) -> SealedRule | None:
        """The same of a sealed one."""
        if self.object is None or self.value is None or not self.sealed:
            return None
        return SealedRule(name=self.name, object=self.object, value=self.value)
