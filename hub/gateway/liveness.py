"""Which agents are there, and how that is told to other processes. Pure: time comes in as a value.

Heartbeats stay in memory. The truth for everyone else is one Lease a cluster, written when it changes and
every few minutes: `axletree.dev/connected` says what the gateway last knew, `renewTime` that one still runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.contract.names import GROUP, HUB_NAMESPACE, short_hash
from agent.contract.wire import STALE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.contract.manifest import Manifest

LABEL_LIVENESS = f"{GROUP}/liveness"
"""On the Leases of agents, whatever its value: finds them all."""
ANNOTATION_CLUSTER = f"{GROUP}/cluster"
ANNOTATION_CONNECTED = f"{GROUP}/connected"
ANNOTATION_EPOCH = f"{GROUP}/agent-epoch"
ANNOTATION_SEQ = f"{GROUP}/agent-seq"
ANNOTATION_BOOT = f"{GROUP}/agent-boot"
"""Which process of the agent was heard: gateways see by it that another one hears another process."""
RENEW_SECONDS = 300.0
"""A Lease is written at least this often while its agent is there."""

_MAX_NAME = 253
_MICRO = "%Y-%m-%dT%H:%M:%S.%fZ"


def lease_name(cluster: str) -> str:
    """`agent-<cluster>`; a hash in place of a name that would not fit."""
    name = f"agent-{cluster}"
    return name if len(name) <= _MAX_NAME else f"agent-{short_hash(cluster, 40)}"


def lease_manifest(
    cluster: str,
    *,
    holder: str,
    now: datetime,
    connected: bool,
    epoch: int,
    seq: int,
    boot: str = "",
    stale_after: float = STALE_SECONDS,
) -> Manifest:
    """Make the whole Lease, for server-side apply. `epoch` and `seq` are what the agent says it holds."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(cluster),
            "namespace": HUB_NAMESPACE,
            "labels": {LABEL_LIVENESS: "agent"},
            "annotations": {
                ANNOTATION_CLUSTER: cluster,
                ANNOTATION_CONNECTED: "true" if connected else "false",
                ANNOTATION_EPOCH: str(epoch),
                ANNOTATION_SEQ: str(seq),
                ANNOTATION_BOOT: boot,
            },
        },
        "spec": {
            "holderIdentity": holder,
            "renewTime": now.astimezone(UTC).strftime(_MICRO),
            "leaseDurationSeconds": max(1, round(RENEW_SECONDS + stale_after)),
        },
    }


@dataclass(frozen=True, slots=True)
class AgentLease:
    """A Lease of an agent, read. What does not read counts as disconnected, long ago."""

    cluster: str
    connected: bool
    epoch: int
    seq: int
    holder: str
    renewed: datetime
    boot: str = ""

    @classmethod
    def read(cls, lease: Manifest) -> AgentLease:
        annotations = lease["metadata"].get("annotations") or {}
        spec = lease.get("spec") or {}
        return cls(
            cluster=cls.cluster_of(lease),
            connected=annotations.get(ANNOTATION_CONNECTED) == "true",
            epoch=_integer(annotations.get(ANNOTATION_EPOCH)),
            seq=_integer(annotations.get(ANNOTATION_SEQ)),
            holder=spec.get("holderIdentity") or "",
            renewed=_moment(spec.get("renewTime")),
            boot=annotations.get(ANNOTATION_BOOT, ""),
        )

    @staticmethod
    def cluster_of(lease: Manifest) -> str:
        """Whose it is; empty for a Lease that is no agent's."""
        return str((lease["metadata"].get("annotations") or {}).get(ANNOTATION_CLUSTER, ""))

    def abandoned(self, *, now: datetime, stale_after: float) -> bool:
        """Whether no gateway can still be keeping it."""
        return now - self.renewed > timedelta(seconds=RENEW_SECONDS + stale_after)


def is_stale(
    lease: Manifest | None,
    now: datetime,
    stale_after: float = STALE_SECONDS,
    *,
    since: datetime | None = None,
) -> bool:
    """Whether a cluster that has joined is to be called Stale.

    `since` is when the reader started: what it finds old then, or missing, may only be the hub's own absence,
    so agents get one Stale period to show up before their silence counts. A Lease that says "false" counts
    at once.
    """
    return is_silent(None if lease is None else AgentLease.read(lease), now, stale_after, since=since)


def is_silent(
    lease: AgentLease | None,
    now: datetime,
    stale_after: float = STALE_SECONDS,
    *,
    since: datetime | None = None,
    kept_until: datetime | None = None,
) -> bool:
    """`is_stale` of a Lease that is read already. `kept_until`: when its gateway's own one ends, if it has one."""
    waited = since is None or now - since > timedelta(seconds=stale_after)
    if lease is None:
        return waited
    orphaned = kept_until is not None and now > kept_until
    return not lease.connected or (waited and (orphaned or lease.abandoned(now=now, stale_after=stale_after)))


