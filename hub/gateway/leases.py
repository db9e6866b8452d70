"""Keeps one Lease a cluster in step with what is known of its agent."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import HUB_NAMESPACE, MANAGER_GATEWAY
from agent.kube.reflector import Reflector
from hub.gateway import paths
from hub.gateway.beacon import beacon, beacon_name, beat_seconds, forgotten, holder_of, is_beacon, lasts
from hub.gateway.liveness import (
    LABEL_LIVENESS,
    RENEW_SECONDS,
    AgentLease,
    Liveness,
    lease_manifest,
    lease_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

log = logging.getLogger(__name__)

_NOT_FOUND, _CONFLICT = 404, 409
_SEEN_SECONDS = 0.1
_AT_ONCE = 16
_RETRY_SECONDS = 5.0


class LeaseKeeper:
    """Writes Leases on change and every `RENEW_SECONDS`. `clock` never jumps; `now` is what Leases carry.

    It also watches them: what other gateways write tells which process of an agent they hear. While that is another
    one than here, the Lease is theirs, so that a gateway whose agent ended without a word does not take it back; and
    each writes only over what it has seen.
    """

    def __init__(
        self,
        client: RestClient,
        liveness: Liveness,
        *,
        holder: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._liveness = liveness
        self._holder = holder
        self._clock = clock
        self._now = now
        self._due: dict[str, float] = {}
        """When each cluster's Lease is to be written next; every cluster once written is in it."""
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[str, str] = {}
        """Clusters whose Lease said "connected", by us, when we started, and of which process: that one's first
        heartbeat is no news."""
        self._beat_at = 0.0
        """When this gateway's own Lease is to be written next."""
        self._lives: dict[str, float] = {}
        """Until when the other gateways are known to live, by their names."""
        self._seen = Reflector(client, paths.LEASES, label_selector=LABEL_LIVENESS, transform=_lean)
        self._seen.subscribe(self._written)
        liveness.subscribe(self._changed)

    async def watch(self) -> None:
        """Follow what is written of agents, until cancelled."""
        await self._seen.run()

    async def run(self) -> None:
        """Until cancelled. What fails is tried again: the state to write is always the latest."""
        await self._adopt()
        period = min(5.0, self._liveness.stale_after / 8)
        looked = -period
        while True:
            if self._clock() - looked >= period / 2:
                looked = self._clock()
                self._liveness.tick(looked)
            await self._beat()
            await self.write_due()
            self._wake.clear()
            if not self._dirty:
                pause = period * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _beat(self) -> None:
        """Say that this gateway lives, and so that what it wrote of its agents holds."""
        now = self._clock()
        if now < self._beat_at:
            return
        own = beacon(self._holder, now=self._now(), stale_after=self._liveness.stale_after)
        path = paths.lease(beacon_name(self._holder))
        try:
            await self._client.apply(path, own, field_manager=MANAGER_GATEWAY, force=True)
        except AxletreeError as error:
            log.warning("the Lease of this gateway was not written: %s", error)
            return
        self._beat_at = now + beat_seconds(self._liveness.stale_after)

    async def write_due(self) -> None:
        """Write what changed and what is due."""
        now = self._clock()
        due = {cluster for cluster, moment in self._due.items() if moment <= now}
        clusters = self._dirty | due
        self._dirty = set()
        if clusters:
            async with asyncio.TaskGroup() as tasks:
                for cluster in clusters:
                    tasks.create_task(self._write(cluster))

    def forget(self, cluster: str) -> None:
        """Stop writing the Lease of a cluster that is gone."""
        self._due.pop(cluster, None)
        self._dirty.discard(cluster)
        self._kept.pop(cluster, None)

    def _written(self, _old: Manifest | None, new: Manifest | None) -> None:
        if new is None:
            return
        if is_beacon(new):
            self._lives[holder_of(new)] = self._clock() + lasts(new).total_seconds()
            return
        lease = AgentLease.read(new)
        if lease.holder == self._holder:
            self._liveness.kept(lease.cluster, boot=lease.boot)
        else:
            self._liveness.kept_elsewhere(
                lease.cluster, self._clock(), boot=lease.boot, connected=lease.connected
            )

    def _changed(self, cluster: str) -> None:
        agent = self._liveness.get(cluster)
        known = self._kept.pop(cluster, None)
        if known and agent is not None and agent.connected and not agent.ahead and agent.boot == known:
            self._due[cluster] = self._clock() + RENEW_SECONDS * random.uniform(0.2, 0.4)  # noqa: S311 - jitter
            return
        self._dirty.add(cluster)
        self._wake.set()

    async def _write(self, cluster: str) -> None:
        agent = self._liveness.get(cluster)
        if agent is None or agent.connected is None:
            self._due.pop(cluster, None)
            return
        if agent.connected and agent.followed is not None:
            self._due[cluster] = self._clock() + RENEW_SECONDS * random.uniform(0.2, 0.4)  # noqa: S311 - jitter
            return
        try:
            async with self._slots:
                if not agent.connected and await self._kept_elsewhere(cluster):
                    self._liveness.forget(cluster)
                    self.forget(cluster)
                    return
                lease = lease_manifest(
                    cluster,
                    holder=self._holder,
                    now=self._now(),
                    connected=agent.connected,
                    epoch=agent.epoch,
                    seq=agent.seq,
                    boot=agent.boot,
                    stale_after=self._liveness.stale_after,
                )
                path = paths.lease(lease_name(cluster))
                seen = self._seen.items.get((HUB_NAMESPACE, lease_name(cluster)))
                if seen is not None:
                    lease["metadata"]["resourceVersion"] = seen["metadata"]["resourceVersion"]
                await self._client.apply(path, lease, field_manager=MANAGER_GATEWAY, force=True)
            if agent.connected:
                # Spread, so that a fleet does not renew in one moment.
                self._due[cluster] = self._clock() + RENEW_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311
            else:
                self._due.pop(cluster, None)
        except AxletreeError as error:
            if isinstance(error, ApiError) and error.status == _CONFLICT:
                await asyncio.sleep(_SEEN_SECONDS)  # until what was written meanwhile is seen
                self._dirty.add(cluster)
                self._wake.set()
                return
            who = {"cluster": cluster}
            log.warning("the Lease of cluster %s was not written: %s", cluster, error, extra=who)
            self._due[cluster] = self._clock() + _RETRY_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    async def _kept_elsewhere(self, cluster: str) -> bool:
        """Whether the agent is merely connected to another gateway by now."""
        try:
            lease = AgentLease.read(await self._client.get(paths.lease(lease_name(cluster))))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        lives = self._lives.get(lease.holder)
        return (
            lease.connected
            and lease.holder != self._holder
            and (lives is None or self._clock() <= lives)
            and not lease.abandoned(now=self._now(), stale_after=self._liveness.stale_after)
        )

    async def _adopt(self) -> None:
        """Read the Leases that a former life of this gateway left, to spare a write for each of them."""
        try:
            listing = await self._client.list(paths.LEASES, label_selector=LABEL_LIVENESS)
        except AxletreeError as error:
            log.info("the Leases of agents were not read: %s", error)
            return
        now = self._now()
        for name in forgotten(listing.items, now):
            try:
                await self._client.delete(paths.lease(name))
            except AxletreeError as error:
                log.info("the Lease of a gateway that is long gone stays: %s", error)
        for item in listing.items:
            if is_beacon(item):
                continue
            lease = AgentLease.read(item)
            fresh = (now - lease.renewed).total_seconds() < RENEW_SECONDS / 2
            agent = self._liveness.get(lease.cluster)
            heard_already = agent is not None and agent.connected is not None
            if lease.connected and lease.holder == self._holder and fresh and not heard_already:
                self._kept[lease.cluster] = lease.boot


def _lean(lease: Manifest) -> Manifest:
    for unused in ("managedFields", "creationTimestamp", "uid"):
        lease["metadata"].pop(unused, None)
    return lease
