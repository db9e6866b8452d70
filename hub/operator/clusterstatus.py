"""Status of Clusters, ClusterSets and Projects, as plain JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.names import HUB_NAMESPACE
from hub.core.clustersets import set_contains
from hub.core.derive import merge_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.core.model import ClusterSetView, ClusterView, Fleet
    from hub.core.rollup import RollupResult


ROLLED_UP = frozenset({"observedGeneration", "connected", "lastSeen", "apps", "health", "conditions"})
"""The fields of a Cluster's status that `cluster_status` gives; the others the gateway and deletions write."""
_BEHIND = "its agent holds more than this hub gave it: nothing is released or deleted there before `axle hub recover`"

_NOT_MEANT = (
    "it has a deletionTimestamp that is nobody's decision, as while its CRD is removed: its apps stay"
)


def cluster_status(
    obj: Manifest,
    view: ClusterView,
    result: RollupResult,
    *,
    lease: Manifest | None,
    conditions: Sequence[Mapping[str, Any]],
    now: str,
) -> dict[str, Any]:
    """The controller's part; agent, fingerprint and sealing key are the gateway's."""
    generation = int(obj["metadata"].get("generation", 0))
    if not view.accepted:
        connected, reason, message = (
            "Pending",
            "NotAccepted",
            f"accept it with `axle cluster accept {view.name}`",
        )
    elif not view.joined:
        connected, reason, message = "Pending", "NotJoined", "its agent has not joined yet"
    elif view.behind:
        connected, reason, message = (
            "Stale" if view.stale else "Connected",
            "HubBehind",
            _BEHIND,
        )
    elif view.stale:
        connected, reason, message = (
            "Stale",
            "Stale",
            "its agent is not heard: what is shown is its last word",
        )
    else:
        connected, reason, message = "Connected", "Connected", ""
    clone = (obj.get("status") or {}).get("clone")
    if clone and reason == "Connected":
        reason = "Cloned"
        message = f"{clone.get('message', '')}: end the one that is not meant, then `axle cluster accept {view.name}`"
    if "deletionTimestamp" in obj["metadata"] and not view.removing:
        reason, message = "DeletionHeld", _NOT_MEANT
    ready = reason == "Connected"
    return {
        "observedGeneration": generation,
        "connected": connected,
        "lastSeen": ((lease or {}).get("spec") or {}).get("renewTime") or "",
        "apps": result.children,
        "health": "Stale" if view.stale else (result.health.state if result.children else ""),
        "conditions": merge_conditions(
            conditions,
            _triple(ready=ready, stalled=False, reason=reason, message=message),
            generation=generation,
            now=now,
        ),
    }


def cluster_set_status(
    obj: Manifest, view: ClusterSetView, fleet: Fleet, *, conditions: Sequence[Mapping[str, Any]], now: str
) -> dict[str, Any]:
    """How many clusters it means, and which named ones do not exist."""
    generation = int(obj["metadata"].get("generation", 0))
    selector = None if view.selector is None else view.selector.to_json()
    members = [
        each
        for each in fleet.clusters.values()
        if set_contains(selector, view.clusters, name=each.name, labels=each.labels)
    ]
    missing = sorted(set(view.clusters) - set(fleet.clusters))
    message = f"no such clusters: {', '.join(missing[:5])}" if missing else ""
    return {
        "observedGeneration": generation,
        "count": len(members),
        "missing": missing[:64],
        "conditions": merge_conditions(
            conditions,
            _triple(
                ready=not missing, stalled=False, reason="Missing" if missing else "Complete", message=message
            ),
            generation=generation,
            now=now,
        ),
    }


def project_status(
    obj: Manifest, *, applications: int, conditions: Sequence[Mapping[str, Any]], now: str
) -> dict[str, Any]:
    """A trusted project outside the hub's own namespace deploys nothing, and says so."""
    generation = int(obj["metadata"].get("generation", 0))
    misplaced = bool((obj.get("spec") or {}).get("trusted")) and obj["metadata"]["namespace"] != HUB_NAMESPACE
    message = (
        f"`trusted: true` is allowed in {HUB_NAMESPACE} only: nothing here is released" if misplaced else ""
    )
    return {
        "observedGeneration": generation,
        "applications": applications,
        "conditions": merge_conditions(
            conditions,
            _triple(
                ready=not misplaced,
                stalled=misplaced,
                reason="Trusted" if misplaced else "Valid",
                message=message,
            ),
            generation=generation,
            now=now,
        ),
    }


def _triple(*, ready: bool, stalled: bool, reason: str, message: str) -> list[dict[str, Any]]:
    return [
        {"type": name, "status": "True" if holds else "False", "reason": reason, "message": message}
        for name, holds in (
            ("Ready", ready),
            ("Reconciling", not ready and not stalled),
            ("Stalled", stalled),
        )
    ]
