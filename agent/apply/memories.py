"""What one app's writer remembers of each object that it applied. No requests here; a restart loses it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.apply.fields import FieldSet, own_fields
from agent.apply.overruled import overruled
from agent.apply.plan import Memory, older_or_same
from agent.apply.residue import told
from agent.contract.canonical import canonical_json

if TYPE_CHECKING:
    from agent.apply.diff import Change
    from agent.apply.inventory import Entry
    from agent.apply.plan import Live
    from agent.apply.prepare import Desired
    from agent.apply.result import ChangeEntry
    from agent.contract.manifest import Manifest, ObjectRef


class Memories:
    def __init__(self, manager: str) -> None:
        self._manager = manager
        self._memory: dict[ObjectRef, Memory] = {}
        self._fields: dict[ObjectRef, FieldSet] = {}
        self._refused: dict[ObjectRef, tuple[str, str, ChangeEntry]] = {}
        """Immutable fields: (digest, live version, verdict). Until one of both changes, nobody asks again."""
        self._residue: dict[ObjectRef, tuple[str, FieldSet]] = {}
        """What stayed when its field left the bundle: (uid, fields). Alone of all this, the inventory keeps it, too."""
        self._overruled: dict[ObjectRef, tuple[str, tuple[Change, ...]]] = {}
        """What admission made of our values: (uid, changes). A new process finds out by its first apply."""

    def get(self, ref: ObjectRef) -> Memory | None:
        return self._memory.get(ref)

    def digest_of(self, ref: ObjectRef) -> str:
        """The content last seen to be live, empty if that is not known."""
        memory = self._memory.get(ref)
        return memory.digest if memory is not None else ""

    def fields_of(self, ref: ObjectRef) -> FieldSet | None:
        """What the bundle sets in that object, though somebody else may own a part of it by now.

        The API server said so when it was last applied or compared; None before.
        """
        return self._fields.get(ref)

    def print_of(self, ref: ObjectRef, live: Manifest) -> str | None:
        """The fingerprint of that very state over what the bundle sets, if it is the remembered one."""
        memory, metadata = self._memory.get(ref), live["metadata"]
        same = (
            memory is not None
            and memory.fields is not None
            and memory.fields is self._fields.get(ref)
            and memory.resource_version == metadata.get("resourceVersion")
            and memory.uid == metadata.get("uid")
        )
        return memory.fingerprint if memory is not None and same else None

    def share(self, ref: ObjectRef, live: Manifest) -> None:
        """Use the field set of a cached object instead of an equal one: they are large."""
        fields = own_fields(live, self._manager)
        if fields is not None and self._fields.get(ref) == fields:
            self._fields[ref] = fields
            memory = self._memory.get(ref)
            if memory is not None and memory.fields == fields:
                self._memory[ref] = replace(memory, fields=fields)

    def forget(self, ref: ObjectRef) -> None:
        for known in (self._memory, self._fields, self._refused, self._residue, self._overruled):
            known.pop(ref, None)

    def applied(self, desired: Desired, result: Manifest, residue: FieldSet | None) -> None:
        """Take in what an apply left. `residue` is None where it tells nothing new of that."""
        self._refused.pop(desired.ref, None)
        memory = self._memory[desired.ref] = Memory.of(desired.digest, result, self._manager)
        self._fields[desired.ref] = memory.fields or {}
        if residue is not None:
            self._residue[desired.ref] = result["metadata"]["uid"], residue
        self.judge(desired, result)

    def judge(self, desired: Desired, result: Manifest) -> None:
        """Remember which of our values an apply, or a dry run of one, gave back as others."""
        found = overruled(desired.ref, desired.manifest, result, own_fields(result, self._manager) or {})
        self._overruled.pop(desired.ref, None)
        if found:
            self._overruled[desired.ref] = result["metadata"]["uid"], found

    def compared(self, ref: ObjectRef, fields: FieldSet) -> None:
        """What the bundle sets, by a dry run."""
        self._fields[ref] = fields

    def keep(self, desired: Desired, live: Live, fields: FieldSet | None = None) -> None:
        """Remember a state that is as wanted; never an older one than is remembered.

        `fields`: what the bundle sets in it; without it, what is known or, since it is as wanted, what we own.
        """
        if not isinstance(live, dict):
            return
        ref, memory, metadata = desired.ref, self._memory.get(desired.ref), live["metadata"]
        known = memory is not None and memory.digest == desired.digest and not desired.options.ignored
        if fields is None and known:
            fields = self._fields.get(ref)
        if fields is None:
            fields = own_fields(live, self._manager) or {}
        self._fields[ref] = fields
        if (
            memory is None
            or memory.digest != desired.digest
            or memory.uid != metadata["uid"]
            or not older_or_same(metadata["resourceVersion"], memory.resource_version)
        ):
            self._memory[ref] = Memory.of(desired.digest, live, self._manager, fields)

    def refuse(self, desired: Desired, entry: ChangeEntry) -> None:
        if entry.resource_version:
            self._refused[desired.ref] = (desired.digest, entry.resource_version, entry)

    def refused(self, desired: Desired, version: str) -> ChangeEntry | None:
        """The verdict on this very content over this very state; None: ask."""
        found = self._refused.get(desired.ref)
        asked = found is None or desired.options.recreate or not version
        return None if asked or found is None or found[:2] != (desired.digest, version) else found[2]

    def residue_of(self, ref: ObjectRef, live: Live) -> tuple[Change, ...]:
        """What is live otherwise than the bundle says, though nobody changed it.

        That is what stayed of fields that left, as far as no person took it away since, and what admission made.
        """
        if not isinstance(live, dict):
            return ()
        uid = live["metadata"]["uid"]
        made = self._overruled.get(ref)
        others = made[1] if made is not None and made[0] == uid else ()
        found = self._residue.get(ref)
        if found is None:
            return others
        left = told(ref, found[1], live) if uid == found[0] else ()
        if not left:
            del self._residue[ref]
        return left + others

    def recall(self, ref: ObjectRef, entry: Entry | None) -> None:
        """Take what an earlier process kept of an object's residue."""
        if entry is not None and entry.residue and ref not in self._residue:
            self._residue[ref] = entry.uid, json.loads(entry.residue)

    def residue_kept(self, ref: ObjectRef) -> str:
        """An object's residue as the inventory keeps it: names of fields, and no values."""
        found = self._residue.get(ref)
        return canonical_json(found[1]).decode() if found and found[1] else ""
