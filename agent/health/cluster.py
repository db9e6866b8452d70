"""Services, Ingresses, volumes, namespaces, and the kinds that extend or guard the API."""

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
    why,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest


def service(obj: Manifest) -> HealthResult:
    if spec_of(obj).get("type") == "LoadBalancer" and not _has_address(obj):
        return progressing("the load balancer has no address yet")
    return HEALTHY


def ingress(obj: Manifest) -> HealthResult:
    return HEALTHY if _has_address(obj) else progressing("the Ingress has no address yet")


def persistent_volume_claim(obj: Manifest) -> HealthResult:
    phase = status_of(obj).get("phase")
    if phase == "Bound":
        return HEALTHY
    if phase == "Lost":
        return degraded("the claim lost its volume")
    return progressing(f"the claim is {phase or 'Pending'}")


def persistent_volume(obj: Manifest) -> HealthResult:
    phase = status_of(obj).get("phase")
    if phase in {"Available", "Bound", "Released"}:
        return HEALTHY
    if phase == "Failed":
        return degraded(str(status_of(obj).get("message") or "the volume could not be reclaimed"))
    return progressing(f"the volume is {phase or 'Pending'}")


def namespace(obj: Manifest) -> HealthResult:
    phase = status_of(obj).get("phase")
    return progressing("the Namespace is Terminating") if phase == "Terminating" else HEALTHY


def custom_resource_definition(obj: Manifest) -> HealthResult:
    """Ask for taken names before Established: they do not become free by waiting."""
    conditions = conditions_of(obj)
    if is_true(conditions.get("Terminating")):
        return progressing("the CRD is Terminating")
    names = conditions.get("NamesAccepted")
    if is_false(names) and names is not None:
        return degraded(why(names))
    if is_true(conditions.get("Established")):
        return HEALTHY
    return progressing("the CRD is not Established yet")


def api_service(obj: Manifest) -> HealthResult:
    available = conditions_of(obj).get("Available")
    if is_true(available):
        return HEALTHY
    return progressing(why(available) if available is not None else "the APIService is not available yet")


def horizontal_pod_autoscaler(obj: Manifest) -> HealthResult:
    """Accept a target scaled to zero on purpose (ScalingDisabled), not metrics that cannot be read."""
    conditions = conditions_of(obj)
    able, active = conditions.get("AbleToScale"), conditions.get("ScalingActive")
    if able is None:
        return progressing("the autoscaler has not looked at its target yet")
    if is_false(able):
        return degraded(why(able))
    if is_false(active) and active is not None and active.get("reason") != "ScalingDisabled":
        return degraded(why(active))
    return HEALTHY


def pod_disruption_budget(obj: Manifest) -> HealthResult:
    status = status_of(obj)
    if "observedGeneration" not in status:
        return progressing("the controller has not observed it yet")
    waiting = not_observed(obj)
    if waiting is not None:
        return waiting
    allowed = conditions_of(obj).get("DisruptionAllowed")
    if is_false(allowed) and allowed is not None and allowed.get("reason") == "SyncFailed":
        return degraded(why(allowed))
    healthy, wanted = number(status, "currentHealthy"), number(status, "desiredHealthy")
    if healthy < wanted:
        return progressing(f"{healthy} of {wanted} wanted Pods are healthy")
    return HEALTHY


def _has_address(obj: Manifest) -> bool:
    balancer = status_of(obj).get("loadBalancer")
    return bool(isinstance(balancer, dict) and balancer.get("ingress"))
