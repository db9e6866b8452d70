"""The agent protocol's documents. Another agent could be built from this module and the reference page."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from agent.contract.adoption import (
    MAX_ORPHANS,
    MAX_REPORTS,
    AdoptionReport,
    AdoptionRequest,
    OrphanReport,
    PurgeRequest,
)
from agent.contract.handover import Recipient, SealedReports
from agent.contract.health import HealthState, SyncState
from agent.contract.model import WireModel
from agent.contract.objectsync import ObjectSyncReport, ObjectSyncRequest
from agent.contract.output import MAX_OUTPUTS, OutputReport

SIGNATURE_HEADER = "Axletree-Signature"
"""`keyid=<id>, ed25519=<base64 of the signature over the exact response bytes>`"""
CLUSTER_SAN_PREFIX = "axletree://cluster/"
"""The client certificate's one URI SAN is this prefix and the cluster's name, matched whole."""
HEARTBEAT_SECONDS = 20.0
STALE_SECONDS = 60.0
LONG_POLL_SECONDS = 55
MAX_REPORT_BYTES = 4 * 1024 * 1024
MAX_GATEWAY = 300

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
AppKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}$")]
"""An Application on the hub: `namespace/name`."""
Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Message = Annotated[str, StringConstraints(max_length=2048)]


class JoinRequest(WireModel):
    token: Annotated[str, StringConstraints(max_length=512)]
    cluster: Name
    csr: Annotated[str, StringConstraints(max_length=8192)]
    """PEM; the subject is ignored: the hub sets subject and SAN from `cluster`."""
    sealing_key: Annotated[str, StringConstraints(max_length=64)]
    """base64 of the X25519 public key, 32 bytes."""
    cluster_uid: Annotated[str, StringConstraints(max_length=64)] = ""
    """uid of the spoke's kube-system namespace: a restored or cloned backup is noticed by it."""
    agent_version: Annotated[str, StringConstraints(max_length=64)] = ""
    kubernetes_version: Annotated[str, StringConstraints(max_length=64)] = ""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)


class JoinResponse(WireModel):
    """201. A 202 has no body but `Retry-After`: asked, not yet accepted."""

    certificate: str
    ca: str
    """PEM of the CAs to trust, one or, while one is replaced, two."""
    hub_id: str
    signing_keys: dict[str, str]
    """key id -> base64 of an Ed25519 public key; two while one is rotated."""
    keys: int = 0
    """The generation of `ca` and `signing_keys`: see `KeysDocument`."""


class KeysDocument(WireModel):
    """What an agent trusts from now on: signed by a key of the generation before, so that trust is only handed on."""

    hub_id: str
    generation: int
    ca: str
    """PEM, one or two certificates."""
    signing_keys: dict[str, str]


class SignedKeys(WireModel):
    """`document` is the text that was signed, `signature` the value as in `SIGNATURE_HEADER`."""

    document: Annotated[str, StringConstraints(max_length=32 * 1024)]
    signature: Annotated[str, StringConstraints(max_length=256)]


class KeysAnswer(WireModel):
    """Every generation after the one that was asked for, in order."""

    chain: list[SignedKeys] = Field(default_factory=list, max_length=64)


class AssignedApp(WireModel):
    app: AppKey
    digest: Hex
    blob: Hex
    release: int
    after: list[AppKey] = Field(default_factory=list)
    """Apps of this cluster that must be Healthy first: kept by a rebuilt cluster with no hub in reach."""


class TombstoneReason(StrEnum):
    DROPPED = "Dropped"
    """An expansion that succeeded no longer has it."""
    DELETED = "Deleted"
    """A person deleted the set or the hand-written Application."""
    CLUSTER_REMOVED = "ClusterRemoved"


class Tombstone(WireModel):
    app: AppKey
    reason: TombstoneReason
    decided_at: datetime
    orphan: bool = False
    """Forget it and leave its objects (policy Orphan)."""
    before: list[AppKey] = Field(default_factory=list)
    """Apps that must be gone first: deletion runs the edges in reverse."""
    purge: bool = False
    """It was an orphan, which the hub knows by its agent alone."""
    service_account: Annotated[str, StringConstraints(max_length=253)] = ""
    """As whom, where the app's own bundle is not there to say it."""


class AssignmentDocument(WireModel):
    """What one cluster should run: complete, never a delta. Absence of an app is not a deletion."""

    hub_id: str
    cluster: Name
    epoch: int
    seq: int
    resend: int = 0
    """Counts how often the hub lost what was observed here, and wants it again."""
    apps: list[AssignedApp] = Field(default_factory=list)
    tombstones: list[Tombstone] = Field(default_factory=list)
    adoptions: list[AdoptionRequest] = Field(default_factory=list)
    """Apps whose objects are to be looked at, or taken over from other tools."""
    recipients: list[Recipient] = Field(default_factory=list)
    """Who takes sealed outputs of its apps."""
    purges: list[PurgeRequest] = Field(default_factory=list)
    """What former hubs left here, and a person wants gone."""
    object_syncs: list[ObjectSyncRequest] = Field(default_factory=list)
    """Single objects that are to be applied again, once each."""
    leaving: bool = False
    """A person removes the cluster: once nothing of its apps is left here, the agent has nothing left to do."""


class ObjectReport(WireModel):
    """One object that is not as it should be. Healthy ones are counted only."""

    ref: Annotated[str, StringConstraints(max_length=600)]
    state: HealthState
    message: Message = ""


