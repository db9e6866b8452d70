from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.health import evaluate, pod_reasons
from agent.health.result import MAX_MESSAGE

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_each_kind_has_the_stricter_verdict(case: dict[str, Any]) -> None:
    now = datetime.fromisoformat(case["now"]) if "now" in case else None
    result = evaluate(case["object"], now=now)
    assert result.state == case["state"], result
    assert case.get("message", "") in result.message
    if result.state != "Healthy":
        assert result.message or case["object"]["kind"] in {"Application", "ApplicationSet"}


def pod(reason: str, message: str = "") -> dict[str, Any]:
    waiting = {"reason": reason, "message": message}
    return {
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "state": {"waiting": waiting}}]}
    }


def test_pod_reasons_count_the_most_frequent_first() -> None:
    pods = [
        pod("CrashLoopBackOff"),
        pod("ErrImagePull", "no such image"),
        pod("ErrImagePull", "no such image"),
    ]
    assert pod_reasons(pods) == (
        "ErrImagePull: container web: no such image (2 Pods); CrashLoopBackOff: container web"
    )


def test_pod_reasons_of_pods_that_only_start_are_empty() -> None:
    assert pod_reasons([pod("ContainerCreating"), {}]) == ""


def test_messages_are_bounded() -> None:
    assert len(pod_reasons([pod("ErrImagePull", "x" * 10_000)])) == MAX_MESSAGE
    obj = {"kind": "Pod", "apiVersion": "v1", **pod("ErrImagePull", "x" * 10_000)}
    assert len(evaluate(obj).message) == MAX_MESSAGE
