"""One app's round: obtain the release, wait for what comes first, run its hooks, apply and prune.

Errors end a round and never the app: what ran before goes on, the reason is told, and the queue comes back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.apply.errors import HookFailed, InventoryCorrupt
from agent.apply.plan import Unseen
from agent.contract.errors import ApiError, AxletreeError, TransientError
from agent.contract.health import SyncState
from agent.sync.alarms import fight, residual
from agent.sync.compare import compare, prune_rest
from agent.sync.fight import FORGET
from agent.sync.keeper import finished
from agent.sync.objects import Change
from agent.sync.obtain import Obtainer
from agent.sync.outcome import (
    CONFIRM_SECONDS,
    PENDING_SECONDS,
    ROUND_SECONDS,
    TERMINAL_SECONDS,
    Blocked,
    Outcome,
    failed,
    unobtained,
)
from agent.sync.phases import HOOK_SECONDS, Phases, Run
from agent.sync.recover import recover_inventory
from agent.sync.removal import Remover
from agent.sync.words import failures, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.apply.result import ApplyResult
    from agent.contract.bundle import Bundle
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource, RestMapper
    from agent.link.identity import Identity
    from agent.sync.app import App
    from agent.sync.claims import Claims
    from agent.sync.keeper import Keeper
    from agent.sync.objectsync import ObjectSyncs
    from agent.sync.watch import WatchSet

_VIEW_SECONDS = 2.0
_GATED_SECONDS = 5.0
"""A wave that waits for health is looked at again at least so often, and when an object's health changes."""


