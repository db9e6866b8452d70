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

from agent.apply.errors import InventoryCorrupt
from agent.apply.execute import Applier
from agent.apply.fields import trim
from agent.apply.inventory import from_secret
from agent.apply.plan import Unseen
from agent.contract.errors import AxletreeError
from agent.contract.health import SyncState
from agent.contract.names import agent_manager, applyset_id
from agent.link.backoff import Backoff
from agent.sync.app import App, Change
from agent.sync.keeper import Keeper
from agent.sync.pods import PodInspector
from agent.sync.queue import WorkQueue
from agent.sync.rounds import Outcome, Rounds
from agent.sync.rulebook import RuleBook
from agent.sync.watch import WatchSet

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.contract.wire import AssignedApp
    from agent.health.result import HealthResult
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource, RestMapper
    from agent.link.assignment import SignedAssignment
    from agent.link.bundles import BundleFetcher
    from agent.link.identity import Identity
    from agent.link.reports import Reporter
    from agent.link.state import SavedState, StateStore

logger = logging.getLogger(__name__)

_SLOW_ROUND = 1.0
"""Seconds after which a round is told to be under way: most end before, and cost one report instead of two."""
_SECOND_LOOK = 0.5
_CRASH_PAUSE = 30.0
_DOCUMENT_AFTER = 20.0
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
        self.apps: dict[str, App] = {}
        self.held: SignedAssignment | None = None
        self._kept: tuple[int, int] | None = None
        self._client, self._mapper, self._identity = client, mapper, identity
        self._store, self._reporter = store, reporter
        self._resync, self._concurrency = resync, concurrency
        self._manager = agent_manager(identity.hub_id, identity.cluster)
        self._by_applyset: dict[str, App] = {}
        self._queue: WorkQueue[str] = WorkQueue()
        self._wanted_by: dict[ObjectRef, set[str]] = {}
        self._dirty, self._urgent = asyncio.Event(), asyncio.Event()
        self._namespaces: set[str] = set()
        self._rulebook = RuleBook()
        self._keeper = Keeper(store, identity)
        self._looks: dict[tuple[str, ApiResource], asyncio.TimerHandle] = {}
        self.watches = WatchSet(
            client,
            transform=lambda obj: trim(obj, self._manager),
            on_change=self._on_change,
            on_synced=self._on_synced,
        )
        self._pods = PodInspector(client, on_verdict=self._on_pods, clock=_now)
        self._rounds = Rounds(
            client=client,
            mapper=mapper,
            keeper=self._keeper,
            watches=self.watches,
            identity=identity,
            waits_for=self._waits_for,
            elsewhere=self._elsewhere,
            arriving=self._arriving,
            claim=self._own,
        )

    @property
    def orphans(self) -> list[str]:
        return sorted(app.key for app in self.apps.values() if app.orphan)

    @property
    def order(self) -> tuple[int, int]:
        return self.held.order if self.held else (0, 0)

    def restore(self, state: SavedState) -> None:
        """Begin from what the spoke remembers, whether the hub is there or not."""
        self.held = state.assignment
        self._kept = state.assignment.order if state.assignment else None
        for key, saved in state.apps.items():
            app = self._app(key)
            app.assigned, app.order = saved.assigned, saved.order
            app.saved = app.kept = saved
            app.applied = saved.assigned.digest if saved.applied else None
            try:
                app.bundle = self._rounds.decoded(saved)
                app.learn_rules()
            except AxletreeError as error:
                logger.error("%s: %s", key, error)  # noqa: TRY400 - the message says it
                app.saved = app.kept = None
        for key, secret in state.inventories.items():
            app = self._app(key)
            try:
                app.inventory = app.inventory_kept = from_secret(secret)
            except InventoryCorrupt as error:
                logger.error("%s: %s", key, error)  # noqa: TRY400 - the message says it
                app.inventory_lost = True
        for app in self.apps.values():
            app.locate()
            self._own(app)
            self._queue.add(app.key)
        self._follow()

    def accept(self, signed: SignedAssignment) -> None:
        """A newer document: its apps, its deletions, and nothing from what it leaves out."""
        self.held = signed
        self._follow()
        self._dirty.set()
        if any(app.tombstone and not app.deleted for app in self.apps.values()):
            self._urgent.set()

    def linked(self, fetcher: BundleFetcher | None) -> None:
        """A session with the hub is there (or not): who needs a bundle may have it."""
        self._rounds.fetcher = fetcher
        if fetcher is not None:
            for app in self.apps.values():
                if app.assigned is not None and (app.saved is None or app.saved.assigned != app.assigned):
                    self._queue.add(app.key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.watches.run(), name="watches")
                group.create_task(self._keep_document(), name="keep assignment")
                group.create_task(self._keeper.run(), name="keep inventories")
                for number in range(self._concurrency):
                    group.create_task(self._work(), name=f"worker {number}")
        finally:
            self._queue.close()
            for timer in self._looks.values():
                timer.cancel()
            await self._pods.close()
            self._rulebook.close()
            with contextlib.suppress(AxletreeError, TimeoutError):
                await self._keeper.finish(seconds=_LAST_WRITES)
                async with asyncio.timeout(_LAST_WRITES):
                    if self.held is not None and self.held.order != self._kept:
                        await self._store.save_assignment(self.held)

    def _follow(self) -> None:
        """Bring the apps in line with the held document."""
        document = self.held.document if self.held else None
        if document is None:
            return
        wanted = {entry.app: entry for entry in document.apps} | self._newer()
        stones = {stone.app: stone for stone in document.tombstones if stone.app not in wanted}
        for key, entry in wanted.items():
            app = self._app(key)
            if (
                app.assigned != entry
                or app.orphan
                or app.tombstone
                or app.saved is None
                or app.applied is None
            ):
                app.assigned, app.tombstone, app.orphan, app.deleted = entry, None, False, False
                app.order = self.order
                app.backoff.reset()
                self._queue.add(key)
        for key, stone in stones.items():
            app = self._app(key)
            if app.tombstone != stone:
                app.tombstone, app.orphan = stone, False
                app.backoff.reset()
                self._queue.add(key)
        for key in [key for key in self.apps if key not in wanted and key not in stones]:
            app = self.apps[key]
            if app.deleted:
                self._forget(app)
                continue
            if not app.orphan:
                logger.warning("%s is no longer assigned, and nobody decided to delete it: it runs on", key)
                app.orphan, app.tombstone = True, None
                app.assigned = app.saved.assigned if app.saved else None
                self._queue.add(key)
        self._reporter.announce()

    def _newer(self) -> dict[str, AssignedApp]:
        """What was kept with its app, and is newer than the document that was kept before a kill."""
        return {
            app.key: app.assigned
            for app in self.apps.values()
            if app.order > self.order and app.assigned is not None
        }

    def _app(self, key: str) -> App:
        app = self.apps.get(key)
        if app is None:
            applyset = applyset_id(self._identity.hub_id, self._identity.cluster, key)
            applier = Applier(
                self._client,
                self._mapper,
                manager=self._manager,
                applyset=applyset,
                app=key,
                namespaces=self._namespaces,
            )
            app = App(
                key=key, applyset=applyset, manager=self._manager, applier=applier, rulebook=self._rulebook
            )
            self.apps[key] = self._by_applyset[applyset] = app
        return app

    def _forget(self, app: App) -> None:
        del self.apps[app.key], self._by_applyset[app.applyset]
        self._queue.forget(app.key)
        self._reporter.forget(app.key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._round(key)
            except Exception:
                logger.exception("%s: a round failed unexpectedly", key)
                self._queue.add(key, delay=_CRASH_PAUSE)
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
        self._own(app)
        self._look_at_pods(app)
        self._say(app)
        self._wake(app)
        if outcome.gone:
            self._end(app)
        elif app.suspicious():
            self._correct(app)
        else:
            pause = self._resync * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._queue.add(key, delay=pause if outcome.again is None else min(outcome.again, pause))

    async def _remove(self, app: App) -> Outcome:
        """Only what a kept document decided, and after those that must go first."""
        stone = app.tombstone
        assert stone is not None  # noqa: S101 - the caller looked
        app.sync = SyncState.DELETING
        if self._kept != self.order:
            app.message = "the decision is not kept on this cluster yet"
            return Outcome()  # its keeper wakes it
        first = [key for key in stone.before if key in self.apps and not self.apps[key].deleted]
        if first:
            app.message = f"waits for {', '.join(first)} to be gone"
            return Outcome()
        return await self._rounds.remove(app)

    def _end(self, app: App) -> None:
        """What is gone is told until the hub drops the tombstone; all else of it can be forgotten."""
        self.watches.forget(app.applyset)
        self._pods.leave_app(app.key)
        app.saved = app.kept = app.bundle = app.coming = app.applied = app.inventory_kept = None
        app.desired = frozenset()
        self._own(app)
        for known in (app.live, app.prints, app.results, app.pods, app.changed):
            known.clear()
        for other in self.apps.values():
            if other.tombstone is not None and app.key in other.tombstone.before:
                self._queue.add(other.key)

    async def _keep_document(self) -> None:
        """Write the newest document to the spoke, at once where it decides deletions, which wait for that.

        Releases do not: each is kept with its own app, and with the order of the document that assigned it. So a
        rush of documents costs one write after it.
        """
        backoff = Backoff(base=0.2, cap=30.0)
        while True:
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DOCUMENT_AFTER * random.uniform(0.7, 1.3)):  # noqa: S311 - jitter
                    await self._urgent.wait()
            self._urgent.clear()
            self._dirty.clear()
            held = self.held
            if held is None or held.order == self._kept:
                continue
            try:
                await self._store.save_assignment(held)
            except AxletreeError as error:
                pause = backoff.next()
                logger.warning("the assignment %s is not kept: %s; again in %.1f s", held.order, error, pause)
                await asyncio.sleep(pause)
                self._dirty.set()
                self._urgent.set()
                continue
            backoff.reset()
            self._kept = held.order
            for app in self.apps.values():
                if app.tombstone is not None and not app.deleted:
                    self._queue.add(app.key)

    def _on_change(self, applyset: str, ref: ObjectRef, old: Manifest, new: Manifest | None) -> None:
        app = self._by_applyset.get(applyset)
        if app is None or app.deleted:
            return
        before = app.results.get(ref)
        change = app.see(ref, new) if new is not None else app.lose(ref, str(old["metadata"].get("uid", "")))
        if change is Change.NOTHING:
            return
        if change is Change.DRIFT:
            if app.in_round:
                app.recheck.add(ref)
            elif app.tombstone is None:
                self._correct(app, ref)
        elif new is not None and app.applier.observe(app.inventory, new, ref) is not app.inventory:
            self._queue.add(app.key)  # a Job completed: to be kept before its TTL takes it
        if app.results.get(ref) != before:
            self._look_at_pods(app, ref)
            if not app.in_round:
                self._say(app)
                self._wake(app)
                if app.gated:
                    self._queue.add(app.key)

    def _correct(self, app: App, ref: ObjectRef | None = None) -> None:
        fight = app.fights.get(ref) if ref is not None else None
        now = asyncio.get_running_loop().time()
        delay = fight.delay(now) if fight is not None else 0.0
        self._queue.add(app.key, delay=delay)

    def _on_synced(self, resource: ApiResource) -> None:
        """What we know and a whole cache does not have is gone, unless our own write is just ahead of it."""
        for app in self.apps.values():
            if any(_of(ref, resource) for ref in app.live):
                loop = asyncio.get_running_loop()
                earlier = self._looks.pop((app.key, resource), None)
                if earlier is not None:
                    earlier.cancel()
                self._looks[app.key, resource] = loop.call_later(
                    _SECOND_LOOK, self._second_look, app, resource
                )

    def _second_look(self, app: App, resource: ApiResource) -> None:
        self._looks.pop((app.key, resource), None)
        for ref, known in list(app.live.items()):
            if _of(ref, resource) and self.watches.look(app.applyset, ref) is Unseen.ABSENT:
                self._on_change(app.applyset, ref, known, None)

    def _look_at_pods(self, app: App, *refs: ObjectRef) -> None:
        """Follow the Pods of what is not available, and of nothing else."""
        for ref in refs or tuple(app.results):
            live = app.live.get(ref)
            if live is not None and ref in app.progressing:
                self._pods.follow(app.key, ref, live)
            else:
                self._pods.leave(app.key, ref)

    def _on_pods(self, key: str, ref: ObjectRef, said: HealthResult | None) -> None:
        app = self.apps.get(key)
        if app is not None and app.hint(ref, said) and not app.in_round:
            self._say(app)

    def _waits_for(self, app: App) -> tuple[str, ...]:
        entry = app.assigned
        if entry is None:
            return ()
        first = (self.apps.get(key) for key in entry.after)
        return tuple(
            other.key
            for other in first
            if other is not None
            and other.tombstone is None
            and not other.orphan
            and not other.healthy_at_target()
        )

    def _wake(self, app: App) -> None:
        """Those that wait for this app look again, now that it is where it should be."""
        if not app.healthy_at_target():
            return
        for other in self.apps.values():
            if other.sync is SyncState.BLOCKED and other.assigned and app.key in other.assigned.after:
                self._queue.add(other.key)

    def _own(self, app: App) -> None:
        """Keep the index of who wants which object, by which a move between apps is no deletion."""
        claims = app.claims()
        for ref in app.indexed - claims:
            owners = self._wanted_by[ref]
            owners.discard(app.key)
            if not owners:
                del self._wanted_by[ref]
        for ref in claims - app.indexed:
            self._wanted_by.setdefault(ref, set()).add(app.key)
        app.indexed = claims

    def _arriving(self, app: App) -> tuple[str, ...]:
        return tuple(other.key for other in self.apps.values() if other is not app and not other.arrived)

    def _elsewhere(self, app: App) -> frozenset[ObjectRef]:
        return frozenset(ref for ref in app.inventory.entries if self._wanted_by.get(ref, set()) - {app.key})

    def _say_slow(self, app: App) -> None:
        if app.in_round and app.tombstone is None and not app.settled:
            app.sync, app.message = SyncState.SYNCING, ""
            self._say(app)

    def _say(self, app: App) -> None:
        if not app.orphan:
            self._reporter.put(app.report(now=_now()))


def _of(ref: ObjectRef, resource: ApiResource) -> bool:
    return (ref.group, ref.kind) == (resource.group, resource.kind)


def _now() -> datetime:
    return datetime.now(UTC)
