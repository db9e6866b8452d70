"""Who is there: agents and the hub itself, from what the API server holds. Pure: time comes in as a value.

A dead hub writes nothing, so nothing here believes a word without the time at which it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.contract.names import GROUP, HUB_NAMESPACE
from hub.cli.output import moment_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from agent.contract.manifest import Manifest

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HUB_NAMESPACE}/leases"
CONTROLLER = "axletree-controller"
"""The Lease of the controller that leads."""
_CLUSTER = f"{GROUP}/cluster"
_CONNECTED = f"{GROUP}/connected"
_LIVENESS = f"{GROUP}/liveness"
RENEWED_SECONDS = 300
"""A Lease of an agent is renewed at least this often, and holds for as long as silence may last on top of that."""
_DEFAULT_LEASE = 15
_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class HubLife:
    """Whether a controller leads now, and when one last did (empty: never)."""

    running: bool
    last: str = ""


def hub_life(leases: Iterable[Manifest], now: datetime) -> HubLife:
    """From the controller's Lease: it is renewed every few seconds, and given back at a clean stop."""
    lease = next((one for one in leases if one["metadata"]["name"] == CONTROLLER), None)
    if lease is None:
        return HubLife(running=False)
    spec = lease.get("spec") or {}
    renewed = spec.get("renewTime") or ""
    fresh = _fresh(spec, now, grace=_GRACE)
    return HubLife(running=bool(spec.get("holderIdentity")) and fresh, last=renewed)


def with_liveness(clusters: Iterable[Manifest], leases: Iterable[Manifest], now: datetime) -> list[Manifest]:
    """The Clusters with `status.connected` and `status.lastSeen` as the agents' Leases have them.

    A Lease that nobody renews any more, or whose gateway ended, says nothing about its agent: `Unknown`. One that is
    renewed says that the agent speaks: when it did last its gateway alone knows, but not longer ago than
    `status.heardWithin`.
    """
    leases = list(leases)
    gone = {str(lease["spec"].get("holderIdentity")) for lease in leases if _ended_gateway(lease, now)}
    by_cluster = {_annotations(lease).get(_CLUSTER): lease for lease in leases}
    return [_joined(cluster, by_cluster.get(cluster["metadata"]["name"]), now, gone) for cluster in clusters]


def unheard(clusters: Iterable[Manifest]) -> list[Manifest]:
    """The same where no hub runs: who was Connected then may be anything now."""
    return [
        {**each, "status": {**each["status"], "connected": "Unknown", "heardWithin": ""}}
        if each["status"]["connected"] == "Connected"
        else each
        for each in clusters
    ]


def leads(leases: Iterable[Manifest], pid: int, now: datetime) -> bool:
    """Whether the controller of exactly this process leads: after a crash, its forerunner's Lease looks fresh."""
    leases = list(leases)
    holders = [
        str((lease.get("spec") or {}).get("holderIdentity") or "")
        for lease in leases
        if lease["metadata"]["name"] == CONTROLLER
    ]
    return hub_life(leases, now).running and any(holder.endswith(f"-{pid}") for holder in holders)


def _ended_gateway(lease: Manifest, now: datetime) -> bool:
    """Whether it is a gateway's own, and says no more that this lives."""
    own = (lease["metadata"].get("labels") or {}).get(_LIVENESS) == "gateway"
    return own and not _fresh(lease["spec"], now, grace=_GRACE)


def _joined(
    cluster: Manifest, lease: Manifest | None, now: datetime, gone: AbstractSet[str] = frozenset()
) -> Manifest:
    status: dict[str, Any] = dict(cluster.get("status") or {})
    if lease is None:
        word = "Pending" if not status.get("fingerprint") else str(status.get("connected") or "Unknown")
        return {**cluster, "status": {**status, "connected": word}}
    spec = lease.get("spec") or {}
    word = "Connected" if _annotations(lease).get(_CONNECTED) == "true" else "Stale"
    if word == "Connected" and (not _fresh(spec, now) or spec.get("holderIdentity") in gone):
        word = "Unknown"
    if word == "Connected":
        status["heardWithin"] = f"{max(1, int(spec['leaseDurationSeconds']) - RENEWED_SECONDS)}s"
    if word == "Connected" and status.get("clone"):
        word = "Cloned"
    seen = max(str(status.get("lastSeen") or ""), str(spec.get("renewTime") or ""))
    return {**cluster, "status": {**status, "connected": word, "lastSeen": seen}}


def _fresh(spec: Mapping[str, Any], now: datetime, *, grace: float = 1.0) -> bool:
    renewed = moment_of(spec.get("renewTime"))
    duration = timedelta(seconds=grace * (spec.get("leaseDurationSeconds") or _DEFAULT_LEASE))
    return renewed is not None and now - renewed < duration


def _annotations(lease: Manifest) -> Mapping[str, str]:
    return lease["metadata"].get("annotations") or {}
