"""One app's round: obtain the bundle, wait for what comes first, apply, prune, or take it all away.

Errors end a round and never the app: what ran before goes on, the reason is told, and the queue comes back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.apply.errors import HookFailed
from agent.apply.hooks import split
from agent.contract.bundle import ApplyPolicy, decode
from agent.contract.errors import ApiError, AxletreeError, TerminalError, TransientError
from agent.contract.health import DriftMode, SyncState
from agent.link.state import SavedApp
from agent.sync.alarms import alert, fight, since
from agent.sync.app import Change, claims_of
from agent.sync.fight import FORGET
from agent.sync.keeper import finished
from agent.sync.phases import HOOK_SECONDS, Phases, Run
from agent.sync.recover import recover_inventory
from agent.sync.status import drift_entry
from agent.sync.words import arriving_text, failures, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.apply.result import ApplyResult, Drift
    from agent.contract.bundle import Bundle
    from agent.contract.manifest import ObjectRef
    from agent.contract.wire import AssignedApp
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource, RestMapper
    from agent.link.bundles import BundleFetcher
    from agent.link.identity import Identity
    from agent.sync.app import App
    from agent.sync.keeper import Keeper
    from agent.sync.watch import WatchSet

logger = logging.getLogger(__name__)

ROUND_SECONDS = 60.0
"""One deadline for all that a round does on the API server."""
_VIEW_SECONDS = 2.0
_PENDING_SECONDS = 0.3
_GATED_SECONDS = 5.0
"""A wave that waits for health is looked at again at least so often, and when an object's health changes."""
_CONFIRM_SECONDS = 10.0
"""A deletion that a person has to confirm is looked at so often: what is to go is not watched."""
_TERMINAL_SECONDS = 60.0
"""A failure that only a person can end is looked at again after about so long."""


class PolicyUnknown(TerminalError):
    """An app is to be deleted and nobody knows as whom: not with the agent's own rights."""

    reason = "PolicyUnknown"


class Blocked(TransientError):
    """Apps that come first are not Healthy at what is assigned to them."""

    reason = "Blocked"

    def __init__(self, waiting: tuple[str, ...]) -> None:
        super().__init__(f"waits for {', '.join(waiting)} to be Healthy")


class HubAway(TransientError):
    """A bundle is needed and there is no session with the hub."""

    reason = "HubAway"


@dataclass(slots=True)
class Outcome:
    """When to come back, in seconds; None: when something happens."""

    again: float | None = None
    gone: bool = False
    """A deletion that is complete."""


