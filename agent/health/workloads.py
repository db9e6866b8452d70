"""Deployments, StatefulSets, DaemonSets and ReplicaSets: the stricter of kstatus and Argo CD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.health.result import (
    HEALTHY,
    HealthResult,
    conditions_of,
    degraded,
    is_false,
    is_true,
    not_observed,
    number,
    progressing,
    spec_of,
    status_of,
    suspended,
    why,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest


def deployment(obj: Manifest) -> HealthResult:  # noqa: PLR0911 - guards
    """Suspended while paused, Degraded past its deadline, Healthy when the new replicas are available."""
    spec, status, conditions = spec_of(obj), status_of(obj), conditions_of(obj)
    if spec.get("paused") is True:
        return suspended("the Deployment is paused")
    waiting = _first_observation(obj)
    if waiting is not None:
        return waiting
    rollout = conditions.get("Progressing")
    if rollout is not None and rollout.get("reason") == "ProgressDeadlineExceeded":
        return degraded(why(rollout))
    failure = conditions.get("ReplicaFailure")
    if is_true(failure) and failure is not None:
        return degraded(why(failure))
    wanted, updated = number(spec, "replicas", 1), number(status, "updatedReplicas")
    if updated < wanted:
        return progressing(f"{updated} of {wanted} replicas are updated")
    if number(status, "replicas") > updated:
        return progressing(f"{number(status, 'replicas') - updated} old replicas are still there")
    ready = min(number(status, "availableReplicas"), number(status, "readyReplicas"))
    if ready < wanted:
        return progressing(f"{ready} of {wanted} replicas are available")
    available = conditions.get("Available")
    if is_false(available) and available is not None:
        return progressing(why(available))
    return HEALTHY


def replica_set(obj: Manifest) -> HealthResult:
    spec, status, conditions = spec_of(obj), status_of(obj), conditions_of(obj)
    waiting = _first_observation(obj)
    if waiting is not None:
        return waiting
    failure = conditions.get("ReplicaFailure")
    if is_true(failure) and failure is not None:
        return degraded(why(failure))
    wanted = number(spec, "replicas", 1)
    ready = min(number(status, "availableReplicas"), number(status, "readyReplicas"))
    if ready < wanted:
        return progressing(f"{ready} of {wanted} replicas are available")
    if number(status, "replicas") > wanted:
        return progressing(f"{number(status, 'replicas')} replicas, {wanted} wanted")
    return HEALTHY


def stateful_set(obj: Manifest) -> HealthResult:  # noqa: PLR0911 - guards
    """Take `OnDelete` and a partition as they are: people move them on, which is no progress."""
    spec, status = spec_of(obj), status_of(obj)
    waiting = _first_observation(obj)
    if waiting is not None:
        return waiting
    wanted = number(spec, "replicas", 1)
    ready = number(status, "readyReplicas")
    if ready < wanted:
        return progressing(f"{ready} of {wanted} replicas are ready")
    available = number(status, "availableReplicas", ready)
    if available < wanted:
        return progressing(f"{available} of {wanted} replicas are available")
    if number(status, "replicas") > wanted:
        return progressing(f"{number(status, 'replicas')} replicas, {wanted} wanted")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return HEALTHY
    updated = number(status, "updatedReplicas")
    partition = number(strategy.get("rollingUpdate") or {}, "partition")
    if updated < wanted - partition:
        return progressing(f"{updated} of {wanted - partition} replicas are updated")
    if partition == 0 and status.get("updateRevision") != status.get("currentRevision"):
        return progressing("the rollout is not complete")
    return HEALTHY


def daemon_set(obj: Manifest) -> HealthResult:
    spec, status = spec_of(obj), status_of(obj)
    waiting = _first_observation(obj)
    if waiting is not None:
        return waiting
    wanted = number(status, "desiredNumberScheduled")
    updated = number(status, "updatedNumberScheduled")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return progressing(f"{updated} of {wanted} Pods are updated")
    ready = min(number(status, "numberAvailable"), number(status, "numberReady"))
    if ready < wanted:
        return progressing(f"{ready} of {wanted} Pods are available")
    return HEALTHY


def _first_observation(obj: Manifest) -> HealthResult | None:
    """As `not_observed`, and Progressing with no observation at all: the controller always writes one."""
    if "observedGeneration" not in status_of(obj):
        return progressing("the controller has not observed it yet")
    return not_observed(obj)
