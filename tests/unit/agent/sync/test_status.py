from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState, SyncState, worst
from agent.contract.manifest import ObjectRef
from agent.health.result import HealthResult
from agent.sync.fight import CAP, FORGET, FREE, Fight
from agent.sync.pods import verdict
from agent.sync.status import Standing, drift_entry, report_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STANDING = Standing(app="shop/web", release=1, sync=SyncState.SYNCED)


def _ref(name: str) -> ObjectRef:
    return ObjectRef("apps", "Deployment", "shop", name)


@given(st.lists(st.tuples(st.sampled_from(HealthState), st.text(max_size=3000)), max_size=60))
def test_a_report_is_as_bad_as_its_worst_object_and_fits_the_wire(
    found: list[tuple[HealthState, str]],
) -> None:
    results = {_ref(f"d{i}"): HealthResult(state, message) for i, (state, message) in enumerate(found)}
    report = report_of(STANDING, results, now=NOW)
    assert report.health is worst(state for state, _ in found)
    assert sum(report.counts.values()) == len(found)
    ranks = [each.state.rank for each in report.objects]
    assert ranks == sorted(ranks, reverse=True)
    assert all(each.state is not HealthState.HEALTHY for each in report.objects)


def test_the_worst_object_is_named() -> None:
    results = {
        _ref("a"): HealthResult(HealthState.PROGRESSING, "0 of 1"),
        _ref("b"): HealthResult(HealthState.DEGRADED, "ImagePullBackOff"),
    }
    report = report_of(STANDING, results, now=NOW)
    assert report.health_message == "Deployment.apps shop/b: ImagePullBackOff"


def test_the_floor_holds_where_objects_say_nothing() -> None:
    floor = Standing(
        app="shop/web", release=1, sync=SyncState.BLOCKED, floor=HealthState.MISSING, extra="not yet"
    )
    report = report_of(floor, {}, now=NOW)
    assert (report.health, report.health_message) == (HealthState.MISSING, "not yet")


def test_drift_is_bounded_and_has_paths_alone() -> None:
    entry = drift_entry(_ref("a"), tuple(f".spec.{'x' * 500}{i}" for i in range(50)))
    assert len(entry.paths) == 20
    assert drift_entry(_ref("a"), (), missing=True).paths == ["(the object is gone)"]


def test_a11_a_fight_is_immediate_at_first_and_then_backs_off() -> None:
    fight = Fight()
    for _ in range(FREE):
        assert fight.delay(0.0) == 0.0
        fight.corrected(0.0)
    delays = []
    for _ in range(12):
        delays.append(fight.delay(0.0))
        fight.corrected(0.0)
    assert delays == sorted(delays)
    assert delays[0] > 0
    assert delays[-1] == CAP
    assert fight.delay(CAP) == 0.0
    assert fight.delay(FORGET + 1) == 0.0
    assert fight.corrections == 0


def _pod(revision: str, created: str, reason: str = "", phase: str = "Pending") -> dict[str, object]:
    status: dict[str, object] = {"phase": phase}
    if reason:
        status["containerStatuses"] = [{"name": "main", "state": {"waiting": {"reason": reason}}}]
    metadata = {"name": "p", "labels": {"pod-template-hash": revision}, "creationTimestamp": created}
    return {"metadata": metadata, "status": status, "spec": {}}


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ([], None),
        ([_pod("a", "2026-01-01T00:00:00Z")], None),
        ([_pod("a", "2026-01-01T00:00:00Z", "ImagePullBackOff")], HealthState.DEGRADED),
        ([_pod("a", "2026-01-01T00:00:00Z", "CrashLoopBackOff")], HealthState.DEGRADED),
        (
            [_pod("a", "2026-01-01T00:00:00Z", "ImagePullBackOff"), _pod("b", "2026-01-01T00:00:05Z")],
            None,
        ),
        (
            [_pod("a", "2026-01-01T00:00:00Z"), _pod("b", "2026-01-01T00:00:00Z", "ImagePullBackOff")],
            HealthState.DEGRADED,
        ),
        ([_pod("a", "2026-01-01T00:00:00Z", phase="Failed")], None),
    ],
)
def test_h_pods_say_why_a_workload_is_not_there(
    pods: list[dict[str, object]], state: HealthState | None
) -> None:
    said = verdict(pods, now=NOW)
    assert (said.state if said else None) is state
