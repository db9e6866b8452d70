"""What is known of an app's objects, one by one: state, health, and what somebody changed. No requests here.

Both sources of an object's state, our own writes' answers and the watch, come together in `see`, which keeps
the newer one. The rest follows: health, and whether somebody changed what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from agent.apply.diff import Change as FieldChange
from agent.apply.diff import changes
from agent.apply.fields import differences, fingerprint, last_write, own_fields, trim
from agent.apply.inventory import EMPTY
from agent.apply.plan import older_or_same
from agent.contract.health import HealthState
from agent.health.result import HEALTHY, HealthResult
from agent.sync.rulebook import BUILT_IN, Judge

if TYPE_CHECKING:
    from datetime import datetime

    from agent.apply.execute import Applier
    from agent.apply.inventory import Inventory
    from agent.contract.manifest import Manifest, ObjectRef

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


@dataclass(slots=True, kw_only=True)
class Objects:
    """The objects of one app, as far as they are seen; `desired` are those that count."""

    manager: str
    applier: Applier
    inventory: Inventory = EMPTY
    desired: frozenset[ObjectRef] = frozenset()
    taken: dict[ObjectRef, str] = field(default_factory=dict)
    """Of those, what another app owns, with its key: neither applied nor looked at here."""

    live: dict[ObjectRef, Manifest] = field(default_factory=dict)
    prints: dict[ObjectRef, str | None] = field(default_factory=dict)
    """Of what the bundle sets in each object, as we left it."""
    results: dict[ObjectRef, HealthResult] = field(default_factory=dict)
    progressing: set[ObjectRef] = field(default_factory=set)
    """Objects whose own status says so, whatever their Pods add."""
    pods: dict[ObjectRef, HealthResult] = field(default_factory=dict)
    """What the Pods of a workload say beyond its own status."""
    changed: dict[ObjectRef, Touched] = field(default_factory=dict)
    """What somebody changed, as seen since the last correction."""
    recheck: set[ObjectRef] = field(default_factory=set)
    """Seen to change while a round was writing: ours or another's, which its end tells."""
    judged_by: Judge = BUILT_IN

    def keep_only(self, refs: frozenset[ObjectRef]) -> None:
        """From now on, these are the objects that count."""
        self.desired = refs
        for known in (self.live, self.prints, self.results, self.pods, self.changed):
            for ref in [ref for ref in known if ref not in refs]:
                del known[ref]
        self.progressing &= refs

    def leave(self, taken: dict[ObjectRef, str]) -> None:
        """What another app owns is not ours to look at."""
        self.taken = taken
        for ref in taken:
            self.live.pop(ref, None)
            self.prints.pop(ref, None)
            self.pods.pop(ref, None)
            self.changed.pop(ref, None)
            self.progressing.discard(ref)

    def see(self, ref: ObjectRef, obj: Manifest, *, ours: bool = False) -> Change:
        """Take in one state of an object. `ours`: it is what our own write, or our comparison, left."""
        if ref not in self.desired or ref in self.taken:
            return Change.NOTHING
        known = self.live.get(ref)
        if obj is known and not ours:
            return Change.NOTHING
        if ours:
            obj = trim(obj, self.manager)  # what a watch has is trimmed already
        old = known is not None and older_or_same(_version(obj), _version(known))
        print_ = self._print(ref, obj) if ours or (not old and ref in self.prints) else None
        if ours:
            self.prints[ref] = print_
        if old and known is not None:
            if _version(obj) == _version(known):
                self.live[ref] = obj  # the cache's own copy: one object in memory instead of two
                self.applier.share(ref, obj)
            return Change.NOTHING
        self.live[ref] = obj
        self.judge(ref, obj)
        if ref in self.prints and self.prints[ref] == print_:
            return Change.HEALTH
        if known is not None and not ours:
            self._note(ref, known, obj)
        return Change.DRIFT

    def ahead_of(self, ref: ObjectRef, obj: Manifest) -> bool:
        """Whether a newer state than this is known, as after a write that the watch has not told of yet."""
        known = self.live.get(ref)
        return (
            known is not None
            and _version(obj) != _version(known)
            and older_or_same(_version(obj), _version(known))
        )

    def _print(self, ref: ObjectRef, obj: Manifest) -> str | None:
        known = self.applier.print_of(ref, obj)
        return fingerprint(obj, self.manager, self.applier.fields_of(ref)) if known is None else known

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

    def doubt(self, ref: ObjectRef) -> None:
        """Have an object looked at again at the round's end, whatever its last known state is."""
        self.prints.pop(ref, None)
        self.recheck.add(ref)

    def lose(self, ref: ObjectRef, uid: str) -> Change:
        """An object is gone. One with another uid is not the one that we know: no news."""
        known = self.live.get(ref)
        if ref not in self.desired or ref in self.taken or (known is not None and _uid(known) != uid):
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


def _version(obj: Manifest) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _uid(obj: Manifest) -> str:
    return str(obj["metadata"].get("uid", ""))
