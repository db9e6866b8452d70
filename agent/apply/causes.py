"""Why a workload has not come up: what its Pods say, and what its controller said when it could not make them.

A Deployment says itself when its Pods are refused (by a quota, an admission rule, a ServiceAccount that is not there).
StatefulSets, DaemonSets and Jobs do not: the only trace is an event.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from agent.contract.manifest import GroupKind
from agent.health.pods import pod_reasons
from agent.health.result import spec_of, status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

logger = logging.getLogger(__name__)

SILENT = frozenset(
    {GroupKind("apps", "StatefulSet"), GroupKind("apps", "DaemonSet"), GroupKind("batch", "Job")}
)
"""Kinds whose status does not say that their Pods are refused."""
_REASON = "FailedCreate"
_JOB_LABEL = "batch.kubernetes.io/controller-uid"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the controller said, and since when it says that."""

    message: str
    since: datetime


def wanted(workload: Manifest) -> int:
    """How many Pods it should have at once, as far as its own fields tell; at least one where that is not known."""
    spec, status = spec_of(workload), status_of(workload)
    match workload.get("kind"):
        case "StatefulSet":
            return int(spec.get("replicas", 1))
        case "DaemonSet":
            return int(status.get("desiredNumberScheduled") or 1)
        case _:
            return (
                0
                if spec.get("suspend")
                else min(int(spec.get("parallelism", 1)), int(spec.get("completions", 1)))
            )


def latest_refusal(events: Sequence[Manifest], pods: Sequence[Manifest]) -> Refusal | None:
    """The last refusal; None where a Pod has been made since, for then it is over."""
    found = [(last, first, one) for one in events if (last := _at(one)) and (first := _at(one, first=True))]
    if not found:
        return None
    last, first, event = max(found, key=lambda one: one[0])
    born = [at for one in pods if (at := _time((one.get("metadata") or {}).get("creationTimestamp")))]
    if born and max(born) > last:
        return None
    return Refusal(f"{_REASON}: {event.get('message') or 'its Pods cannot be made'}", first)


async def refusal(client: RestClient, workload: Manifest, pods: Sequence[Manifest]) -> Refusal | None:
    """Ask why Pods are missing; None where none is, where nothing was said, or where events may not be read."""
    metadata = workload["metadata"]
    if len(pods) >= wanted(workload):
        return None
    path = f"/api/v1/namespaces/{metadata['namespace']}/events"
    selector = f"involvedObject.uid={metadata['uid']},reason={_REASON}"
    try:
        events = (await client.list(path, field_selector=selector)).items
    except AxletreeError as error:
        logger.info("%s: %s", path, error)
        return None
    return latest_refusal(events, pods)


async def job_waits_for(client: RestClient, job: Manifest) -> str:
    """Why a Job that has no Pod at work has none; empty where it has, or nobody says."""
    metadata = job["metadata"]
    if status_of(job).get("ready"):
        return ""
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
    try:
        pods = (await client.list(path, label_selector=f"{_JOB_LABEL}={metadata['uid']}")).items
    except AxletreeError as error:
        logger.info("%s: %s", path, error)
        return ""
    said = pod_reasons([one for one in pods if status_of(one).get("phase") != "Failed"])
    if said or pods:
        return said
    refused = await refusal(client, job, pods)
    return refused.message if refused else ""


def _at(event: Manifest, *, first: bool = False) -> datetime | None:
    names = ("firstTimestamp", "eventTime") if first else ("lastTimestamp", "eventTime", "firstTimestamp")
    series = None if first else (event.get("series") or {}).get("lastObservedTime")
    return _time(series) or next((at for name in names if (at := _time(event.get(name)))), None)


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
