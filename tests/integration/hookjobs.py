"""Hooks of bundles, and what a controller manager would do of their Jobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TransientError

if TYPE_CHECKING:
    from tests.integration.agent_rig import AgentRig

NOW = "2026-01-01T00:00:00Z"


def hook(name: str, phase: str) -> dict[str, Any]:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "migrate"}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {"axletree.dev/hook": phase}},
        "spec": {"template": pod},
    }


async def complete_jobs(rig: AgentRig) -> None:
    """What a controller manager would do of the hooks' Jobs."""
    conditions = [
        {"type": kind, "status": "True", "reason": "Test"} for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"startTime": NOW, "completionTime": NOW, "succeeded": 1, "conditions": conditions}
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            jobs: list[dict[str, Any]] = []
            with contextlib.suppress(ApiError, TransientError):
                jobs = (await rig.client.list(f"/apis/batch/v1/namespaces/{rig.namespace}/jobs")).items
            for job in jobs:
                if not (job.get("status") or {}).get("succeeded"):
                    path = rig.path("jobs", job["metadata"]["name"], group="batch/v1")
                    with contextlib.suppress(ApiError, TransientError):  # it went, or it is tried again
                        await rig.client.merge_patch(path, {"status": status}, subresource="status")
            await asyncio.sleep(0.1)
