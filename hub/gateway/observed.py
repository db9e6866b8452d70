"""What an agent said of an app, as `Application.status.observed`, and who writes that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, MANAGER_GATEWAY
from agent.contract.wire import AppReport
from hub.gateway import paths
from hub.gateway.writer import LatestWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_CONFLICT = 409
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Observation:
    """One app's report with where it stands in time."""

    report: AppReport
    epoch: int
    seq: int
    boot: str
    count: int
    received_at: datetime


def observed_manifest(key: str, observation: Observation) -> Manifest:
    """For server-side apply on the status subresource: all of `observed`, and nothing beside it."""
    namespace, _, name = key.partition("/")
    observed = observation.report.wire() | {
        "epoch": observation.epoch,
        "seq": observation.seq,
        "boot": observation.boot,
        "count": observation.count,
        "receivedAt": observation.received_at.isoformat().replace("+00:00", "Z"),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": {"name": name, "namespace": namespace},
        "status": {"observed": observed},
    }


def observed_writer(client: RestClient, *, clock: Callable[[], float]) -> LatestWriter[Observation]:
    """Make the writer of `status.observed`, as the gateway's own field manager."""

    async def write(key: str, observation: Observation) -> None:
        await client.apply(
            paths.application(key),
            observed_manifest(key, observation),
            field_manager=MANAGER_GATEWAY,
            force=True,
            subresource="status",
        )

    async def write_carefully(key: str, observation: Observation) -> None:
        path = paths.application(key)
        for last in (False,) * (_TRIES - 1) + (True,):
            found = await client.get(path)
            if not _news((found.get("status") or {}).get("observed") or {}, observation):
                return
            manifest = observed_manifest(key, observation)
            manifest["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            try:
                await client.apply(
                    path, manifest, field_manager=MANAGER_GATEWAY, force=True, subresource="status"
                )
            except ApiError as error:
                if error.status != _CONFLICT or last:
                    raise  # the writer tries it again in a moment
            else:
                return

    return LatestWriter(write, clock=clock, careful=write_carefully)


def _news(held: Manifest, observation: Observation) -> bool:
    """Whether this says anything that what is written does not, and is not older. Times alone are no news."""
    if held.get("boot") == observation.boot and int(held.get("count") or 0) > observation.count:
        return False
    try:
        return content_of(AppReport.model_validate(held)) != content_of(observation.report)
    except ValidationError:
        return True


def content_of(report: AppReport) -> bytes:
    """Hash what makes two reports of an app say the same: everything but when it was observed."""
    plain = report.model_dump_json(exclude={"observed_at"})
    return hashlib.blake2b(plain.encode(), digest_size=16).digest()
