"""Webhooks that reach a gateway where no controller leads: told to the one that does, through the API server.

A Lease a gateway holds the last few events, and the controller watches Leases anyway. Events are hints: one that is
overwritten before it was read costs the wait until the next poll.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import deque
from typing import TYPE_CHECKING
from uuid import uuid4

from agent.contract.errors import ApiError, TransientError
from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS, short_hash
from agent.kube.reflector import Reflector
from hub.gateway import paths
from hub.gateway.errors import NotReady
from hub.gateway.webhooks import LABELLED, Listener
from hub.hosts.events import ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.hosts.events import Event

log = logging.getLogger(__name__)
KEPT = 32
SETTLE = 0.05
_PAUSE = 2.0
_MANAGER = "axletree-gateway"


class Relay:
    """The Secrets that authenticate webhooks, and the way to a controller elsewhere."""

    def __init__(self, client: RestClient, *, holder: str) -> None:
        self._client = client
        self._name = f"axletree-webhooks-{short_hash(holder)}"
        self._holder = holder
        self._events: deque[tuple[str, Event]] = deque(maxlen=KEPT)
        self._wake = asyncio.Event()
        self.here: Callable[[Event], None] | None = None
        """The controller that leads in this process."""
        self._secrets = Reflector(
            client, paths.SECRETS, label_selector=f"{LABEL_CREDENTIALS}={LABELLED}", transform=_lean
        )

    def listener(self) -> Listener:
        """Who hears of a webhook now."""
        return Listener(self._known, self.here or self.take)

    def _known(self) -> list[Manifest]:
        """The Secrets of the hub's namespace. Raises `NotReady` until they are there."""
        if not self._secrets.synced:
            raise NotReady("the hub is starting", retry_after=1)
        return list(self._secrets.items.values())

    def take(self, event: Event) -> None:
        self._events.append((uuid4().hex, event))
        self._wake.set()

    async def run(self) -> None:
        """Keep the Secrets, and write what was taken, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._secrets.run())
            tasks.create_task(self._tell())

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(SETTLE)
            self._wake.clear()
            try:
                await self._write()
            except (ApiError, TransientError) as error:
                log.warning("what Git hosts told is written again: %s", error)
                self._wake.set()
                await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _write(self) -> None:
        told = [{"id": number, **event.to_json()} for number, event in self._events]
        metadata = {
            "name": self._name,
            "namespace": HUB_NAMESPACE,
            "annotations": {ANNOTATION: json.dumps(told, separators=(",", ":"))},
        }
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {"holderIdentity": self._holder},
        }
        await self._client.apply(paths.lease(self._name), lease, field_manager=_MANAGER, force=True)


def _lean(obj: Manifest) -> Manifest:
    obj["metadata"].pop("managedFields", None)
    return obj
