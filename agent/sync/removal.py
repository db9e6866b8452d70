"""Taking an app away by its inventory, and when: only what a kept decision names, and never with rights of our own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.bundle import ApplyPolicy
from agent.contract.errors import AxletreeError
from agent.contract.health import SyncState
from agent.contract.wire import TombstoneReason
from agent.sync.outcome import (
    CONFIRM_SECONDS,
    PENDING_SECONDS,
    ROUND_SECONDS,
    Outcome,
    PolicyUnknown,
    failed,
)
from agent.sync.phases import HOOK_SECONDS
from agent.sync.words import failures, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from agent.apply.result import ApplyResult
    from agent.contract.bundle import Bundle
    from agent.contract.wire import AssignmentDocument, Tombstone
    from agent.link.state import SavedApp
    from agent.sync.app import App
    from agent.sync.claims import Claims
    from agent.sync.keeper import Keeper
    from agent.sync.phases import Phases


@dataclass(slots=True)
class Remover:
    """Carries out tombstones."""

    keeper: Keeper
    claims: Claims
    phases: Phases
    decoded: Callable[[SavedApp], Bundle]
    recover: Callable[[App], Awaitable[None]]
    """Make a lost inventory anew."""

    async def remove(self, app: App) -> Outcome:  # noqa: PLR0911 - guards
        """Take an app away by its inventory, or forget it where the decision was to orphan its objects."""
        stone = app.tombstone
        assert stone is not None  # noqa: S101 - the caller looked
        app.sync, app.message = SyncState.DELETING, ""
        try:
            if app.inventory_lost or (app.saved is not None and app.inventory_kept is None):
                await self.recover(app)  # where there is no inventory, something may be there all the same
            unsettled = self.claims.unsettled(app) if app.inventory.entries else ""
            if unsettled:
                app.message = unsettled
                return Outcome(CONFIRM_SECONDS if self.claims.halted else PENDING_SECONDS)
            if app.inventory.entries and not stone.orphan:
                waiting = await self._hooks_before_removal(app)
                if waiting:
                    app.message = waiting
                    return Outcome(HOOK_SECONDS)
                if app.tombstone is not stone:
                    return Outcome()  # somebody decided otherwise meanwhile: the next round knows what
                result = await self._take_away(app, stone)
                app.inventory = result.inventory
                if result.inventory.entries:
                    return _left(app, result)
            bundle = None if stone.orphan else app.bundle
            if bundle is not None and not await self.phases.clean(app, bundle):
                app.message = "what its hooks left is not gone yet"
                return Outcome(HOOK_SECONDS)
            if app.tombstone is not stone:
                return Outcome()
            await self.keeper.drop(app)
        except AxletreeError as error:
            outcome = failed(app, error)
            app.sync = SyncState.DELETING
            return outcome
        return Outcome(gone=True)

    async def _hooks_before_removal(self, app: App) -> str:
        """PreDelete hooks; gives what is waited for."""
        if app.bundle is None and app.saved is not None:
            app.bundle = self.decoded(app.saved)
        return "" if app.bundle is None else await self.phases.before_removal(app, app.bundle)

    @staticmethod
    def _policy(app: App, stone: Tombstone) -> ApplyPolicy:
        """The bundle's; without it, as the person who decided said: never with the agent's own rights."""
        if app.bundle is not None:
            return app.bundle.policy
        if not stone.service_account:
            raise PolicyUnknown("its bundle is not there, so that nobody knows as whom to delete its objects")
        return ApplyPolicy(service_account=stone.service_account)

    async def _take_away(self, app: App, stone: Tombstone) -> ApplyResult:
        policy = self._policy(app, stone)
        return await app.applier.delete_all(
            app.inventory,
            policy,
            save=lambda inventory: self.keeper.save_inventory(app, inventory, None),
            deadline=asyncio.get_running_loop().time() + ROUND_SECONDS,
            elsewhere=self.claims.elsewhere(app),
            decided=stone.reason is not TombstoneReason.DROPPED,
        )


def _left(app: App, result: ApplyResult) -> Outcome:
    """Some of it is still there: why, and when it is looked at again."""
    app.held = unconfirmed(result)
    app.message = failures(result) or app.held or f"{len(result.inventory.entries)} objects are not gone yet"
    if app.held and not result.failed:
        return Outcome(CONFIRM_SECONDS)
    pause = app.backoff.next(retry_after=result.retry_after)
    return Outcome(pause if result.failed else min(pause, 5.0) + PENDING_SECONDS)


def goes_after(app: App, apps: Mapping[str, App], *, kept: bool) -> str:
    """What an app's deletion waits for; empty: it may begin. `kept`: the decision is on the spoke."""
    if not kept:
        return "the decision is not kept on this cluster yet"
    before = app.tombstone.before if app.tombstone is not None else ()
    first = [key for key in before if key in apps and not apps[key].deleted]
    return f"waits for {', '.join(first)} to be gone" if first else ""


def all_removed(document: AssignmentDocument, apps: Iterable[App]) -> bool:
    """Whether all that there was is deleted, by the decision that the cluster is removed."""
    if document.apps:
        return False
    stones = document.tombstones
    # A hub that does not say that the cluster leaves says so by the reasons of its decisions.
    told = bool(stones) and all(each.reason is TombstoneReason.CLUSTER_REMOVED for each in stones)
    return (document.leaving or told) and all(app.deleted for app in apps)
