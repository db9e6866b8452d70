"""What the agent knows of one app: what is wanted, what was applied, how each object is. No requests here.

Both sources of an object's state, our own writes' answers and the watch, come together in `see`, which keeps
the newer one. The rest follows: health, whether somebody changed what is ours, and the report.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from agent.apply.diff import Change as FieldChange
from agent.apply.diff import changes
from agent.apply.fields import differences, fingerprint, last_write, own_fields, trim
from agent.apply.inventory import EMPTY
from agent.apply.plan import older_or_same
from agent.apply.result import COMPLETED, Action
from agent.contract.health import DriftMode, HealthState, SyncState, worst
from agent.contract.manifest import ObjectRef, ref_of
from agent.health.result import HEALTHY, HealthResult
from agent.link.backoff import Backoff
from agent.sync.fight import Fight
from agent.sync.rulebook import BUILT_IN, Judge, RuleBook
from agent.sync.status import Standing, drift_entry, report_of

if TYPE_CHECKING:
    from datetime import datetime

    from agent.apply.execute import Applier
    from agent.apply.inventory import Inventory
    from agent.apply.result import ApplyResult
    from agent.contract.bundle import Bundle
    from agent.contract.manifest import Manifest
    from agent.contract.wire import AppReport, AssignedApp, DriftEntry, Tombstone
    from agent.link.state import SavedApp

MISSING = HealthResult(HealthState.MISSING, "it is not there")


class Change(Enum):
    """What a sighting of an object means for its app."""

    NOTHING = "Nothing"
    HEALTH = "Health"
    DRIFT = "Drift"
    """Something that the bundle sets may have changed."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What somebody changed of what the bundle sets, and who, as far as that was seen."""

    paths: tuple[str, ...] = ()
    manager: str = ""
    at: str = ""
    changes: tuple[FieldChange, ...] = ()


UNTOUCHED = Touched()


