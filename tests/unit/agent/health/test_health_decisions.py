"""The decisions where kstatus and Argo CD differ: the stricter of the two gates."""

from __future__ import annotations

from typing import Any

import pytest

from agent.contract.health import HealthState, worst
from agent.health import evaluate


def state(api_version: str, kind: str, /, **content: Any) -> HealthState:
    return evaluate({"apiVersion": api_version, "kind": kind, **content}).state


def conditions(**found: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": status} for name, status in found.items()]}


def test_h_a_running_job_is_progressing() -> None:
    assert state("batch/v1", "Job", spec={"completions": 1}, status={"active": 1}) == "Progressing"
    assert state("batch/v1", "Job", status=conditions(Complete="True")) == "Healthy"
    assert state("batch/v1", "Job", status=conditions(Failed="True")) == "Degraded"


def test_h_a_suspended_job_and_a_paused_deployment_are_suspended() -> None:
    assert state("batch/v1", "Job", spec={"suspend": True}) == "Suspended"
    assert state("apps/v1", "Deployment", spec={"paused": True}, status={}) == "Suspended"


def test_h_a_failed_pod_is_degraded_unless_a_job_owns_it() -> None:
    assert state("v1", "Pod", status={"phase": "Failed"}) == "Degraded"
    owned = {"ownerReferences": [{"kind": "Job", "name": "migrate"}]}
    assert state("v1", "Pod", metadata=owned, status={"phase": "Failed"}) == "Healthy"


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"]
)
def test_h_image_pull_errors_and_crash_loops_are_degraded(reason: str) -> None:
    waiting = [{"name": "web", "state": {"waiting": {"reason": reason}}}]
    assert state("v1", "Pod", status={"phase": "Pending", "containerStatuses": waiting}) == "Degraded"
    assert state("v1", "Pod", status={"phase": "Pending", "initContainerStatuses": waiting}) == "Degraded"


def test_h_a_load_balancer_and_an_ingress_without_an_address_are_progressing() -> None:
    assert state("v1", "Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {}}) == "Progressing"
    assert state("networking.k8s.io/v1", "Ingress", status={"loadBalancer": {}}) == "Progressing"
    address = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    assert state("v1", "Service", spec={"type": "LoadBalancer"}, status=address) == "Healthy"
    assert state("networking.k8s.io/v1", "Ingress", status=address) == "Healthy"


def test_h_a_lost_claim_is_degraded() -> None:
    assert state("v1", "PersistentVolumeClaim", status={"phase": "Lost"}) == "Degraded"
    assert state("v1", "PersistentVolumeClaim", status={"phase": "Pending"}) == "Progressing"


@pytest.mark.parametrize(
    ("version", "kind"),
    [("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("v1", "ReplicationController")],
)
def test_h_a_replica_failure_is_degraded(version: str, kind: str) -> None:
    status = {"observedGeneration": 1, **conditions(ReplicaFailure="True")}
    assert state(version, kind, metadata={"generation": 1}, spec={"replicas": 1}, status=status) == "Degraded"


def test_h_a_custom_kind_is_judged_by_its_conditions_and_generation_else_healthy() -> None:
    def custom(generation: int = 1, **status: Any) -> HealthState:
        return state("example.com/v1", "Thing", metadata={"generation": generation}, status=status)

    assert custom() == "Healthy"
    assert custom(**conditions(Ready="True")) == "Healthy"
    assert custom(**conditions(Ready="False")) == "Progressing"
    assert custom(**conditions(Ready="Unknown")) == "Progressing"
    assert custom(**conditions(Ready="True", Reconciling="True")) == "Progressing"
    assert custom(**conditions(Ready="False", Stalled="True")) == "Degraded"
    assert custom(generation=2, observedGeneration=1, **conditions(Ready="True")) == "Progressing"


@pytest.mark.parametrize(
    ("version", "kind"), [("v1", "ConfigMap"), ("v1", "Pod"), ("example.com/v1", "Thing")]
)
def test_h_what_is_being_deleted_is_progressing(version: str, kind: str) -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    status = {"phase": "Failed", **conditions(Stalled="True")}
    assert state(version, kind, metadata=going, status=status) == "Progressing"


def test_h_a_group_is_as_healthy_as_its_worst_member() -> None:
    order = ["Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"]
    assert [member.value for member in sorted(HealthState, key=lambda each: each.rank)] == order
    for index in range(len(order)):
        assert worst(HealthState(name) for name in order[: index + 1]) == order[index]
    assert worst([]) == "Healthy"
