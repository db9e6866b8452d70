"""What the agent knows of one app: what is wanted, what was applied, what is to be said of it. No requests here.

Everything in it can be had again from the spoke's own API server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.apply.result import COMPLETED, MOVED, TAKEN, Action
from agent.contract.health import DriftMode, HealthState, SyncState, worst
from agent.contract.manifest import ObjectRef, ref_of
from agent.health.result import HEALTHY, HealthResult
from agent.link.backoff import Backoff
from agent.sync.fight import Fight
from agent.sync.objects import MISSING, UNTOUCHED, Objects
from agent.sync.rulebook import RuleBook
from agent.sync.status import Standing, drift_entry, report_of

if TYPE_CHECKING:
    from datetime import datetime

    from agent.apply.inventory import Inventory
    from agent.apply.result import ApplyResult, ChangeEntry
    from agent.contract.bundle import Bundle
    from agent.contract.wire import AppReport, AssignedApp, DriftEntry, Tombstone
    from agent.link.state import SavedApp


@dataclass(slots=True, kw_only=True)
class App(Objects):
    """One app's state in memory."""

    key: str
    applyset: str
    assigned: AssignedApp | None = None
    order: tuple[int, int] = (0, 0)
    """Of the document that first assigned it so."""
    tombstone: Tombstone | None = None
    orphan: bool = False
    deleted: bool = False
    """The tombstone was carried out."""

    saved: SavedApp | None = None
    """The release that is enforced, as it is kept on the spoke."""
    kept: SavedApp | None = None
    """What the spoke's store is known to hold: the same, once its write has succeeded."""
    bundle: Bundle | None = None
    """The same, decoded."""
    inventory_kept: Inventory | None = None
    """The inventory as the spoke's store has it."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One write of the inventory at a time: an older one must not come last."""
    inventory_lost: bool = False
    """The Secret did not read: nothing may be concluded from the empty inventory here."""
    lost_kinds: dict[tuple[str, str], str] = field(default_factory=dict)
    """(group, kind) -> version, if known, of what that one had, as far as it says."""
    coming: tuple[SavedApp, Bundle] | None = None
    """A release that is here and may not be enforced yet."""
    indexed: frozenset[ObjectRef] = frozenset()
    """What the app claims, as the index of owners knows it."""
    wished: frozenset[ObjectRef] = frozenset()
    """What it wants by the newest bundle that is known of it, as the index of owners knows it."""
    named: tuple[tuple[Bundle, frozenset[ObjectRef]], ...] = ()
    """What bundles name, made once for each: every round asks several times."""
    applied: str | None = None
    """The digest that was last applied in full by this process, or as was remembered."""

    sync: SyncState = SyncState.UNKNOWN
    message: str = ""
    held: str = ""
    drift: dict[ObjectRef, DriftEntry] = field(default_factory=dict)
    began: dict[ObjectRef, datetime] = field(default_factory=dict)
    """Since when an object differs that is not corrected."""
    tries: int = 0
    """How often this release failed for what time alone does not change."""
    fights: dict[ObjectRef, Fight] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.5, cap=60.0))
    obtaining: Backoff = field(default_factory=lambda: Backoff(base=0.5, cap=60.0))
    """Of a release that is assigned and cannot be had, whatever becomes of the one that is enforced meanwhile."""
    unreached: bool = False
    """That is so because no hub answered: the next answer of it ends the wait."""
    gated: bool = False
    """The release waits for its own objects to be Healthy."""
    rulebook: RuleBook = field(default_factory=RuleBook)
    in_round: bool = False

    @property
    def corrects(self) -> bool:
        return self.bundle is None or self.bundle.policy.drift.mode is DriftMode.CORRECT

    @property
    def settled(self) -> bool:
        """Whether what is enforced was applied in full."""
        return self.saved is not None and self.applied == self.saved.assigned.digest

    @property
    def health(self) -> HealthState:
        if self.judged_by.problem:
            return HealthState.UNKNOWN
        return worst(result.state for result in self.results.values())

    @property
    def arrived(self) -> bool:
        """Whether it is known what the app's assigned release consists of."""
        if self.assigned is None or self.tombstone is not None:
            return True
        known = {each.assigned.blob for each in (self.saved, self.coming and self.coming[0]) if each}
        return self.assigned.blob in known

    def claims(self) -> frozenset[ObjectRef]:
        """Every object that the app wants or is about to: more rather than less, since it keeps them from others.

        Where it is not known whether a kind takes the app's namespace, both references count.
        """
        claimed = self.desired
        for bundle in (self.bundle, self.coming[1] if self.coming else None):
            if bundle is not None and self.tombstone is None:
                claimed |= self.names(bundle)
        return claimed

    def names(self, bundle: Bundle) -> frozenset[ObjectRef]:
        """The references that the objects of one of its bundles may have."""
        for known, found in self.named:
            if known is bundle:
                return found
        found = claims_of(bundle)
        self.named = ((bundle, found), *self.named[:1])
        return found

    def wishes(self) -> frozenset[ObjectRef]:
        """What the app wants by the newest bundle that is known of it: what that leaves out, another may have."""
        newest = self.coming[1] if self.coming else self.bundle
        return frozenset() if newest is None or self.tombstone is not None else self.names(newest)

    def has(self, ref: ObjectRef) -> bool:
        """Whether the object is known to be there as this app's own."""
        entry = self.inventory.entries.get(ref)
        return entry is not None and entry.uid != ""

    def healthy_at_target(self) -> bool:
        """What those wait for that come after this app."""
        return (
            self.assigned is not None
            and self.applied == self.assigned.digest
            and self.sync is SyncState.SYNCED
            and self.health is HealthState.HEALTHY
        )

    def adopt(self, saved: SavedApp, bundle: Bundle) -> None:
        """Enforce this release from now on."""
        self.coming = None
        fresh = self.saved is None or self.saved.assigned.digest != saved.assigned.digest
        self.saved, self.bundle = saved, bundle
        self.named = tuple(each for each in self.named if each[0] is bundle)
        if fresh:
            self.drift.clear()
            self.fights.clear()
            self.began.clear()
            self.tries = 0
        self.learn_rules()
        self.locate()

    def learn_rules(self) -> None:
        """Take the bundle's health rules: what is known is judged anew by them."""
        judge = self.rulebook.judge(self.bundle.policy.health_rules if self.bundle else None)
        if judge is self.judged_by:
            return
        self.judged_by = judge
        for ref, obj in self.live.items():
            self.judge(ref, obj)

    def locate(self) -> None:
        """Which objects the bundle means: the inventory knows which kinds take the app's namespace."""
        if self.bundle is None:
            return
        default = self.bundle.policy.namespace
        located: set[ObjectRef] = set()
        for obj in self.bundle.objects:
            ref = ref_of(obj)
            scoped = ref._replace(namespace=default)
            located.add(scoped if not ref.namespace and scoped in self.inventory.entries else ref)
        self.keep_only(frozenset(located))
        for ref in [ref for ref in self.drift if ref not in located]:
            del self.drift[ref]

    def remember(self, inventory: Inventory) -> None:
        """Take a newer inventory. It tells what is where: from now on, events of these objects count."""
        known, self.inventory = self.inventory, inventory
        if known.entries.keys() != inventory.entries.keys():
            self.locate()

    def take(self, result: ApplyResult, *, now: float) -> None:
        """Learn from a round: live states, what had to be corrected, what could not be done."""
        again = self.settled
        self.remember(result.inventory)
        self.drift.clear()
        for entry in result.entries:
            ref = entry.ref
            if entry.reason == TAKEN:
                self.results[ref] = HealthResult(HealthState.MISSING, entry.message)
                continue
            if ref not in self.desired:
                continue
            self._learn(entry)
            if again and entry.action in {Action.CREATED, Action.CONFIGURED}:
                self._corrected(entry, now=now)
            elif entry.residue:
                paths = tuple(change.path for change in entry.residue)
                self.drift[ref] = drift_entry(ref, paths, changes=entry.residue)
            if ref not in self.recheck or entry.action in {Action.CREATED, Action.CONFIGURED}:
                self.changed.pop(ref, None)

    def _learn(self, entry: ChangeEntry) -> None:
        """One object's state after a round."""
        ref = entry.ref
        if entry.action is Action.SKIPPED and entry.reason == COMPLETED:
            self.results[ref] = HEALTHY
        elif entry.action is Action.SKIPPED and entry.reason == MOVED:
            self.results.pop(ref, None)
        elif entry.live is not None and entry.action is not Action.FAILED:
            self.see(ref, entry.live, ours=True)
        elif ref not in self.live:
            self.results[ref] = HealthResult(HealthState.MISSING, entry.message or MISSING.message)

    def _corrected(self, entry: ChangeEntry, *, now: float) -> None:
        """One object was not as it was left, and is again."""
        ref = entry.ref
        fight = self.fights.setdefault(ref, Fight())
        fight.corrected(now)
        touched = self.changed.get(ref, UNTOUCHED)
        self.drift[ref] = drift_entry(
            ref,
            touched.paths,
            manager=touched.manager,
            missing=entry.action is Action.CREATED,
            corrected=True,
            fighting=fight.fighting(now),
            at=touched.at,
            changes=touched.changes,
        )

    def end(self) -> None:
        """It is gone: nothing of it is known any more but that it was deleted."""
        self.saved = self.kept = self.bundle = self.coming = self.applied = self.inventory_kept = None
        self.desired, self.named = frozenset(), ()
        for known in (self.live, self.prints, self.results, self.pods, self.changed):
            known.clear()

    def report(self, *, now: datetime) -> AppReport:
        """What is to be said of the app now. Its release is the assigned one, its digest what runs."""
        floor, extra = HealthState.HEALTHY, ""
        if self.deleted:
            floor = HealthState.MISSING
        elif self.tombstone is not None:
            floor, extra = HealthState.PROGRESSING, "it is being deleted"
        elif self.applied is None and not self.results:
            floor, extra = HealthState.MISSING, "it was not applied yet"
        elif self.judged_by.problem:
            floor, extra = HealthState.UNKNOWN, self.judged_by.problem
        saved = self.saved.assigned.release if self.saved else 0
        standing = Standing(
            app=self.key,
            release=self.assigned.release if self.assigned else saved,
            sync=self.sync,
            digest=self.applied,
            message=self.message,
            drift=tuple(self.drift.values()),
            deleted=self.deleted,
            held=self.held,
            floor=floor,
            extra=extra,
        )
        return report_of(standing, {} if self.deleted else self.results, now=now)


def claims_of(bundle: Bundle) -> frozenset[ObjectRef]:
    """The references that a bundle's objects may have, whichever kinds turn out to take its namespace."""
    refs = [ref_of(obj) for obj in bundle.objects]
    scoped = [ref._replace(namespace=bundle.policy.namespace) for ref in refs if not ref.namespace]
    return frozenset((*refs, *scoped))
