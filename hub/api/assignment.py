"""Assignment: what one cluster should run. Internal; written by the controller alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from hub.api.model import ApiModel, Text

AppKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$", max_length=507)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class AssignedApp(ApiModel):
    app: AppKey
    digest: Digest
    blob: Digest
    release: Annotated[int, Field(ge=1)]
    after: list[AppKey] = Field(default_factory=list, max_length=64)


class AssignedTombstone(ApiModel):
    app: AppKey
    reason: Annotated[str, StringConstraints(pattern="^(Dropped|Deleted|ClusterRemoved)$")]
    decided_at: Text
    orphan: bool = False
    before: list[AppKey] = Field(default_factory=list, max_length=64)
    purge: bool = False
    """An orphan, of which only the cluster's agent knew."""
    service_account: Text = ""
    """As whom, where the agent has no bundle of it that says so."""


class AssignedAdoption(ApiModel):
    """Objects to look at, or to take over from other tools."""

    app: AppKey
    digest: Digest
    blob: Digest
    request: Annotated[str, StringConstraints(max_length=64)]
    take: bool = False


class AssignedObjectSync(ApiModel):
    """One object of a release that is to be applied again."""

    app: AppKey
    digest: Digest
    object: Annotated[str, StringConstraints(min_length=1, max_length=600)]
    request: Annotated[str, StringConstraints(max_length=64)]


class AssignedPurge(ApiModel):
    """What a former hub's agent left there of an app, and a person wants gone."""

    app: AppKey
    hub: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4,64}$", max_length=64)]
    decided_at: Text
    service_account: Annotated[Text, Field(min_length=1)]


class AssignedRecipient(ApiModel):
    """Who takes a sealed output of an app on this cluster, and the key of its cluster."""

    app: AppKey
    output: Annotated[str, StringConstraints(max_length=63)]
    consumer: AppKey
    key: Annotated[str, StringConstraints(max_length=64)]


class AssignmentSpec(ApiModel):
    epoch: Annotated[int, Field(ge=1)]
    seq: Annotated[int, Field(ge=0)]
    resend: Annotated[int, Field(ge=0)] = 0
    apps: list[AssignedApp] = Field(default_factory=list, max_length=10000)
    tombstones: list[AssignedTombstone] = Field(default_factory=list, max_length=10000)
    adoptions: list[AssignedAdoption] = Field(default_factory=list, max_length=1000)
    purges: list[AssignedPurge] = Field(default_factory=list, max_length=256)
    recipients: list[AssignedRecipient] = Field(default_factory=list, max_length=10000)
    object_syncs: list[AssignedObjectSync] = Field(default_factory=list, max_length=1000)
    leaving: bool = False


class Assignment(ApiModel):
    """One a cluster, in the hub's namespace, named as the cluster."""

    spec: AssignmentSpec