@dataclass(slots=True)
class App:
    """One app's state in memory; everything in it can be had again from the spoke's own API server."""

    key: str
    applyset: str
    manager: str
    applier: Applier
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
    inventory: Inventory = EMPTY
    inventory_kept: Inventory | None = None
    """The inventory as the spoke's store has it."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One write of the inventory at a time: an older one must not come last."""
    inventory_lost: bool = False
    """The Secret did not read: nothing may be concluded from the empty inventory here."""
    desired: frozenset[ObjectRef] = frozenset()
    coming: tuple[SavedApp, Bundle] | None = None
    """A release that is here and may not be enforced yet."""
    indexed: frozenset[ObjectRef] = frozenset()
    """What the app claims, as the engine's index of owners knows it."""
    applied: str | None = None
    """The digest that was last applied in full by this process, or as was remembered."""

    live: dict[ObjectRef, Manifest] = field(default_factory=dict)
    prints: dict[ObjectRef, str | None] = field(default_factory=dict)
    """Of what the bundle sets in each object, as we left it."""
    results: dict[ObjectRef, HealthResult] = field(default_factory=dict)
    progressing: set[ObjectRef] = field(default_factory=set)
    """Objects whose own status says so, whatever their Pods add."""
    pods: dict[ObjectRef, HealthResult] = field(default_factory=dict)
    """What the Pods of a workload say beyond its own status."""

    sync: SyncState = SyncState.UNKNOWN
    message: str = ""
    held: str = ""
    drift: dict[ObjectRef, DriftEntry] = field(default_factory=dict)
    changed: dict[ObjectRef, Touched] = field(default_factory=dict)
    """What somebody changed, as seen since the last correction."""
    began: dict[ObjectRef, datetime] = field(default_factory=dict)
    """Since when an object differs that is not corrected."""
    tries: int = 0
    """How often this release failed for what time alone does not change."""
    fights: dict[ObjectRef, Fight] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.5, cap=60.0))
    gated: bool = False
    """The release waits for its own objects to be Healthy."""
    rulebook: RuleBook = field(default_factory=RuleBook)
    judged_by: Judge = BUILT_IN
    in_round: bool = False
    recheck: set[ObjectRef] = field(default_factory=set)
    """Seen to change while a round was writing: ours or another's, which its end tells."""

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
        claimed = set(self.desired)
        for bundle in (self.bundle, self.coming[1] if self.coming else None):
            if bundle is not None and self.tombstone is None:
                claimed |= claims_of(bundle)
        return frozenset(claimed)

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
            scoped = replace(ref, namespace=default)
            located.add(scoped if not ref.namespace and scoped in self.inventory.entries else ref)
        self.desired = frozenset(located)
        for known in (self.live, self.prints, self.results, self.pods, self.drift, self.changed):
            for ref in [ref for ref in known if ref not in located]:
                del known[ref]
        self.progressing &= located

    def remember(self, inventory: Inventory) -> None:
        """Take a newer inventory. It tells what is where: from now on, events of these objects count."""
        self.inventory = inventory
        self.locate()

    def see(self, ref: ObjectRef, obj: Manifest, *, ours: bool = False) -> Change:
        """Take in one state of an object. `ours`: it is what our own write, or our comparison, left."""
        if ref not in self.desired:
            return Change.NOTHING
        known = self.live.get(ref)
        if obj is known and not ours:
            return Change.NOTHING
        obj = trim(obj, self.manager)
        old = known is not None and older_or_same(_version(obj), _version(known))
        print_ = self._print(ref, obj) if ours or not old else None
        if ours:
            self.prints[ref] = print_
        if old and known is not None:
            if _version(obj) == _version(known):
                self.live[ref] = obj  # the cache's own copy: one object in memory instead of two
                self.applier.share(ref, obj)
            return Change.NOTHING
        self.live[ref] = obj
        self.judge(ref, obj)
        if self.prints.get(ref, ...) == print_:
            return Change.HEALTH
        if known is not None and not ours:
            self._note(ref, known, obj)
        return Change.DRIFT

    def _print(self, ref: ObjectRef, obj: Manifest) -> str | None:
        return fingerprint(obj, self.manager, self.applier.fields_of(ref))

    def _note(self, ref: ObjectRef, known: Manifest, obj: Manifest) -> None:
        """Add what changed between two states: the next event may follow before anything is corrected."""
        fields = self.applier.fields_of(ref) or own_fields(known, self.manager) or {}
        before, paths = self.changed.get(ref, UNTOUCHED), differences(known, obj, fields)
        if paths:
            merged = tuple(dict.fromkeys((*before.paths, *paths)))
            told = changes(ref, wanted=known, live=obj, fields=fields)
            seen = {each.path for each in before.changes}
            values = (*before.changes, *(each for each in told if each.path not in seen))
            manager, at = last_write(obj, self.manager)
            self.changed[ref] = Touched(merged, before.manager or manager, before.at or at, values)

    def suspicious(self) -> bool:
        """At a round's end: whether something that changed meanwhile is not as the round left it."""
        refs, self.recheck = self.recheck & self.desired, set()
        found = False
        for ref in refs:
            live = self.live.get(ref)
            if live is None:
                found |= self.results.get(ref) != HEALTHY
            elif self._print(ref, live) != self.prints.get(ref):
                found = True
            else:
                self.changed.pop(ref, None)
        return found

    def lose(self, ref: ObjectRef, uid: str) -> Change:
        """An object is gone. One with another uid is not the one that we know: no news."""
        known = self.live.get(ref)
        if ref not in self.desired or (known is not None and _uid(known) != uid):
            return Change.NOTHING
        self.live.pop(ref, None)
        self.prints.pop(ref, None)
        self.pods.pop(ref, None)
        self.progressing.discard(ref)
        entry = self.inventory.entries.get(ref)
        if entry is not None and entry.done and self.results.get(ref) == HEALTHY:
            return Change.NOTHING  # a Job that had completed, taken by its TTL
        self.results[ref] = MISSING
        return Change.DRIFT

    def judge(self, ref: ObjectRef, obj: Manifest, *, now: datetime | None = None) -> None:
        """The object's health, made worse by what its Pods say while it is not there yet."""
        result = self.judged_by(obj, now=now)
        if result.state is HealthState.PROGRESSING:
            self.progressing.add(ref)
            result = self.pods.get(ref, result)
        else:
            self.progressing.discard(ref)
            self.pods.pop(ref, None)
        self.results[ref] = result

    def hint(self, ref: ObjectRef, said: HealthResult | None) -> bool:
        """What the Pods of a workload say now; gives whether its health changed."""
        live = self.live.get(ref)
        if live is None or ref not in self.progressing or self.pods.get(ref) == said:
            return False
        if said is None:
            self.pods.pop(ref, None)
        else:
            self.pods[ref] = said
        before = self.results.get(ref)
        self.judge(ref, live)
        return self.results.get(ref) != before

    def take(self, result: ApplyResult, *, now: float) -> None:
        """Learn from a round: live states, what had to be corrected, what could not be done."""
        again = self.settled
        self.remember(result.inventory)
        if again:
            self.drift.clear()
        for entry in result.entries:
            ref = entry.ref
            if ref not in self.desired:
                continue
            if entry.action is Action.SKIPPED and entry.reason == COMPLETED:
                self.results[ref] = HEALTHY
            elif entry.live is not None and entry.action is not Action.FAILED:
                self.see(ref, entry.live, ours=True)
            elif ref not in self.live:
                self.results[ref] = HealthResult(HealthState.MISSING, entry.message or MISSING.message)
            if again and entry.action in {Action.CREATED, Action.CONFIGURED}:
                fight = self.fights.setdefault(ref, Fight())
                fight.corrected(now)
                missing = entry.action is Action.CREATED
                touched = self.changed.get(ref, UNTOUCHED)
                self.drift[ref] = drift_entry(
                    ref,
                    touched.paths,
                    manager=touched.manager,
                    missing=missing,
                    corrected=True,
                    fighting=fight.fighting(now),
                    at=touched.at,
                    changes=touched.changes,
                )
            if ref not in self.recheck or entry.action in {Action.CREATED, Action.CONFIGURED}:
                self.changed.pop(ref, None)

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


def claims_of(bundle: Bundle) -> set[ObjectRef]:
    """The references that a bundle's objects may have, whichever kinds turn out to take its namespace."""
    refs = [ref_of(obj) for obj in bundle.objects]
    scoped = [replace(ref, namespace=bundle.policy.namespace) for ref in refs if not ref.namespace]
    return {*refs, *scoped}


def _version(obj: Manifest) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _uid(obj: Manifest) -> str:
    return str(obj["metadata"].get("uid", ""))
