"""Kubernetes objects -> the core's values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState, SyncState
from agent.contract.names import APPLYSET_PART_OF, LABEL_SET
from hub.api.application import ApplicationSpec
from hub.api.cluster import ClusterSetSpec, ClusterSpec
from hub.core.model import ClusterSetView, ClusterView, Observed

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest


def cluster_view(obj: Manifest, *, stale: bool) -> ClusterView:
    """A Cluster; whether it is Stale is its agent's Lease's to say.

    It is being removed once the controller has found that somebody meant that: until then its deletion moves nothing.
    """
    metadata = obj["metadata"]
    spec = ClusterSpec.model_validate(obj.get("spec") or {})
    status = obj.get("status") or {}
    return ClusterView(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        values=spec.values,
        accepted=spec.accepted,
        joined=bool(status.get("sealingKey")),
        sealing_key=str(status.get("sealingKey") or ""),
        stale=stale,
        removing="deletionTimestamp" in metadata and bool(status.get("removal")),
        windows=tuple(spec.maintenance_windows),
        kubernetes_version=str((status.get("agent") or {}).get("kubernetesVersion", "")),
        api_versions=tuple((status.get("agent") or {}).get("apiVersions") or ()),
    )


def cluster_set_view(obj: Manifest) -> ClusterSetView:
    spec = ClusterSetSpec.model_validate(obj.get("spec") or {})
    return ClusterSetView(
        name=obj["metadata"]["name"],
        selector=spec.selector,
        clusters=tuple(spec.clusters),
        drift=spec.drift,
        priority=spec.priority,
    )


def owner_of(obj: Manifest) -> str | None:
    """The key of the set that an Application is a child of."""
    metadata = obj["metadata"]
    name = (metadata.get("labels") or {}).get(LABEL_SET)
    return f"{metadata['namespace']}/{name}" if name else None


def decision_of(obj: Manifest) -> dict[str, Any]:
    """What is recorded of an Application's deletion: `reason`, `decidedAt`, `held`; empty where nothing is decided."""
    return (obj.get("status") or {}).get("deletion") or {}


def part_of_label(obj: Manifest) -> str:
    """The ApplySet that an agent applied this object as a member of; empty for none."""
    return str((obj["metadata"].get("labels") or {}).get(APPLYSET_PART_OF, ""))


def application_spec(obj: Manifest) -> ApplicationSpec:
    return ApplicationSpec.model_validate(obj["spec"])


def observed_of(obj: Manifest) -> Observed | None:
    """What the gateway recorded of the agent's last report."""
    raw: dict[str, Any] | None = (obj.get("status") or {}).get("observed")
    if not raw:
        return None
    return Observed(
        release=int(raw.get("release", 0)),
        digest=str(raw.get("digest", "")),
        sync=_sync(raw.get("sync")),
        health=_health(raw.get("health")),
        message=str(raw.get("message", "")),
        health_message=str(raw.get("healthMessage", "")),
        observed_at=str(raw.get("observedAt", "")),
        epoch=int(raw.get("epoch", 0)),
        seq=int(raw.get("seq", 0)),
        counts=raw.get("counts") or {},
        objects=tuple(raw.get("objects") or ()),
        drift=tuple(raw.get("drift") or ()),
        deleted=bool(raw.get("deleted", False)),
        held=str(raw.get("held", "")),
        outputs=None if raw.get("outputs") is None else tuple(raw["outputs"]),
        sealed_outputs=None if raw.get("sealedOutputs") is None else tuple(raw["sealedOutputs"]),
    )


def _sync(value: object) -> SyncState:
    try:
        return SyncState(str(value))
    except ValueError:
        return SyncState.UNKNOWN


def _health(value: object) -> HealthState:
    try:
        return HealthState(str(value))
    except ValueError:
        return HealthState.UNKNOWN
