"""What the core decides over: a snapshot of the fleet, as frozen values.

Shells build these from their caches and write back what the core returns. Nothing here knows about HTTP, Git,
Kubernetes clients or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState, SyncState
from agent.contract.names import HUB_CLUSTER
from hub.api.application import SyncMode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hub.api.cluster import DriftSpec, MaintenanceWindow
    from hub.api.dependency import Dependency
    from hub.api.flow import Input
    from hub.api.model import LabelSelector
    from hub.api.project import ProjectSpec
    from hub.core.outputs import Exported

AppKey = str
"""`namespace/name` of an Application on the hub."""
SetKey = str
"""`namespace/name` of an ApplicationSet."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    accepted: bool = True
    joined: bool = True
    """Its agent has a certificate and a sealing key: bundles can be made for it."""
    sealing_key: str = ""
    """base64 of its X25519 public key."""
    stale: bool = False
    behind: bool = False
    """Its agent holds more than this hub ever gave it: the hub went back in time."""
    removing: bool = False
    kubernetes_version: str = ""
    """As its agent reported it; empty until then."""
    api_versions: tuple[str, ...] = ()
    """API groups and kinds beyond Helm's own list that charts may ask for."""
    windows: tuple[MaintenanceWindow, ...] = ()
    """Releases go to it only inside one of them; none: always."""

    @property
    def is_hub(self) -> bool:
        return self.name == HUB_CLUSTER


@dataclass(frozen=True, slots=True)
class ClusterSetView:
    name: str
    selector: LabelSelector | None = None
    clusters: tuple[str, ...] = ()
    drift: DriftSpec | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Fleet:
    clusters: Mapping[str, ClusterView] = field(default_factory=dict)
    cluster_sets: Mapping[str, ClusterSetView] = field(default_factory=dict)
    projects: Mapping[str, ProjectSpec] = field(default_factory=dict)
    """By namespace."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the agent said last about one app."""

    release: int
    digest: str
    sync: SyncState
    health: HealthState
    message: str = ""
    health_message: str = ""
    observed_at: str = ""
    epoch: int = 0
    seq: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    objects: tuple[Mapping[str, Any], ...] = ()
    drift: tuple[Mapping[str, Any], ...] = ()
    deleted: bool = False
    held: str = ""
    outputs: tuple[Mapping[str, Any], ...] | None = None
    """As reported; None: the report says nothing about them."""
    sealed_outputs: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class AppNode:
    """One Application as the graph, the release rule and the rollup see it."""

    key: AppKey
    cluster: str
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: SetKey | None = None
    """The set that it is a child of."""
    part_of: AppKey | None = None
    """The root Application whose objects include this one (or its set)."""
    depends_on: tuple[Dependency, ...] = ()
    """Every edge; the last ones are those of its inputs, in their order."""
    inputs: tuple[Input, ...] = ()
    exports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The outputs that it declares, each with the other projects that may read it."""
    sealed: frozenset[str] = frozenset()
    """Those of them that are sealed for each who takes them."""
    outputs: tuple[Exported, ...] = ()
    """The last good value of each."""
    flapping: str = ""
    """Why it does not take the newest values of its inputs: they change too often."""
    mode: SyncMode = SyncMode.AUTO
    plan: int = 0
    target: str = ""
    """Digest in the current plan; empty while it is not known (not rendered, refused, inputs missing)."""
    target_problem: str = ""
    """Why there is no new target (`Render`, `Project`, ... : message); blocks this child and its descendants."""
    released: str = ""
    release: int = 0
    observed: Observed | None = None
    deleting: bool = False
    released_at: datetime | None = None
    """When it was let go to what is released now; None where that is not known any more."""
    healthy_since: datetime | None = None
    """Since when it is Healthy at its target without a break; None while it is not, or where that is not known."""
    paused: bool = False
    forced: str = ""
    """Who lets it go to this very target, whatever edges, waves, windows and pauses say."""
    pinned: str = ""
    """By whom its target is an earlier release (`person`, `wave`)."""

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]

    @property
    def sync(self) -> SyncState:
        """Whether what was wanted is what the agent says that it applied in full."""
        if self.deleting:
            return SyncState.DELETING
        if self.target_problem:
            return SyncState.FAILED
        if not self.released or self.released != self.target:
            return SyncState.BLOCKED if self.target else SyncState.UNKNOWN
        seen = self.observed
        if seen is None or seen.release != self.release:
            return SyncState.SYNCING
        return seen.sync

    @property
    def at_target(self) -> bool:
        """Observed in full at the target of the current plan: the only state in which its health opens gates."""
        seen = self.observed
        return (
            seen is not None
            and bool(self.target)
            and self.released == self.target
            and seen.release == self.release
            and seen.digest == self.target
            and seen.sync is SyncState.SYNCED
        )


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that keeps a node from being released."""

    edge: str
    """`Dependency`, `NoMatch`, `Cycle`, `Project`, `Render`, `Stale`, `Manual`, `Join`, `Paused`, `Wave`,
    `WaveInversion`, `Window`, `Condition`, `Soak`, `MissingInput`, `InputsFlapping`."""
    on: str
    message: str
    root: str = ""
    ahead: bool = False
    """It holds only what comes next: what runs is well without it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A recorded decision that a child goes."""

    key: AppKey
    reason: str
    decided_at: datetime
    held: str = ""
