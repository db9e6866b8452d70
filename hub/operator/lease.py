"""One leader by a `coordination.k8s.io/Lease`.

kopf's own peering freezes every operator at equal priorities, so it runs standalone behind this. A leader that
loses its Lease stops writing at once; Assignments' resourceVersion preconditions fence what is already on its way.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, AxletreeError
from hub.operator import paths

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

log = logging.getLogger(__name__)
NAME = "axletree-controller"


class LeadershipLost(AxletreeError):
    """Another process leads, or the Lease could not be renewed in time: stop, and start over as a follower."""

    reason = "LeadershipLost"


class Leader:
    """Acquire, keep, and give back the Lease."""

    def __init__(self, client: RestClient, *, identity: str, seconds: float) -> None:
        self._client = client
        self._identity = identity
        self._seconds = seconds
        self._path = f"{paths.LEASES}/{NAME}"

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            try:
                if await self._try():
                    log.info("leading as %s", self._identity)
                    return
            except AxletreeError as error:
                log.warning("the Lease cannot be read: %s", error)
            await asyncio.sleep(self._seconds / 5 * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def keep(self) -> None:
        """Renew until cancelled; raise `LeadershipLost` when it can no longer be known that we lead."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self._seconds / 3 * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
            try:
                held = await self._try()
            except AxletreeError as error:
                if loop.time() - renewed > self._seconds * 0.8:
                    raise LeadershipLost("the Lease could not be renewed in time") from error
                continue
            if not held:
                raise LeadershipLost("another process holds the Lease")
            renewed = loop.time()

    async def release(self) -> None:
        """Let the next one lead at once."""
        try:
            lease = await self._client.get(self._path)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(self._path, lease)
        except AxletreeError as error:
            log.info("the Lease was not given back: %s", error)

    async def _try(self) -> bool:
        now = datetime.now(UTC)
        try:
            lease = await self._client.get(self._path)
        except ApiError as error:
            if error.status != 404:  # noqa: PLR2004 - HTTP status
                raise
            return await self._create(now)
        spec = lease["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not _expired(spec, now):
            return False
        if holder != self._identity:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
            spec["acquireTime"] = _micro(now)
        spec |= {
            "holderIdentity": self._identity,
            "renewTime": _micro(now),
            "leaseDurationSeconds": max(1, round(self._seconds)),
        }
        return await self._write(self._client.replace(self._path, lease))

    async def _create(self, now: datetime) -> bool:
        namespace = paths.LEASES.split("/")[-2]
        lease: Manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "holderIdentity": self._identity,
                "acquireTime": _micro(now),
                "renewTime": _micro(now),
                "leaseDurationSeconds": max(1, round(self._seconds)),
                "leaseTransitions": 0,
            },
        }
        return await self._write(self._client.create(paths.LEASES, lease))

    async def _write(self, request: object) -> bool:
        try:
            await request  # type: ignore[misc]
        except ApiError as error:
            if error.status == 409:  # noqa: PLR2004 - HTTP status: someone was faster
                return False
            raise
        return True


def _micro(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _expired(spec: dict[str, object], now: datetime) -> bool:
    renewed = spec.get("renewTime")
    if not isinstance(renewed, str):
        return True
    seconds = spec.get("leaseDurationSeconds")
    duration = timedelta(seconds=float(seconds) if isinstance(seconds, int | float) else 15)
    return datetime.fromisoformat(renewed) + duration < now
