"""Pods, and the reason that people need when a workload is not available."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent.health.result import (
    HEALTHY,
    MAX_MESSAGE,
    HealthResult,
    conditions_of,
    degraded,
    is_false,
    is_true,
    progressing,
    spec_of,
    status_of,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest

SCHEDULE_WINDOW = timedelta(seconds=15)
"""How long a Pod may be unschedulable before that is a failure: kstatus's value."""
_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_START = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "ContainerCannotRun",
    }
)
_MAX_REASONS = 3


def pod(obj: Manifest, *, now: datetime | None = None) -> HealthResult:  # noqa: PLR0911 - guards
    """Degraded for what does not pass by itself: failed, images that do not pull, containers that crash."""
    status, phase = status_of(obj), status_of(obj).get("phase")
    if phase == "Succeeded":
        return HEALTHY
    if phase == "Failed":
        if _owned_by_job(obj):
            return HealthResult(HEALTHY.state, "failed; the Job that owns it decides")
        return degraded(_failure(obj))
    stuck = next(_stuck(status), None)
    if stuck is not None:
        return degraded(stuck)
    if is_true(conditions_of(obj).get("Ready")):
        return HEALTHY
    scheduled = conditions_of(obj).get("PodScheduled")
    if is_false(scheduled) and scheduled is not None and scheduled.get("reason") == "Unschedulable":
        verdict = degraded if _waited(scheduled, now=now) else progressing
        return verdict(why(scheduled))
    if phase == "Running" and spec_of(obj).get("restartPolicy", "Always") != "Always":
        return progressing("running to completion")
    return progressing(f"{phase or 'Pending'}, not ready")


def pod_reasons(pods: Iterable[Manifest]) -> str:
    """Why a workload's Pods are not ready, the most frequent first: `ImagePullBackOff: ... (2 Pods)`.

    Empty where no Pod says anything worse than that it is starting.
    """
    counted: Counter[str] = Counter()
    for obj in pods:
        reason = _reason(obj)
        if reason:
            counted[reason] += 1
    lines = [
        f"{reason} ({count} Pods)" if count > 1 else reason
        for reason, count in counted.most_common(_MAX_REASONS)
    ]
    return "; ".join(lines)[:MAX_MESSAGE]


def _reason(obj: Manifest) -> str:
    status = status_of(obj)
    if status.get("phase") == "Failed":
        return _failure(obj)
    stuck = next(_stuck(status), None)
    if stuck is not None:
        return stuck
    scheduled = conditions_of(obj).get("PodScheduled")
    return why(scheduled) if is_false(scheduled) and scheduled is not None else ""


def _stuck(status: dict[str, Any]) -> Iterator[str]:
    for container in _containers(status):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        reason, name = str(waiting.get("reason") or ""), container.get("name", "")
        if reason in _IMAGE or reason in _START or reason.endswith("Error"):
            text = waiting.get("message") or _last_exit(container)
            yield f"{reason}: container {name}" + (f": {text}" if text else "")


def _containers(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or ():
            if isinstance(container, dict):
                yield container


def _last_exit(container: dict[str, Any]) -> str:
    terminated = (container.get("lastState") or {}).get("terminated") or {}
    code = terminated.get("exitCode")
    return f"exited with {code}" if code is not None else ""


def _failure(obj: Manifest) -> str:
    status = status_of(obj)
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason or message:
        return ": ".join(part for part in (reason, message) if part)
    for container in _containers(status):
        terminated = (container.get("state") or {}).get("terminated") or {}
        if terminated.get("exitCode"):
            cause = terminated.get("reason") or "Error"
            return f"{cause}: container {container.get('name', '')} exited with {terminated['exitCode']}"
    return "the Pod failed"


def _owned_by_job(obj: Manifest) -> bool:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    return any(owner.get("kind") == "Job" for owner in owners)


def _waited(condition: dict[str, Any], *, now: datetime | None) -> bool:
    """Whether the window has passed; never without a clock."""
    since = condition.get("lastTransitionTime")
    if now is None or not isinstance(since, str):
        return False
    try:
        return now - datetime.fromisoformat(since) > SCHEDULE_WINDOW
    except (ValueError, TypeError):
        return False
