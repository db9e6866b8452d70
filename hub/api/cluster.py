"""Cluster and ClusterSet: the fleet as the hub knows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from agent.contract.health import DriftMode
from hub.api.model import ApiModel, Condition, Duration, LabelSelector, Name, Text, Values
from hub.api.notification import Notification  # noqa: TC001 - a pydantic field


class MaintenanceWindow(ApiModel):
    start: Annotated[str, StringConstraints(min_length=9, max_length=100)]
    """Cron, five fields."""
    duration: Duration
    timezone: Annotated[str, StringConstraints(max_length=64)] = "UTC"


class Purge(ApiModel):
    """A person's decision that an orphan goes: an app that the agent holds and the hub does not know."""

    app: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}$", max_length=507)]
    hub: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{4,64})?$", max_length=64)] = ""
    """Of which former hub, as `status.orphans` says; empty: of this one."""
    decided_at: Text
    service_account: Text = ""
    """As whom it is deleted, where the agent has no bundle of it that says so."""


class ClusterSpec(ApiModel):
    accepted: bool = False
    """Double opt-in: a spoke asks, an administrator (or a token's rule) accepts."""
    values: Values = Field(default_factory=dict)
    maintenance_windows: list[MaintenanceWindow] = Field(default_factory=list, max_length=16)
    """When releases may go there; none means always."""
    purges: list[Purge] = Field(default_factory=list, max_length=256)
    """Orphans to be deleted there, as `axle orphans purge` records them. An app that the hub knows is not meant."""


class AgentInfo(ApiModel):
    version: Text = ""
    kubernetes_version: Text = ""
    api_versions: list[Annotated[str, StringConstraints(max_length=256)]] = Field(
        default_factory=list, max_length=2048
    )
    """`group/version` and `group/version/Kind` that its API server serves: charts are rendered by it."""
    cluster_uid: Text = ""
    epoch: int = 0
    seq: int = 0
    keys: int = 0
    """The generation of the hub's CAs and signing keys that it trusts."""


class CertificateInfo(ApiModel):
    joined_at: Text = ""
    since: Text = ""
    """When the one in force was used first."""
    not_after: Text = ""
    renewals: int = 0
    issuer: Text = ""
    """Hex of the issuing CA's key identifier."""


class CloneInfo(ApiModel):
    since: Text = ""
    message: Text = ""


class OrphanStatus(ApiModel):
    """An app that the agent holds and the hub does not know. It runs on until a person decides."""

    app: Text
    hub: Text = ""
    """Of which former hub, by a hash of its id; empty: of this one."""
    objects: int = 0
    kinds: list[Text] = Field(default_factory=list, max_length=16)
    namespaces: list[Text] = Field(default_factory=list, max_length=16)
    refs: list[Text] = Field(default_factory=list, max_length=20)
    """The first of its objects."""
    going: bool = False
    """It is being purged."""
    message: Text = ""


class ClusterStatus(ApiModel):
    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    agent: AgentInfo | None = None
    fingerprint: Text = ""
    """sha256 of the certificate in force, hex."""
    certificate: CertificateInfo | None = None
    clone: CloneInfo | None = None
    """Two agents speak with one identity: neither deletes anything until `axle cluster accept` says it is settled."""
    sealing_key: Text = ""
    """base64 of the X25519 public key that secret values for this cluster are sealed to."""
    apps: int = 0
    health: Text = ""
    connected: Text = ""
    """`Connected`, `Stale` or `Pending` (not joined yet)."""
    last_seen: Text = ""
    """When its Lease was written last: at each change of `connected`, and every five minutes while it is Connected."""
    removal: Text = ""
    """When its deletion was found to be meant: a deletionTimestamp alone, as of a removed CRD, decides nothing."""
    orphans: list[OrphanStatus] = Field(default_factory=list, max_length=200)
    """Written by the gateway, as the agent says."""


class Cluster(ApiModel):
    """A spoke. Cluster-scoped; made by join, or declared beforehand."""

    spec: ClusterSpec = Field(default_factory=ClusterSpec)
    status: ClusterStatus | None = None


class DriftSpec(ApiModel):
    mode: DriftMode = DriftMode.CORRECT
    alert_after: Duration = "10m"


class ClusterSetSpec(ApiModel):
    selector: LabelSelector | None = None
    """None selects nothing (the names alone count); an empty one selects every cluster but `hub`."""
    clusters: list[Name] = Field(default_factory=list, max_length=1024)
    drift: DriftSpec | None = None
    priority: int = 0
    notifications: list[Notification] = Field(default_factory=list, max_length=16)
    """Who is told when a cluster of it is not heard, or in need of a person."""


class ClusterSetStatus(ApiModel):
    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    count: int = 0
    missing: list[Name] = Field(default_factory=list, max_length=64)
    """Named clusters that do not exist."""


class ClusterSet(ApiModel):
    """A named set of clusters, by selector and by name. Cluster-scoped."""

    spec: ClusterSetSpec = Field(default_factory=ClusterSetSpec)
    status: ClusterSetStatus | None = None