@dataclass(slots=True)
class Rounds:
    """The parts that rounds share."""

    client: RestClient
    mapper: RestMapper
    keeper: Keeper
    watches: WatchSet
    identity: Identity
    waits_for: Callable[[App], tuple[str, ...]]
    """Apps that an app must wait for now; empty: it may go."""
    claims: Claims
    claim: Callable[[App], None]
    """Have an app's claims known to the others."""
    syncs: ObjectSyncs
    phases: Phases = field(init=False)
    obtainer: Obtainer = field(init=False)
    remover: Remover = field(init=False)

    def __post_init__(self) -> None:
        self.phases = Phases(self.client, self.mapper, self.keeper.save)
        self.obtainer = Obtainer(self.keeper, self.identity, self.waits_for, self.claim)
        self.remover = Remover(self.keeper, self.claims, self.phases, self.obtainer.decoded, self._recover)

    async def settle(self, app: App) -> Outcome:
        """Bring one app to what is assigned, or keep it at what it has while that is not to be had."""
        problem: AxletreeError | None = None
        saving: asyncio.Task[None] | None = None
        try:
            saving = await self.obtainer.obtain(app)
            app.obtaining.reset()
            app.unreached = False
        except AxletreeError as error:
            problem = error
        try:
            if app.bundle is None or app.saved is None:
                return unobtained(app, problem) if problem else Outcome()
            if not app.saved.passed:
                waiting = self.waits_for(app)
                await finished(saving)
                if waiting:
                    return failed(app, Blocked(waiting))
                app.saved = replace(app.saved, passed=True)
                saving = self.keeper.save(app, app.saved)
            await self.syncs.serve(app, app.bundle)
            outcome = await self._bring(app, app.bundle, saving)
            await self._confirm(app, saving)
            await self.syncs.serve(app, app.bundle)  # what waited for the release that is applied now
        except AxletreeError as error:
            return failed(app, error)
        return unobtained(app, problem) if problem else outcome

    async def watch(self, app: App) -> None:
        """Watch every kind of the app that the API server has by now."""
        versions = {(obj["apiVersion"], obj["kind"]) for obj in app.bundle.objects} if app.bundle else set()
        known = {(version.rpartition("/")[0], kind) for version, kind in versions}
        for ref, entry in app.inventory.entries.items():
            if (ref.group, ref.kind) not in known:
                versions.add((f"{ref.group}/{entry.version}" if ref.group else entry.version, ref.kind))
        kinds: list[ApiResource] = []
        for version, kind in sorted(versions):
            try:
                resource = await self.mapper.resource(version, kind)
            except (TransientError, ApiError):
                continue  # the round says so, and the next one looks again
            if "watch" in resource.verbs:
                kinds.append(resource)
        self.watches.want(app.applyset, kinds)

    async def _bring(self, app: App, bundle: Bundle, saving: asyncio.Task[None] | None) -> Outcome:
        loop = asyncio.get_running_loop()
        if app.inventory_lost:
            await self._recover(app)
        if app.inventory.entries:  # else one list afterwards tells as much as an event for each new object
            await self.watch(app)
            if app.applied is None:
                await self.watches.wait(app.applyset, _VIEW_SECONDS)
        deadline = loop.time() + ROUND_SECONDS
        app.leave(self.claims.taken(app))
        if app.settled and not app.corrects:
            told = await compare(app, bundle, self.watches, deadline=deadline)
            rest = await prune_rest(app, bundle, claims=self.claims, keeper=self.keeper, deadline=deadline)
            return Outcome(min((each for each in (told.again, rest) if each is not None), default=None))
        fresh = not app.settled
        app.gated = False
        if fresh and bundle.hooks:
            await finished(saving)  # what hooks add to it must not be overtaken
            held = await self._phase(app, bundle, self.phases.before)
            if held is not None:
                return held
        policy = bundle.policy
        unsettled = ""
        if policy.prune and app.inventory.entries.keys() - app.names(bundle):
            unsettled = self.claims.unsettled(app)
            policy = policy.model_copy(update={"prune": not unsettled})
        moving = app.taken.keys() - app.wished
        result = await app.applier.apply(
            bundle.objects,
            policy,
            inventory=app.inventory,
            save=lambda inventory: self.keeper.save_inventory(app, inventory, saving),
            deadline=deadline,
            view=lambda ref: self.watches.look(app.applyset, ref),
            elsewhere=self.claims.elsewhere(app),
            taken=app.taken,
            moving=moving,
            gate=app.judged_by if fresh else None,
        )
        app.take(result, now=loop.time())
        await self.watch(app)
        self._catch_up(app)
        await self._note_jobs(app)
        app.held = result.held
        return await self._conclude(app, bundle, result, unsettled=unsettled, fresh=fresh)

    async def _conclude(  # noqa: PLR0911 - guards
        self, app: App, bundle: Bundle, result: ApplyResult, *, unsettled: str, fresh: bool
    ) -> Outcome:
        """What a round's result means for the release, and when to come back."""
        if result.held:
            app.sync, app.message = SyncState.OUT_OF_SYNC, f"held: {result.held}"
            return Outcome()
        if not result.ok:
            return await self._not_applied(app, bundle, result, fresh=fresh)
        if result.waiting:
            app.gated = True
            app.sync, app.message = SyncState.SYNCING, f"the next wave waits for {result.waiting}"
            return Outcome(_GATED_SECONDS)
        if unsettled:
            app.sync, app.message = SyncState.SYNCING, unsettled
            return Outcome(CONFIRM_SECONDS if self.claims.halted else PENDING_SECONDS)
        held = await self._phase(app, bundle, self.phases.after) if fresh and bundle.hooks else None
        if held is not None:
            return held
        app.sync, app.message = SyncState.SYNCED, ""
        app.applied = app.saved.assigned.digest if app.saved else None
        if result.unconfirmed:
            app.held = app.message = unconfirmed(result)
            return Outcome(CONFIRM_SECONDS)
        if result.pending:
            app.message = f"{len(result.pending)} pruned objects are not gone yet"
            return Outcome(min(5.0, app.backoff.next()) + PENDING_SECONDS)
        app.backoff.reset()
        app.tries = 0
        fighting = fight(app.drift.values())
        app.message = fighting or residual(app.drift.values())
        return Outcome(FORGET if fighting else None)

    async def _not_applied(self, app: App, bundle: Bundle, result: ApplyResult, *, fresh: bool) -> Outcome:
        app.sync, app.message = SyncState.FAILED, failures(result)
        pause = app.backoff.next(retry_after=result.retry_after)
        if fresh and not result.transient and await self.phases.failed(app, bundle):
            return Outcome(HOOK_SECONDS)
        if result.transient:
            return Outcome(pause)
        app.tries += 1
        if app.tries > bundle.policy.retry_limit:
            often = "once" if app.tries == 1 else f"{app.tries} times"
            app.message = f"{app.message} (tried {often})"
            return Outcome()  # a new release, drift and the slow resync come back to it
        return Outcome(max(pause, TERMINAL_SECONDS))

    async def _phase(self, app: App, bundle: Bundle, phase: Run) -> Outcome | None:
        """Run hooks; None once they are over."""
        try:
            waiting = await phase(app, bundle)
        except HookFailed as error:
            return await self._give_up(app, bundle, str(error))
        if not waiting:
            return None
        app.gated = True
        app.sync, app.message = SyncState.SYNCING, waiting
        return Outcome(HOOK_SECONDS)

    async def _give_up(self, app: App, bundle: Bundle, message: str) -> Outcome:
        """A hook failed: the release is not Synced, and is not tried again before there is another."""
        app.sync, app.message = SyncState.FAILED, f"{HookFailed.reason}: {message}"
        waiting = await self.phases.failed(app, bundle)
        return Outcome(HOOK_SECONDS if waiting else TERMINAL_SECONDS)

    def _catch_up(self, app: App) -> None:
        """See what the watch has: an event may have come before it was known that its object is the app's.

        Once its kinds are watched for the app: from then on, events are told. Before, one is not, and where the kind is
        watched for another app already, no list follows that would tell of it.
        """
        for ref in app.desired:
            live = self.watches.look(app.applyset, ref)
            if isinstance(live, dict):
                if app.see(ref, live) is Change.DRIFT:
                    app.recheck.add(ref)
            elif live is Unseen.ABSENT and ref in app.recheck:
                app.doubt(ref)  # it may have been deleted again before this round's own answer was looked at

    async def _confirm(self, app: App, saving: asyncio.Task[None] | None) -> None:
        """Say Synced only of what is kept: a killed agent would otherwise go back on its word."""
        await finished(saving)
        if app.saved is not None and app.settled and not app.corrects and not app.saved.applied:
            app.saved = replace(app.saved, applied=True)
            await finished(self.keeper.save(app, app.saved))

    async def _note_jobs(self, app: App) -> None:
        """Keep which Jobs ran to their end: they do not run again for the same content."""
        inventory = app.inventory
        for ref, live in app.live.items():
            inventory = app.applier.observe(inventory, live, ref)
        if inventory is not app.inventory:
            await self.keeper.save_inventory(app, inventory, None)

    async def _recover(self, app: App) -> None:
        """Make an inventory that does not read anew, from what carries our label and is ours."""
        kinds = dict(app.lost_kinds)
        for obj in app.bundle.objects if app.bundle else ():
            kinds[obj["apiVersion"].rpartition("/")[0], obj["kind"]] = obj["apiVersion"].rpartition("/")[2]
        if app.bundle is None and not kinds:
            raise InventoryCorrupt(
                "its inventory and its bundle are both lost: nobody knows which kinds its objects are of"
            )
        app.inventory = await recover_inventory(
            self.client, self.mapper, applyset=app.applyset, manager=app.manager, kinds=kinds
        )
        app.inventory_lost = False
