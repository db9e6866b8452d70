"""Inventories that another hub's agent of this cluster left here: told, and purged only by a person's decision.

A hub that was lost comes back as another one, with another id, and so with other labels and another field manager.
What the old one's agent applied runs on, and only its inventories say what that was. Each carries all that is needed
to delete by it: the ApplySet's id, and in its labels the hashes that its field manager's name is made of.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.apply.errors import InventoryCorrupt
from agent.apply.execute import Applier
from agent.apply.inventory import from_secret
from agent.contract.adoption import MAX_NAMES, MAX_ORPHANS, MAX_REFS, OrphanReport
from agent.contract.bundle import ApplyPolicy
from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import (
    AGENT_NAMESPACE,
    ANNOTATION_APP,
    APPLYSET_ID,
    LABEL_AGENT_CLUSTER,
    LABEL_HUB,
    LABEL_STATE,
    short_hash,
)
from agent.sync.words import failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.apply.inventory import Inventory
    from agent.contract.adoption import PurgeRequest
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.contract.wire import AssignmentDocument
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.link.identity import Identity

logger = logging.getLogger(__name__)

_SECRETS = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
_LOOK_EVERY = 600.0
_AGAIN = 5.0
_SECONDS = 60.0
_NOT_FOUND = 404
_MAX_REF, _MAX_TEXT = 600, 1024


@dataclass(frozen=True, slots=True)
class Legacy:
    """One app of another hub, as its inventory has it. `hub` is the hash in its labels."""

    app: str
    hub: str
    applyset: str
    manager: str
    path: str
    uid: str
    inventory: Inventory


def legacy_of(secret: Manifest) -> Legacy | None:
    """Read one; None for what is no whole inventory: nothing may be concluded from that."""
    metadata = secret["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    hub, cluster = str(labels.get(LABEL_HUB, "")), str(labels.get(LABEL_AGENT_CLUSTER, ""))
    app, applyset = str(annotations.get(ANNOTATION_APP, "")), str(labels.get(APPLYSET_ID, ""))
    if not (hub and cluster and app and applyset):
        return None
    try:
        inventory = from_secret(secret)
    except InventoryCorrupt as error:
        logger.warning("%s", error)
        return None
    path = f"{_SECRETS}/{metadata['name']}"
    manager = f"axletree-{hub[:8]}-{cluster[:8]}"
    return Legacy(app, hub, applyset, manager, path, metadata["uid"], inventory)


@dataclass(slots=True)
class Inherited:
    """Looks for them now and then, and carries out what the document that is held decides about them."""

    client: RestClient
    mapper: RestMapper
    identity: Identity
    wanted: Callable[[], frozenset[ObjectRef] | None]
    """Objects that apps of this hub want; None while nobody knows them all, and so nothing may be deleted."""
    announce: Callable[[], None]
    """Have the hub told soon."""
    _found: dict[tuple[str, str], Legacy] = field(default_factory=dict)
    _decided: dict[tuple[str, str], PurgeRequest] = field(default_factory=dict)
    _messages: dict[tuple[str, str], str] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reports(self) -> list[OrphanReport]:
        return [self._report(key) for key in sorted(self._found)][:MAX_ORPHANS]

    def follow(self, document: AssignmentDocument) -> None:
        """What is decided now."""
        decided = {(each.hub, each.app): each for each in document.purges}
        if decided != self._decided:
            self._decided = decided
            self._wake.set()

    async def run(self) -> None:
        while True:
            pause = _LOOK_EVERY
            try:
                await self._look()
                if [key for key in self._decided if key in self._found]:
                    await self._purge()
                    pause = _AGAIN
            except AxletreeError as error:
                logger.warning("inventories of other hubs: %s", error)
                pause = _AGAIN * 2
            self._wake.clear()
            try:
                async with asyncio.timeout(pause * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Of this cluster's name, and of other hubs than ours."""
        cluster, hub = short_hash(self.identity.cluster), short_hash(self.identity.hub_id)
        selector = f"{LABEL_AGENT_CLUSTER}={cluster},{LABEL_STATE}=inventory,{LABEL_HUB}!={hub}"
        listing = await self.client.list(_SECRETS, label_selector=selector)
        read = [legacy for secret in listing.items if (legacy := legacy_of(secret)) is not None]
        found = {(legacy.hub, legacy.app): legacy for legacy in read}
        if found.keys() != self._found.keys():
            self.announce()
        self._found = found
        self._messages = {key: text for key, text in self._messages.items() if key in found}

    async def _purge(self) -> None:
        for key, request in sorted(self._decided.items()):
            legacy = self._found.get(key)
            if legacy is None:
                continue
            try:
                message = await self._remove(legacy, request)
            except AxletreeError as error:
                message = f"{error.reason}: {error}"
            if self._messages.get(key) != message:
                self._messages[key] = message
                self.announce()
        await self._look()

    async def _remove(self, legacy: Legacy, request: PurgeRequest) -> str:
        """Delete by the inventory, which goes last. Gives what is waited for."""
        wanted = self.wanted()
        if wanted is None:
            return "waits until it is known what the apps of this hub want"
        applier = Applier(
            self.client, self.mapper, manager=legacy.manager, applyset=legacy.applyset, app=legacy.app
        )
        loop = asyncio.get_running_loop()
        result = await applier.delete_all(
            legacy.inventory,
            ApplyPolicy(service_account=request.service_account),
            save=_kept,
            deadline=loop.time() + _SECONDS,
            elsewhere=wanted & legacy.inventory.entries.keys(),
        )
        if result.inventory.entries:
            return failures(result) or f"{len(result.inventory.entries)} objects are not gone yet"
        try:
            await self.client.delete(legacy.path, uid=legacy.uid)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
        who = {"application": legacy.app}
        logger.info("%s of the former hub %s is purged", legacy.app, legacy.hub, extra=who)
        return ""

    def _report(self, key: tuple[str, str]) -> OrphanReport:
        legacy = self._found[key]
        refs = sorted(legacy.inventory.entries)
        return OrphanReport(
            app=legacy.app,
            hub=legacy.hub,
            objects=len(refs),
            kinds=sorted({str(ref.group_kind) for ref in refs})[:MAX_NAMES],
            namespaces=sorted({ref.namespace for ref in refs if ref.namespace})[:MAX_NAMES],
            refs=[str(ref)[:_MAX_REF] for ref in refs[:MAX_REFS]],
            going=key in self._decided,
            message=self._messages.get(key, "")[:_MAX_TEXT],
        )


async def _kept(_inventory: Inventory) -> None:
    """The inventory stays as it is until nothing of it is left: too much in it does no harm."""
