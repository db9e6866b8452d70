"""Which apps there are, and what the held document says of each. No requests here.

Absence from a document is never a deletion: such an app runs on, and is told as an orphan.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.apply.errors import InventoryCorrupt
from agent.apply.execute import Applier
from agent.apply.inventory import from_secret
from agent.contract.errors import AxletreeError
from agent.contract.health import SyncState
from agent.contract.names import agent_manager, applyset_id
from agent.sync.app import App
from agent.sync.recover import kinds_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent.contract.bundle import Bundle
    from agent.contract.wire import AssignedApp, AssignmentDocument
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.link.identity import Identity
    from agent.link.state import SavedApp, SavedState
    from agent.sync.rulebook import RuleBook

logger = logging.getLogger(__name__)


class Roster:
    """The apps of one agent by key and by ApplySet."""

    def __init__(
        self, client: RestClient, mapper: RestMapper, identity: Identity, *, rulebook: RuleBook
    ) -> None:
        self.apps: dict[str, App] = {}
        self.by_applyset: dict[str, App] = {}
        self.manager = agent_manager(identity.hub_id, identity.cluster)
        self._client, self._mapper, self._identity = client, mapper, identity
        self._namespaces: set[str] = set()
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._rulebook = rulebook

    @property
    def orphans(self) -> list[str]:
        return sorted(app.key for app in self.apps.values() if app.orphan)

    def restore(self, state: SavedState, decoded: Callable[[SavedApp], Bundle]) -> None:
        """Take what the spoke remembers. What does not read is left out, and told."""
        for key, saved in state.apps.items():
            app = self.app(key)
            app.assigned, app.order = saved.assigned, saved.order
            app.saved = app.kept = saved
            app.applied = saved.assigned.digest if saved.applied else None
            try:
                app.bundle = decoded(saved)
                app.learn_rules()
            except AxletreeError as error:
                logger.error("%s: %s", key, error, extra={"application": key})  # noqa: TRY400 - the message says it
                app.saved = app.kept = None
        for key, secret in state.inventories.items():
            app = self.app(key)
            try:
                app.inventory = app.inventory_kept = from_secret(secret)
            except InventoryCorrupt as error:
                logger.error("%s: %s", key, error, extra={"application": key})  # noqa: TRY400 - the message says it
                app.inventory_lost, app.lost_kinds = True, kinds_of(secret)
        for app in self.apps.values():
            app.locate()

    def follow(self, document: AssignmentDocument, order: tuple[int, int]) -> tuple[list[str], list[App]]:
        """Bring the apps in line with a document: (keys that have something to do, apps that are gone)."""
        wanted = {entry.app: entry for entry in document.apps} | self._newer(order)
        stones = {stone.app: stone for stone in document.tombstones if stone.app not in wanted}
        due: list[str] = []
        for key, entry in wanted.items():
            app = self.app(key)
            if (
                app.assigned != entry
                or app.orphan
                or app.tombstone
                or app.saved is None
                or app.applied is None
            ):
                app.assigned, app.tombstone, app.orphan, app.deleted = entry, None, False, False
                app.order = order
                app.backoff.reset()
                app.obtaining.reset()
                due.append(key)
        for key, stone in stones.items():
            app = self.app(key)
            if app.tombstone != stone:
                app.tombstone, app.orphan = stone, False
                app.backoff.reset()
                due.append(key)
        gone: list[App] = []
        for key in [key for key in self.apps if key not in wanted and key not in stones]:
            app = self.apps[key]
            if app.deleted:
                del self.apps[app.key], self.by_applyset[app.applyset]
                gone.append(app)
            elif not app.orphan:
                logger.warning(
                    "%s is no longer assigned, and nobody decided to delete it: it runs on",
                    key,
                    extra={"application": key},
                )
                app.orphan, app.tombstone = True, None
                app.assigned = app.saved.assigned if app.saved else None
                due.append(key)
        return due, gone

    def waits_for(self, app: App) -> tuple[str, ...]:
        """Apps that an app must wait for now; empty: it may go."""
        first = (self.apps.get(key) for key in (app.assigned.after if app.assigned else ()))
        return tuple(
            other.key
            for other in first
            if other is not None
            and other.tombstone is None
            and not other.orphan
            and not other.healthy_at_target()
        )

    def blocked_by(self, app: App) -> list[str]:
        """Apps that wait for this one to be Healthy."""
        blocked = (other for other in self.apps.values() if other.sync is SyncState.BLOCKED)
        return [other.key for other in blocked if other.assigned and app.key in other.assigned.after]

    def to_go_after(self, app: App) -> list[str]:
        """Apps that are deleted once this one is gone."""
        going = (other for other in self.apps.values() if other.tombstone is not None)
        return [other.key for other in going if other.tombstone and app.key in other.tombstone.before]

    def lacking(self) -> list[str]:
        """Apps whose assigned release is not had yet."""
        assigned = (app for app in self.apps.values() if app.assigned is not None)
        return [app.key for app in assigned if app.saved is None or app.saved.assigned != app.assigned]

    def reached(self) -> list[str]:
        """Apps that could not ask a hub for theirs: it answers again, and they wait no longer."""
        found = [app for app in self.apps.values() if app.unreached]
        for app in found:
            app.unreached = False
            app.obtaining.reset()
        return [app.key for app in found]

    def app(self, key: str) -> App:
        """The app, made where it is not there."""
        app = self.apps.get(key)
        if app is None:
            app = self.apps[key] = self.spare(key)
            self.by_applyset[app.applyset] = app
        return app

    def spare(self, key: str) -> App:
        """The app, or one that nobody serves: to look at what it would do."""
        app = self.apps.get(key)
        if app is None:
            applyset = applyset_id(self._identity.hub_id, self._identity.cluster, key)
            applier = Applier(
                self._client,
                self._mapper,
                manager=self.manager,
                applyset=applyset,
                app=key,
                namespaces=self._namespaces,
                asked=self._asked,
            )
            app = App(
                key=key, applyset=applyset, manager=self.manager, applier=applier, rulebook=self._rulebook
            )
        return app

    def _newer(self, order: tuple[int, int]) -> dict[str, AssignedApp]:
        """What was kept with its app, and is newer than the document that was kept before a kill."""
        return {
            app.key: app.assigned
            for app in self.apps.values()
            if app.order > order and app.assigned is not None
        }
