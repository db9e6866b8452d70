"""A Lease of each gateway's own: what it wrote of its agents counts for as long as it lives. Pure.

The Leases of agents are written every few minutes, so that their age says little of a gateway that is gone; and one
whose gateway went tells of nobody. Agents that find another gateway are told of by that one at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.contract.names import HUB_NAMESPACE, short_hash
from agent.contract.wire import STALE_SECONDS
from hub.gateway.liveness import LABEL_LIVENESS, AgentLease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest

GATEWAY = "gateway"
_BEATS = 4
"""How often it is written before it ends."""
_FORGOTTEN = timedelta(days=1)


def beacon_name(holder: str) -> str:
    """`gateway-<hash of the holder>`: holders may be names that no object can have."""
    return f"gateway-{short_hash(holder, 16)}"


def beat_seconds(stale_after: float) -> float:
    """Seconds between two writes."""
    return stale_after / _BEATS


def beacon(holder: str, *, now: datetime, stale_after: float = STALE_SECONDS) -> Manifest:
    """Make the whole Lease, for server-side apply. It ends as late as an agent may be silent."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": beacon_name(holder),
            "namespace": HUB_NAMESPACE,
            "labels": {LABEL_LIVENESS: GATEWAY},
        },
        "spec": {
            "holderIdentity": holder,
            "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "leaseDurationSeconds": max(1, round(stale_after)),
        },
    }


def is_beacon(lease: Manifest) -> bool:
    return (lease["metadata"].get("labels") or {}).get(LABEL_LIVENESS) == GATEWAY


def holder_of(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def lasts(lease: Manifest) -> timedelta:
    """How long it says that its gateway lives, from when a reader sees it: clocks of two machines may differ."""
    return timedelta(seconds=(lease.get("spec") or {}).get("leaseDurationSeconds") or STALE_SECONDS)


def forgotten(leases: Iterable[Manifest], now: datetime) -> list[str]:
    """Names of those whose gateways are long gone: each life of one may have had another name."""
    old = (each for each in leases if is_beacon(each) and now - AgentLease.read(each).renewed > _FORGOTTEN)
    return [each["metadata"]["name"] for each in old]
