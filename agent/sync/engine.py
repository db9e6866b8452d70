"""All apps of one agent: what is assigned, the queue of rounds, and what events mean. Level-triggered.

Any wake-up may be lost or repeated: a round starts from what is assigned and what is there. Absence from an
assignment is never a deletion: such an app runs on, and is told as an orphan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.adoption import MAX_ORPHANS
from agent.contract.errors import AxletreeError
from agent.contract.health import SyncState
from agent.logs import about
from agent.sync.adoption import Adoptions
from agent.sync.claims import Claims
from agent.sync.documents import DocumentKeeper
from agent.sync.exports import Exports
from agent.sync.inherited import Inherited
from agent.sync.keeper import Keeper
from agent.sync.objectsync import ObjectSyncs
from agent.sync.orphans import orphan_reports
from agent.sync.outcome import Outcome, broke
from agent.sync.queue import WorkQueue
from agent.sync.removal import all_removed, goes_after
from agent.sync.roster import Roster
from agent.sync.rounds import Rounds
from agent.sync.rulebook import RuleBook
from agent.sync.sightings import Sightings

if TYPE_CHECKING:
    from agent.contract.adoption import OrphanReport
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.link.assignment import SignedAssignment
    from agent.link.bundles import BundleFetcher
    from agent.link.identity import Identity
    from agent.link.reports import Reporter
    from agent.link.state import SavedState, StateStore
    from agent.sync.app import App

logger = logging.getLogger(__name__)

_SLOW_ROUND = 2.0
"""Seconds after which a round is told to be under way: most end before, and cost one report instead of two."""
_TELL_HELD = 1.0
"""Seconds within which the hub is told what is held: what comes of it is mostly told sooner, and says it, too."""
_CRASH_PAUSE = 30.0
_LAST_WRITES = 5.0


class Engine:
    """Runs the apps of one agent on one cluster. `run` until cancelled; `accept` what the hub wants."""

    def __init__(
        self,
        client: RestClient,
        mapper: RestMapper,
        *,
        identity: Identity,
        store: StateStore,
        reporter: Reporter,
        resync: float = 600.0,
        concurrency: int = 8,
    ) -> None:
        self._reporter = reporter
        self._resync, self._concurrency = resync, concurrency
        self._queue: WorkQueue[str] = WorkQueue()
        self._rulebook = RuleBook()
        self._roster = Roster(client, mapper, identity, rulebook=self._rulebook)
        self.apps = self._roster.apps
        self._claims = Claims(self.apps)
        self._documents = DocumentKeeper(store, on_kept=self._on_kept)
        self._keeper = Keeper(store, identity)
        self._sightings = Sightings(client, self._roster, self._queue, news=self._news, clock=_now)
        self.watches = self._sightings.watches
        self._exports = Exports(
            client, mapper, marking=lambda: self._rounds.obtainer.identity.mark_key, on_told=self._say
        )
        self.syncs = ObjectSyncs(self._keeper, self._claims, wake=self._queue.add, announce=reporter.announce)
        self._rounds = Rounds(
            client=client,
            mapper=mapper,
            keeper=self._keeper,
            watches=self.watches,
            identity=identity,
            waits_for=self._roster.waits_for,
            claims=self._claims,
            claim=self._own,
            syncs=self.syncs,
        )
        self.adoptions = Adoptions(
            client, mapper, self._roster, self._rounds.obtainer, announce=reporter.announce
        )
        self.inherited = Inherited(
            client, mapper, identity, wanted=self._claims.everything, announce=reporter.announce
        )

    @property
    def orphans(self) -> list[str]:
        return self._roster.orphans

    @property
    def orphan_reports(self) -> list[OrphanReport]:
        ours = orphan_reports(self.apps.values(), unassigned=self.held is None)
        return [*ours, *self.inherited.reports][:MAX_ORPHANS]

    @property
    def held(self) -> SignedAssignment | None:
        return self._documents.held

    @property
    def order(self) -> tuple[int, int]:
        return self._documents.order

    def restore(self, state: SavedState) -> None:
        """Begin from what the spoke remembers, whether the hub is there or not."""
        self._documents.restore(state.assignment)
        self._roster.restore(state, self._rounds.obtainer.decoded)
        for app in self.apps.values():
            self._own(app)
            self._queue.add(app.key)
        self.watches.expect(self._roster.by_applyset)
        self._follow()

    def accept(self, signed: SignedAssignment) -> None:
        """A newer document: its apps, its deletions, and nothing from what it leaves out."""
        self._documents.hold(signed)
        self._follow()
        self.syncs.follow(
            signed.document
        )  # not from a document that is remembered: it may be answered already
        self._documents.keep(urgent=any(app.tombstone and not app.deleted for app in self.apps.values()))

    def linked(self, fetcher: BundleFetcher | None) -> None:
        """A session with the hub is there (or not): who needs a bundle may have it."""
        self._rounds.obtainer.fetcher = fetcher
        if fetcher is not None:
            self.adoptions.look()
            for key in self._roster.lacking():
                self._queue.add(key)

    def reached(self) -> None:
        """The hub has just answered: what could not be fetched while it did not is asked for now."""
        for key in self._roster.reached():
            self._queue.add(key)

    @property
    def removed(self) -> bool:
        """Whether all that there was is deleted, by the decision that the cluster is removed."""
        return self.held is not None and all_removed(self.held.document, self.apps.values())

    @property
    def halted(self) -> str:
        """Why nothing is deleted here now; empty: it may be."""
        return self._claims.halted

    def halt(self, why: str) -> None:
        """Delete nothing while there is a reason not to; empty: there is none any more."""
        if self._claims.halted != why:
            self._claims.halted = why
            for key in self.apps:
                self._queue.add(key)

    def renewed(self, identity: Identity) -> None:
        """The same agent with other keys: what comes may be sealed to those."""
        self._rounds.obtainer.identity = identity

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.watches.run(), name="watches")
                group.create_task(self._documents.run(), name="keep assignment")
                group.create_task(self._keeper.run(), name="keep inventories")
                group.create_task(self.adoptions.run(), name="adoptions")
                group.create_task(self.inherited.run(), name="inherited")
                group.create_task(self._exports.run(), name="outputs")
                for number in range(self._concurrency):
                    group.create_task(self._work(), name=f"worker {number}")
        finally:
            self._queue.close()
            await self._sightings.close()
            self._rulebook.close()
            with contextlib.suppress(AxletreeError, TimeoutError):
                await self._keeper.finish(seconds=_LAST_WRITES)
                await self._documents.finish(seconds=_LAST_WRITES)

    def _follow(self) -> None:
        """Bring the apps in line with the held document."""
        if self.held is None:
            return
        due, gone = self._roster.follow(self.held.document, self.order)
        self.watches.expect(self._roster.by_applyset)
        for app in gone:
            self._queue.forget(app.key)
            self._reporter.forget(app.key)
        for key in due:
            self._queue.add(key)
        self.adoptions.follow(self.held.document)
        self._exports.follow(self.held.document, self.apps.values())
        self.inherited.follow(self.held.document)
        self._reporter.announce(within=_TELL_HELD)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                with about(application=key):
                    await self._round(key)
            except Exception as error:
                logger.exception("%s: a round failed unexpectedly", key, extra={"application": key})
                self._queue.add(key, delay=_CRASH_PAUSE)
                if (app := self.apps.get(key)) is not None and not app.deleted:
                    broke(app, error)
                    self._say(app)
            finally:
                self._queue.done(key)

    async def _round(self, key: str) -> None:
        app = self.apps.get(key)
        if app is None or app.deleted:
            return
        app.in_round = True
        slow = asyncio.get_running_loop().call_later(_SLOW_ROUND, self._say_slow, app)
        try:
            if app.tombstone is not None:
                outcome = await self._remove(app)
            else:
                outcome = await self._rounds.settle(app)
        finally:
            slow.cancel()
            app.in_round = False
        self.syncs.settle(app)
        self._own(app)
        self._sightings.look_at_pods(app)
        self._news(app)
        if outcome.gone:
            self._end(app)
        elif app.suspicious():
            self._sightings.correct(app)
        else:
            pause = self._resync * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._queue.add(key, delay=pause if outcome.again is None else min(outcome.again, pause))

    async def _remove(self, app: App) -> Outcome:
        """Only what a kept document decided, and after those that must go first."""
        app.sync = SyncState.DELETING
        waiting = goes_after(app, self.apps, kept=self._documents.kept)
        if waiting:
            app.message = waiting
            return Outcome()  # what it waits for wakes it
        return await self._rounds.remover.remove(app)

    def _end(self, app: App) -> None:
        """What is gone is told until the hub drops the tombstone; all else of it can be forgotten."""
        self._sightings.forget(app)
        app.end()
        self._own(app)
        for key in self._roster.to_go_after(app):
            self._queue.add(key)

    def _on_kept(self) -> None:
        """Deletions wait for their decision to be on the spoke."""
        for app in self.apps.values():
            if app.tombstone is not None and not app.deleted:
                self._queue.add(app.key)

    def _own(self, app: App) -> None:
        """Have an app's claims known; who wanted what it let go of may have it."""
        for key in self._claims.update(app):
            self._queue.add(key)

    def _news(self, app: App) -> None:
        """Tell of an app; those that wait for it look again, once it is where it should be."""
        self._say(app)
        self._exports.look(app)
        self.adoptions.look()
        if not app.healthy_at_target():
            return
        for key in self._roster.blocked_by(app):
            self._queue.add(key)

    def _say_slow(self, app: App) -> None:
        if app.in_round and app.tombstone is None and not app.settled:
            app.sync, app.message = SyncState.SYNCING, ""
            self._say(app)

    def _say(self, app: App) -> None:
        if not app.orphan:
            self._reporter.put(self._exports.completed(app, app.report(now=_now())))


def _now() -> datetime:
    return datetime.now(UTC)
