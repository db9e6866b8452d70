"""From an object to its health: the table of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from agent.contract.manifest import GroupKind, group_of
from agent.contract.names import GROUP
from agent.health import batch, cluster, workloads
from agent.health.conditions import by_conditions, by_rollup, by_standing
from agent.health.pods import pod
from agent.health.result import HealthResult, progressing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest

Rule: TypeAlias = "Callable[[Manifest], HealthResult]"

RULES: dict[GroupKind, Rule] = {
    GroupKind("apps", "Deployment"): workloads.deployment,
    GroupKind("apps", "StatefulSet"): workloads.stateful_set,
    GroupKind("apps", "DaemonSet"): workloads.daemon_set,
    GroupKind("apps", "ReplicaSet"): workloads.replica_set,
    GroupKind("", "ReplicationController"): workloads.replica_set,
    GroupKind("batch", "Job"): batch.job,
    GroupKind("batch", "CronJob"): batch.cron_job,
    GroupKind("", "Service"): cluster.service,
    GroupKind("networking.k8s.io", "Ingress"): cluster.ingress,
    GroupKind("", "PersistentVolumeClaim"): cluster.persistent_volume_claim,
    GroupKind("", "PersistentVolume"): cluster.persistent_volume,
    GroupKind("", "Namespace"): cluster.namespace,
    GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"): cluster.custom_resource_definition,
    GroupKind("apiregistration.k8s.io", "APIService"): cluster.api_service,
    GroupKind("autoscaling", "HorizontalPodAutoscaler"): cluster.horizontal_pod_autoscaler,
    GroupKind("policy", "PodDisruptionBudget"): cluster.pod_disruption_budget,
    GroupKind(GROUP, "Application"): by_rollup,
    GroupKind(GROUP, "ApplicationSet"): by_rollup,
    GroupKind(GROUP, "Cluster"): by_standing,
}
_POD = GroupKind("", "Pod")


def evaluate(obj: Manifest, *, now: datetime | None = None) -> HealthResult:
    """Judge one live object, as the API server returned it.

    `now` (aware, UTC) is needed only where time itself decides (a Pod that cannot be scheduled): without it
    the milder verdict stands. What is being deleted is Progressing, whatever its status says.
    """
    going = leaving(obj)
    if going is not None:
        return going
    kind = GroupKind(group_of(obj.get("apiVersion", "")), obj.get("kind", ""))
    if kind == _POD:
        return pod(obj, now=now)
    return RULES.get(kind, by_conditions)(obj)


def leaving(obj: Manifest) -> HealthResult | None:
    """Progressing while it is being deleted: before every rule, built in or a user's own."""
    gone = (obj.get("metadata") or {}).get("deletionTimestamp")
    return progressing("it is being deleted") if gone else None
