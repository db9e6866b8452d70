"""The hub's identity as it is now: what `axle hub rotate` and `recover` write is in use a moment later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.contract.names import HUB_NAMESPACE
from agent.kube.reflector import Reflector
from hub.gateway import paths
from hub.gateway.errors import IdentityInvalid
from hub.gateway.identity import SECRET_NAME, HubIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

log = logging.getLogger(__name__)


class Keyring:
    """`current` is the identity; `run` keeps it so until cancelled. One that does not read changes nothing."""

    def __init__(self, client: RestClient, identity: HubIdentity) -> None:
        self.current = identity
        self._reflector = Reflector(
            client, paths.SECRETS, field_selector=f"metadata.name={SECRET_NAME}", transform=_lean
        )
        self._reflector.subscribe(self._changed)
        self._callbacks: list[Callable[[HubIdentity], None]] = []

    def subscribe(self, callback: Callable[[HubIdentity], None]) -> None:
        """Call back with each other identity of the same hub."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        await self._reflector.run()

    def _changed(self, _old: Manifest | None, new: Manifest | None) -> None:
        if new is None:
            log.error(
                "the Secret %s/%s is gone: this process goes on with what it has; restore it, or every agent has to "
                "join again after the next start",
                HUB_NAMESPACE,
                SECRET_NAME,
            )
            return
        try:
            identity = HubIdentity.from_secret(new)
        except IdentityInvalid as error:
            log.error("the identity stays as it is: %s", error)  # noqa: TRY400 - the message says it
            return
        if identity.hub_id != self.current.hub_id:
            log.error("the Secret holds the identity of another hub (%s): it is not taken", identity.hub_id)
            return
        if identity.to_secret() == self.current.to_secret():
            return
        log.warning(
            "the hub's keys: generation %d, %s; epoch %d", identity.generation, identity.stage, identity.epoch
        )
        self.current = identity
        for callback in self._callbacks:
            callback(identity)


def _lean(secret: Manifest) -> Manifest:
    secret["metadata"].pop("managedFields", None)
    return secret