class FieldChange(WireModel):
    """One field, its values as JSON text, bounded; `(hidden)` for what could be a secret."""

    path: Annotated[str, StringConstraints(max_length=400)]
    wanted: Annotated[str, StringConstraints(max_length=120)] = ""
    live: Annotated[str, StringConstraints(max_length=120)] = ""


class DriftEntry(WireModel):
    """One drifted object: paths with masked values, bounded, and who changed it where known."""

    ref: Annotated[str, StringConstraints(max_length=600)]
    paths: list[Annotated[str, StringConstraints(max_length=400)]] = Field(
        default_factory=list, max_length=20
    )
    manager: Annotated[str, StringConstraints(max_length=128)] = ""
    at: Annotated[str, StringConstraints(max_length=64)] = ""
    """When it was changed, as the API server says."""
    corrected: bool = False
    fighting: bool = False
    """It was corrected again and again: something keeps changing it back."""
    changes: list[FieldChange] = Field(default_factory=list, max_length=20)
    """The first of the paths, with what the bundle wants and what is live. No value that could be a secret."""


class AppReport(WireModel):
    app: AppKey
    release: int
    digest: Hex | None = None
    """What the agent last applied in full; None before the first time."""
    sync: SyncState
    message: Message = ""
    health: HealthState
    health_message: Message = ""
    observed_at: datetime
    counts: dict[str, int] = Field(default_factory=dict, max_length=16)
    """Objects by health state."""
    objects: list[ObjectReport] = Field(default_factory=list, max_length=20)
    drift: list[DriftEntry] = Field(default_factory=list, max_length=20)
    deleted: bool = False
    """A tombstone carried out: everything of the inventory is gone."""
    held: Message = ""
    """Why the agent refuses to prune (`EmptyBundle`, ...), until approved."""
    outputs: list[OutputReport] | None = Field(default=None, max_length=MAX_OUTPUTS)
    """Its outputs as they are at `digest`; none while it is not Healthy there, which says nothing about them."""
    sealed_outputs: SealedReports | None = None
    """The same of its sealed outputs, for each who takes them."""


class ReportBatch(WireModel):
    """Latest wins per (app, release); an empty batch is the heartbeat."""

    epoch: int = 0
    """What the agent holds: a hub with a lower one went back in time."""
    seq: int = 0
    agent_version: str = ""
    kubernetes_version: str = ""
    api_versions: list[Annotated[str, StringConstraints(max_length=256)]] | None = Field(
        default=None, max_length=2048
    )
    """`group/version` and `group/version/Kind` that its API server serves; None: as it said before."""
    boot: str = ""
    """A nonce of this agent process, with `count` the order of its batches."""
    count: int = 0
    gateway: Annotated[str, StringConstraints(max_length=MAX_GATEWAY)] = ""
    """Who answered last, as it called itself: another gateway sees by it that it does not know all that was said."""
    answered: int | None = None
    """The `count` of the last batch whose answer arrived: a `resend` that was lost is said again. None: not told."""
    reports: list[AppReport] = Field(default_factory=list, max_length=5000)
    orphans: list[AppKey] = Field(default_factory=list, max_length=5000)
    orphan_details: list[OrphanReport] | None = Field(default=None, max_length=MAX_ORPHANS)
    """The first of them, and those that are being purged."""
    adoptions: list[AdoptionReport] | None = Field(default=None, max_length=MAX_REPORTS)
    """Answers to what the Assignment asks, for as long as it does."""
    object_syncs: list[ObjectSyncReport] | None = Field(default=None, max_length=MAX_REPORTS)
    """The same of single objects."""
    keys: int = 0
    """The generation of the hub's keys that the agent trusts."""


class Standing(StrEnum):
    """How the hub sees the agent that asks, beside its apps."""

    FINE = ""
    CLONED = "Cloned"
    """Another agent speaks with the same identity: neither deletes anything until a person has decided."""


class ReportAnswer(WireModel):
    epoch: int
    seq: int
    resend: bool = False
    """The gateway lost what it knew (a restart): send every app's latest state again."""
    gateway: Annotated[str, StringConstraints(max_length=MAX_GATEWAY)] = ""
    """`<name>/<nonce of its process>` of who answers; the next batch says it back."""
    keys: int = 0
    """The generation of the hub's keys: an agent with a lower one reads what comes after it."""
    renew_within: int | None = None
    """Seconds within which a new certificate is to be asked for, at a moment of the agent's own choice."""
    rotate: bool = False
    """With the certificate, a new key to seal values to."""
    standing: Standing = Standing.FINE


class RenewRequest(WireModel):
    csr: Annotated[str, StringConstraints(max_length=8192)]
    counter: int = 0
    """How often this identity was renewed; a second agent with the same key is noticed by it."""
    sealing_key: Annotated[str, StringConstraints(max_length=64)] = ""
    """base64 of a new X25519 public key; it takes over with the certificate. Empty: the old one stays."""


class ReturnRequest(WireModel):
    """What a hub that was made anew from its identity alone has to know of an agent that it had."""

    sealing_key: Annotated[str, StringConstraints(max_length=64)]
    cluster_uid: Annotated[str, StringConstraints(max_length=64)] = ""
    agent_version: Annotated[str, StringConstraints(max_length=64)] = ""
    kubernetes_version: Annotated[str, StringConstraints(max_length=64)] = ""
    renewals: int = 0
