"""Who is let in: every request's certificate against the Cluster as it is now, and what is noticed by that."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.gateway.errors import CertificateRefused, CertificateSuperseded, HubRecovered
from hub.gateway.peers import Admission, Peer, admit, is_clone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from hub.gateway.clusters import Clusters
    from hub.gateway.keyring import Keyring

log = logging.getLogger(__name__)

_COPY = "an agent shows a certificate that another one with the same identity has renewed"


class Gatekeeper:
    """Admits, promotes renewed certificates at their first use, and notes clones."""

    def __init__(self, clusters: Clusters, keyring: Keyring, *, now: Callable[[], datetime]) -> None:
        self._clusters = clusters
        self._keyring = keyring
        self._now = now
        self._marks: set[asyncio.Task[None]] = set()

    async def admit(self, peer: Peer) -> None:
        """Raise unless this certificate is in force now. Asked on every request, and after every wait."""
        now, cluster = self._now(), self._clusters.get(peer.cluster)
        match self._verdict(peer, cluster, now):
            case Admission.IN_FORCE:
                return
            case Admission.RENEWED | Admission.RETURNED:
                await self._clusters.promote(peer, now=now)
                log.info(
                    "cluster %s: its renewed certificate is in force",
                    peer.cluster,
                    extra={"cluster": peer.cluster},
                )
            case Admission.SUPERSEDED:
                if cluster is not None and is_clone(peer, cluster, now=now):
                    await self._clusters.mark_clone(peer.cluster, _COPY)
                raise CertificateSuperseded
            case Admission.UNKNOWN:
                raise HubRecovered
            case Admission.REFUSED:
                raise CertificateRefused

    def refused(self, peer: Peer) -> bool:
        """Whether what is under way for it has to end. One that was renewed meanwhile may have what it asked for."""
        return self._verdict(peer, self._clusters.get(peer.cluster), self._now()) is Admission.REFUSED

    def _verdict(self, peer: Peer, cluster: Manifest | None, now: datetime) -> Admission:
        identity = self._keyring.current
        if peer.issuer not in {each.key_id for each in identity.authorities}:
            return Admission.REFUSED
        return admit(peer, cluster, now=now, recovery=identity.recovery)

    def cloned(self, name: str, message: str) -> None:
        """Note that two processes report for one cluster; written by a task of its own."""
        task = asyncio.create_task(self._mark(name, message), name=f"gateway-clone-{name}")
        self._marks.add(task)
        task.add_done_callback(self._marks.discard)

    async def close(self) -> None:
        for task in self._marks:
            task.cancel()
        await asyncio.gather(*self._marks, return_exceptions=True)

    async def _mark(self, name: str, message: str) -> None:
        try:
            await self._clusters.mark_clone(name, message)
        except AxletreeError as error:
            log.warning(
                "cluster %s is cloned, which is not noted yet: %s", name, error, extra={"cluster": name}
            )
