"""Why Pods are not there: what the last event says, unless a Pod was made since."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.apply.causes import latest_refusal, wanted


def event(message: str, last: str, first: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"message": message, "firstTimestamp": first, "lastTimestamp": last, **more}


def pod(born: str) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": born}}


def test_the_last_event_counts_and_says_since_when() -> None:
    said = latest_refusal(
        [event("quota", "2026-01-01T00:01:00Z"), event("account", "2026-01-01T00:02:00Z")],
        [pod("2026-01-01T00:01:30Z")],
    )
    assert said is not None
    assert said.message == "FailedCreate: account"
    assert said.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_pod_made_since_ends_it() -> None:
    events = [event("account", "2026-01-01T00:02:00Z")]
    assert latest_refusal(events, [pod("2026-01-01T00:02:01Z")]) is None
    assert latest_refusal(events, [pod("2026-01-01T00:02:00Z")]) is not None
    assert latest_refusal([], []) is None
    assert latest_refusal([{"message": "no time at all"}], []) is None


def test_events_of_the_newer_form_have_times_too() -> None:
    newer = {
        "message": "refused",
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": "2026-01-01T00:00:00.123456Z",
        "series": {"count": 3, "lastObservedTime": "2026-01-01T00:05:00.000000Z"},
    }
    said = latest_refusal([newer, event("older", "2026-01-01T00:04:00Z")], [])
    assert said is not None
    assert said.message == "FailedCreate: refused"


@pytest.mark.parametrize(
    ("kind", "spec", "status", "count"),
    [
        ("StatefulSet", {}, {}, 1),
        ("StatefulSet", {"replicas": 0}, {}, 0),
        ("DaemonSet", {}, {"desiredNumberScheduled": 4}, 4),
        ("DaemonSet", {}, {}, 1),
        ("Job", {"parallelism": 5, "completions": 2}, {}, 2),
        ("Job", {"suspend": True}, {}, 0),
    ],
)
def test_how_many_pods_there_should_be(
    kind: str, spec: dict[str, Any], status: dict[str, Any], count: int
) -> None:
    assert wanted({"kind": kind, "spec": spec, "status": status}) == count
