"""Project: what one hub namespace may deploy, from where, to where, as whom."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from agent.contract.healthrule import HealthRule  # noqa: TC001 - a pydantic field
from hub.api.model import (
    ApiModel,
    Condition,
    Glob,
    Name,
    Namespace,
    NamespaceGlob,
    OneOf,
    exactly_one,
    rule,
)
from hub.api.notification import NotificationOfMany  # noqa: TC001 - a pydantic field

PROJECT_NAME = "project"
"""Exactly one in a namespace: the rule is on its name."""


class Destination(OneOf):
    """Where apps may go: exactly one of a cluster set and cluster name globs, and namespaces there."""

    model_config = ConfigDict(json_schema_extra=exactly_one("clusterSet", lists=("clusters",)))

    cluster_set: Name | None = None
    clusters: list[Glob] = Field(default_factory=list, max_length=64)
    namespaces: list[NamespaceGlob] = Field(min_length=1, max_length=64)

    @classmethod
    def one_of(cls) -> tuple[str, ...]:
        return ("cluster_set", "clusters")


class KindPattern(ApiModel):
    """A group and kind; `*` matches any."""

    group: Annotated[str, StringConstraints(max_length=253)] = ""
    kind: Annotated[str, StringConstraints(min_length=1, max_length=63)]


class SigningIdentity(ApiModel):
    """Somebody who signs with a certificate of a moment, as `cosign sign` does without a key."""

    issuer: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    """The OpenID Connect issuer that knows them, exactly: `https://accounts.example.com`."""
    subject: Glob
    """Their mail address or their workflow's URI; `*` does not cross `/`, `**` does."""


class Verification(ApiModel):
    """What must be signed before anything of it is used, and by whom."""

    model_config = ConfigDict(
        json_schema_extra=rule(
            "(has(self.keys) && size(self.keys) > 0) || (has(self.identities) && size(self.identities) > 0)",
            "at least one of keys and identities",
        )
    )

    sources: list[Glob] = Field(min_length=1, max_length=64)
    """Addresses as in `sourceRepos`; every spelling of a repository counts, its ssh address too."""
    keys: list[Annotated[str, StringConstraints(min_length=1, max_length=32768)]] = Field(
        default_factory=list, max_length=32
    )
    """Public keys, one of which must have signed: OpenPGP blocks and SSH keys for commits and tags, OpenPGP for a
    chart's provenance, PEM for what a registry holds (cosign)."""
    identities: list[SigningIdentity] = Field(default_factory=list, max_length=16)
    """People and workflows one of whom may have signed instead, what a registry holds (cosign, keyless)."""
    trusted_root: Annotated[str, StringConstraints(max_length=65536)] = ""
    """The JSON of the Sigstore instance that `identities` are known to; its public one where it is empty."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.keys and not self.identities:
            raise ValueError("at least one of keys and identities")
        return self


class InputPlace(StrEnum):
    """Where values of other apps' outputs decide only if a Project says so."""

    NAMESPACE = "Namespace"
    RBAC = "RBAC"
    IMAGE_HOST = "ImageHost"


class ProjectSpec(ApiModel):
    """The rules. `trusted` also needs the hub's own namespace, which CEL cannot see: the hub checks it."""

    model_config = ConfigDict(
        json_schema_extra=rule(
            "(has(self.trusted) && self.trusted) != has(self.serviceAccount)",
            "exactly one of serviceAccount and trusted: true",
        )
    )

    source_repos: list[Glob] = Field(default_factory=list, max_length=64)
    """URL globs; `*` does not cross `/`, `**` does."""
    generator_hosts: list[Glob] = Field(default_factory=list, max_length=64)
    """Addresses that its generators may ask (APIs of Git hosts, plugins), as globs; none by default."""
    destinations: list[Destination] = Field(default_factory=list, max_length=64)
    cluster_resources: list[KindPattern] = Field(default_factory=list, max_length=64)
    """Cluster-scoped kinds that its apps may hold; none by default."""
    service_account: Name | None = None
    """Impersonated by the agent for every write, in the agent's own namespace."""
    trusted: bool = False
    """Write with the agent's own rights instead; only in the hub's own namespace."""
    allow_edges_from: list[Namespace] = Field(default_factory=list, max_length=64)
    """Other projects (namespaces) whose apps may depend on ours and read our outputs."""
    input_places: list[InputPlace] = Field(default_factory=list, max_length=3)
    """Where its apps' inputs may decide, beside values and texts: none of these by default."""
    verify: list[Verification] = Field(default_factory=list, max_length=16)
    """Sources that must be signed; of several that cover one, each must hold."""
    notifications: list[NotificationOfMany] = Field(default_factory=list, max_length=16)
    """Who is told of its sets and hand-written Applications, and with `children` of all others."""
    health_rules: list[HealthRule] = Field(default_factory=list, max_length=64)
    """How its apps' objects are judged, before the built-in rules. Those of the hub's own Project hold for all."""

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.trusted and self.service_account:
            raise ValueError("exactly one of serviceAccount and trusted: true")
        return self


class ProjectStatus(ApiModel):
    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    applications: int = 0


class Project(ApiModel):
    """One a namespace, called `project`; without it nothing there runs."""

    spec: ProjectSpec
    status: ProjectStatus | None = None