def agent_position(lease: Manifest | None) -> tuple[int, int]:
    """(epoch, seq) that the agent holds; above the Assignment's own, the hub went back in time."""
    if lease is None:
        return 0, 0
    read = AgentLease.read(lease)
    return read.epoch, read.seq


@dataclass(slots=True)
class Presence:
    """One agent. Times are seconds of a clock that never jumps."""

    since: float
    heard: float | None = None
    connected: bool | None = None
    """None: not heard yet, and its Stale period is not over."""
    epoch: int = 0
    seq: int = 0
    ahead: bool = False
    """It holds more than the hub's Assignment: the hub went back in time."""
    boot: str = ""
    """The process that is heard here."""
    noted: bool = False
    """Whether this gateway's Lease has named it: who hears another process afterwards hears one that came later."""
    followed: float | None = None
    """When another gateway was seen to hear another process, after this one was noted: it should have ended."""


@dataclass(slots=True)
class Liveness:
    """What one gateway knows of its agents. Callbacks get a cluster after each change worth a Lease."""

    stale_after: float = STALE_SECONDS
    _agents: dict[str, Presence] = field(default_factory=dict)
    _callbacks: list[Callable[[str], None]] = field(default_factory=list)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    def expect(self, cluster: str, now: float) -> None:
        """Start the Stale period of a cluster that should report. No change for one that is known."""
        self._agents.setdefault(cluster, Presence(since=now))

    def forget(self, cluster: str) -> None:
        """Leave it to another gateway, or to nobody: the cluster was removed."""
        self._agents.pop(cluster, None)

    def heard(
        self, cluster: str, now: float, *, epoch: int, seq: int, hub: tuple[int, int], boot: str = ""
    ) -> None:
        """Note a report or heartbeat. `hub` is the (epoch, seq) of the Assignment as the hub knows it."""
        agent = self._agents.setdefault(cluster, Presence(since=now))
        ahead = (epoch, seq) > hub
        changed = agent.connected is not True or agent.ahead != ahead
        changed |= ahead and (agent.epoch, agent.seq) != (epoch, seq)
        if agent.boot != boot:
            # who is new takes the Lease at once
            agent.boot, agent.noted, agent.followed, changed = boot, False, None, True
        agent.heard, agent.connected, agent.ahead = now, True, ahead
        agent.epoch, agent.seq = epoch, seq
        if changed:
            self._tell(cluster)

    def kept(self, cluster: str, *, boot: str) -> None:
        """The Lease is this gateway's, as it wrote it."""
        agent = self._agents.get(cluster)
        if agent is not None:
            agent.noted, agent.followed = bool(boot) and boot == agent.boot, None

    def kept_elsewhere(self, cluster: str, now: float, *, boot: str, connected: bool) -> None:
        """Another gateway wrote the Lease."""
        agent = self._agents.get(cluster)
        if agent is None or not agent.connected:
            return
        if connected and boot and boot != agent.boot:
            if agent.noted and agent.followed is None:
                agent.followed = now
            return
        agent.followed = None
        if not connected and agent.heard is not None and now - agent.heard < self.stale_after / 2:
            self._tell(cluster)  # it is heard, if only here

    def cloned(self, cluster: str, settled: float) -> bool:
        """Whether a process is heard `settled` seconds after another one took its place at another gateway."""
        agent = self._agents.get(cluster)
        if agent is None or agent.followed is None or agent.heard is None:
            return False
        return agent.heard - agent.followed > settled

    def settle(self, cluster: str) -> None:
        """A person says that of two agents one is left."""
        agent = self._agents.get(cluster)
        if agent is not None:
            agent.followed = None

    def tick(self, now: float) -> None:
        """Call those disconnected that were silent for a whole Stale period."""
        silent = [cluster for cluster, agent in self._agents.items() if self._newly_silent(agent, now)]
        for cluster in silent:
            self._agents[cluster].connected = False
            self._tell(cluster)

    @property
    def agents(self) -> Mapping[str, Presence]:
        """All that are known, by cluster. To be read only."""
        return self._agents

    def get(self, cluster: str) -> Presence | None:
        return self._agents.get(cluster)

    def stale(self, now: float) -> set[str]:
        """Clusters that should have reported by now and did not."""
        return {
            cluster
            for cluster, agent in self._agents.items()
            if agent.connected is False or self._newly_silent(agent, now)
        }

    def _newly_silent(self, agent: Presence, now: float) -> bool:
        last = agent.since if agent.heard is None else agent.heard
        return agent.connected is not False and now - last > self.stale_after

    def _tell(self, cluster: str) -> None:
        for callback in self._callbacks:
            callback(cluster)


def _integer(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _moment(text: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