@dataclass(slots=True)
class Rounds:
    """The parts that rounds share. `fetcher` is there while a session with the hub is."""

    client: RestClient
    mapper: RestMapper
    keeper: Keeper
    watches: WatchSet
    identity: Identity
    waits_for: Callable[[App], tuple[str, ...]]
    """Apps that an app must wait for now; empty: it may go."""
    elsewhere: Callable[[App], frozenset[ObjectRef]]
    """Objects of an app's inventory that other apps want."""
    arriving: Callable[[App], tuple[str, ...]]
    """Other apps of which nobody knows yet what they want: until then, nothing is pruned."""
    claim: Callable[[App], None]
    """Have an app's claims known to the others."""
    fetcher: BundleFetcher | None = None
    phases: Phases = field(init=False)

    def __post_init__(self) -> None:
        self.phases = Phases(self.client, self.mapper, self.keeper.save)

    async def settle(self, app: App) -> Outcome:
        """Bring one app to what is assigned, or keep it at what it has while that is not to be had."""
        problem: AxletreeError | None = None
        saving: asyncio.Task[None] | None = None
        try:
            saving = await self._obtain(app)
        except AxletreeError as error:
            problem = error
        try:
            if app.bundle is None or app.saved is None:
                return self._failed(app, problem) if problem else Outcome()
            if not app.saved.passed:
                waiting = self.waits_for(app)
                await finished(saving)
                if waiting:
                    return self._failed(app, Blocked(waiting))
                app.saved = replace(app.saved, passed=True)
                saving = self.keeper.save(app, app.saved)
            outcome = await self._bring(app, app.bundle, saving)
            await self._confirm(app, saving)
        except AxletreeError as error:
            return self._failed(app, error)
        return self._failed(app, problem) if problem else outcome

    async def remove(self, app: App) -> Outcome:  # noqa: PLR0911 - guards
        """Take an app away by its inventory, or forget it where the decision was to orphan its objects."""
        assert app.tombstone is not None  # noqa: S101 - the caller looked
        app.sync, app.message = SyncState.DELETING, ""
        try:
            if app.inventory_lost:
                await self._recover(app)
            others = self.arriving(app) if app.inventory.entries else ()
            if others:
                app.message = arriving_text(others)
                return Outcome(_PENDING_SECONDS)
            if app.inventory.entries and not app.tombstone.orphan:
                waiting = await self._hooks_before_removal(app)
                if waiting:
                    app.message = waiting
                    return Outcome(HOOK_SECONDS)
                result = await self._take_away(app)
                app.inventory = result.inventory
                if result.inventory.entries:
                    app.held = unconfirmed(result)
                    left = len(result.inventory.entries)
                    app.message = failures(result) or app.held or f"{left} objects are not gone yet"
                    if app.held and not result.failed:
                        return Outcome(_CONFIRM_SECONDS)
                    quick = not result.failed
                    pause = app.backoff.next(retry_after=result.retry_after)
                    return Outcome(min(pause, 5.0) + _PENDING_SECONDS if quick else pause)
            bundle = None if app.tombstone.orphan else app.bundle
            if bundle is not None and not await self.phases.clean(app, bundle):
                app.message = "what its hooks left is not gone yet"
                return Outcome(HOOK_SECONDS)
            await self.keeper.drop(app)
        except AxletreeError as error:
            outcome = self._failed(app, error)
            app.sync = SyncState.DELETING
            return outcome
        return Outcome(gone=True)

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

    def decoded(self, saved: SavedApp) -> Bundle:
        """The bundle in the clear, its hooks apart. Raises `BundleCorrupt`, `BundleTooLarge`, `ObjectInvalid`."""
        bundle = decode(saved.data, blob=saved.assigned.blob, private_key=self.identity.sealing_key)
        members, hooks = split(bundle.objects)
        return bundle.model_copy(update={"objects": members, "hooks": hooks})

    async def _obtain(self, app: App) -> asyncio.Task[None] | None:
        """Adopt the assigned release; gives the write that keeps it, which has begun.

        Where the bundle cannot be had, what is enforced stays, and the failure is the round's.
        """
        assigned, held = app.assigned, app.saved
        if assigned is None or (held is not None and held.assigned == assigned):
            return None if app.kept is held or held is None else self.keeper.save(app, held)
        if held is not None and held.assigned.blob == assigned.blob and app.bundle is not None:
            same = held.assigned.digest == assigned.digest
            passed, applied = same and held.passed, same and held.applied
            hooks = held.hooks if same else ()
            saved = SavedApp(
                assigned, held.data, passed=passed, applied=applied, order=app.order, hooks=hooks
            )
            app.adopt(saved, app.bundle)
            return self.keeper.save(app, saved)
        waiting = self.waits_for(app)
        saved, bundle = await self._fetch(app, assigned)
        if waiting and held is not None:
            raise Blocked(waiting)  # what is enforced goes on until the next one may
        saved = replace(saved, passed=not waiting)
        drops = bool(app.inventory.entries.keys() - claims_of(bundle))
        app.adopt(saved, bundle)
        saving = self.keeper.save(app, saved)
        if drops:
            await finished(saving)  # before anything is pruned by it
        return saving

    async def _fetch(self, app: App, assigned: AssignedApp) -> tuple[SavedApp, Bundle]:
        """The assigned release, decoded; its claims count from now on."""
        if app.coming is not None and app.coming[0].assigned == assigned:
            return app.coming
        if self.fetcher is None:
            raise HubAway(f"the bundle of release {assigned.release} is needed, and the hub is away")
        ahead = app.applier.look_ahead(app.bundle.policy) if app.bundle is not None else None
        if ahead is not None:
            self.keeper.track(ahead)
        data = await self.fetcher.fetch(assigned.blob)
        saved = SavedApp(assigned, data, passed=False, order=app.order)
        app.coming = saved, self.decoded(saved)
        self.claim(app)
        return app.coming

    async def _bring(self, app: App, bundle: Bundle, saving: asyncio.Task[None] | None) -> Outcome:
        loop = asyncio.get_running_loop()
        if app.inventory_lost:
            await self._recover(app)
        await self.watch(app)
        if app.inventory.entries and app.applied is None:
            await self.watches.wait(app.applyset, _VIEW_SECONDS)
        deadline = loop.time() + ROUND_SECONDS
        if app.settled and not app.corrects:
            return await self._compare(app, bundle, deadline)
        fresh = not app.settled
        app.gated = False
        if fresh and bundle.hooks:
            await finished(saving)  # what hooks add to it must not be overtaken
            held = await self._phase(app, bundle, self.phases.before)
            if held is not None:
                return held
        policy = bundle.policy
        others: tuple[str, ...] = ()
        if policy.prune and app.inventory.entries.keys() - claims_of(bundle):
            others = self.arriving(app)
            policy = policy.model_copy(update={"prune": not others})
        result = await app.applier.apply(
            bundle.objects,
            policy,
            inventory=app.inventory,
            save=lambda inventory: self.keeper.save_inventory(app, inventory, saving),
            deadline=deadline,
            view=lambda ref: self.watches.look(app.applyset, ref),
            elsewhere=self.elsewhere(app),
            gate=app.judged_by if fresh else None,
        )
        app.take(result, now=loop.time())
        self._catch_up(app)
        await self._note_jobs(app)
        await self.watch(app)
        app.held = result.held
        return await self._conclude(app, bundle, result, others=others, fresh=fresh)

    async def _conclude(  # noqa: PLR0911 - guards
        self, app: App, bundle: Bundle, result: ApplyResult, *, others: tuple[str, ...], fresh: bool
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
        if others:
            app.sync, app.message = SyncState.SYNCING, arriving_text(others)
            return Outcome(_PENDING_SECONDS)
        held = await self._phase(app, bundle, self.phases.after) if fresh and bundle.hooks else None
        if held is not None:
            return held
        app.sync, app.message = SyncState.SYNCED, ""
        app.applied = app.saved.assigned.digest if app.saved else None
        if result.unconfirmed:
            app.held = app.message = unconfirmed(result)
            return Outcome(_CONFIRM_SECONDS)
        if result.pending:
            app.message = f"{len(result.pending)} pruned objects are not gone yet"
            return Outcome(min(5.0, app.backoff.next()) + _PENDING_SECONDS)
        app.backoff.reset()
        app.tries = 0
        app.message = fight(app.drift.values())
        return Outcome(FORGET if app.message else None)

    async def _not_applied(self, app: App, bundle: Bundle, result: ApplyResult, *, fresh: bool) -> Outcome:
        app.sync, app.message = SyncState.FAILED, failures(result)
        pause = app.backoff.next(retry_after=result.retry_after)
        if fresh and not result.transient and await self.phases.failed(app, bundle):
            return Outcome(HOOK_SECONDS)
        if result.transient:
            return Outcome(pause)
        app.tries += 1
        if app.tries > bundle.policy.retry_limit:
            app.message = f"{app.message} (tried {app.tries} times)"
            return Outcome()  # a new release, drift and the slow resync come back to it
        return Outcome(max(pause, _TERMINAL_SECONDS))

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
        return Outcome(HOOK_SECONDS if waiting else _TERMINAL_SECONDS)

    def _catch_up(self, app: App) -> None:
        """See what the watch has: an event may have come before it was known that its object is the app's."""
        for ref in app.desired:
            live = self.watches.look(app.applyset, ref)
            if isinstance(live, dict) and app.see(ref, live) is Change.DRIFT:
                app.recheck.add(ref)

    async def _compare(self, app: App, bundle: Bundle, deadline: float) -> Outcome:
        """Drift that is told, or ignored, and not corrected."""
        # What is compared is what is there now: a change that comes meanwhile must look like one afterwards.
        seen = {ref: self.watches.look(app.applyset, ref) for ref in app.desired}
        found: tuple[Drift, ...] = ()
        if bundle.policy.drift.mode is DriftMode.ALERT:
            found = await app.applier.check(
                bundle.objects,
                bundle.policy,
                inventory=app.inventory,
                deadline=deadline,
                view=lambda ref: self.watches.look(app.applyset, ref),
            )
        for ref, live in seen.items():
            if isinstance(live, dict):
                app.see(ref, live, ours=True)
        app.changed.clear()
        app.drift = {
            each.ref: drift_entry(
                each.ref,
                each.paths,
                manager=each.manager,
                missing=each.missing,
                at=each.at,
                changes=each.changes,
            )
            for each in found
        }
        now = datetime.now(UTC)
        app.began = {ref: since(entry, app.began.get(ref), now=now) for ref, entry in app.drift.items()}
        message, again = alert(app.drift, app.began, now=now, after=bundle.policy.drift.alert_after)
        app.sync = SyncState.OUT_OF_SYNC if app.drift else SyncState.SYNCED
        app.message = message or (f"{len(app.drift)} objects differ from the bundle" if app.drift else "")
        app.backoff.reset()
        return Outcome(again)

    async def _confirm(self, app: App, saving: asyncio.Task[None] | None) -> None:
        """Say Synced only of what is kept: a killed agent would otherwise go back on its word."""
        await finished(saving)
        if app.saved is not None and app.settled and not app.corrects and not app.saved.applied:
            app.saved = replace(app.saved, applied=True)
            await finished(self.keeper.save(app, app.saved))

    async def _hooks_before_removal(self, app: App) -> str:
        """PreDelete hooks; gives what is waited for."""
        if app.bundle is None and app.saved is not None:
            app.bundle = self.decoded(app.saved)
        return "" if app.bundle is None else await self.phases.before_removal(app, app.bundle)

    async def _take_away(self, app: App) -> ApplyResult:
        if app.bundle is None:
            raise PolicyUnknown("its bundle is not there, so that nobody knows as whom to delete its objects")
        policy: ApplyPolicy = app.bundle.policy
        return await app.applier.delete_all(
            app.inventory,
            policy,
            save=lambda inventory: self.keeper.save_inventory(app, inventory, None),
            deadline=asyncio.get_running_loop().time() + ROUND_SECONDS,
            elsewhere=self.elsewhere(app),
        )

    async def _note_jobs(self, app: App) -> None:
        """Keep which Jobs ran to their end: they do not run again for the same content."""
        inventory = app.inventory
        for ref, live in app.live.items():
            inventory = app.applier.observe(inventory, live, ref)
        if inventory is not app.inventory:
            await self.keeper.save_inventory(app, inventory, None)

    async def _recover(self, app: App) -> None:
        """Make an inventory that does not read anew, from what carries our label and is ours."""
        kinds: Mapping[tuple[str, str], str] = {
            (obj["apiVersion"].rpartition("/")[0], obj["kind"]): obj["apiVersion"].rpartition("/")[2]
            for obj in (app.bundle.objects if app.bundle else ())
        }
        app.inventory = await recover_inventory(
            self.client, self.mapper, applyset=app.applyset, manager=app.manager, kinds=kinds
        )
        app.inventory_lost = False

    def _failed(self, app: App, error: AxletreeError) -> Outcome:
        """Report and come back; how soon depends on whether time alone may help."""
        app.message = f"{error.reason}: {error}"
        if isinstance(error, Blocked | HubAway):
            app.sync = SyncState.BLOCKED if isinstance(error, Blocked) else SyncState.SYNCING
            return Outcome()  # woken by what it waits for
        app.sync = SyncState.FAILED
        logger.info("%s: %s", app.key, app.message)
        transient = isinstance(error, TransientError) or (isinstance(error, ApiError) and error.transient)
        retry_after = error.retry_after if isinstance(error, TransientError | ApiError) else None
        pause = app.backoff.next(retry_after=retry_after)
        return Outcome(pause if transient else max(pause, _TERMINAL_SECONDS))
