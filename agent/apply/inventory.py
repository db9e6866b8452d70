"""What one app put on the cluster, and its form as a Secret, the parent object of KEP-3659: pure.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.apply.errors import InventoryCorrupt
from agent.contract.manifest import ObjectRef
from agent.contract.names import (
    APPLYSET_GROUP_KINDS,
    APPLYSET_ID,
    APPLYSET_TOOLING,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest

TOOLING = "axletree/v1"
FORMAT = 1
_KEY = "inventory"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. `uid` is empty from before its first apply until the round's end."""

    ref: ObjectRef
    version: str
    uid: str = ""
    done: str = ""
    """Of a Job: the digest for which it completed. It does not run for that digest again."""
    residue: str = ""
    """Fields that left the bundle and stayed, as canonical JSON of FieldsV1: names, and no values."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """An immutable set of entries by reference."""

    entries: Mapping[ObjectRef, Entry] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Inventory:
        return cls(MappingProxyType({entry.ref: entry for entry in entries}))

    def union(self, entries: Iterable[Entry]) -> Inventory:
        """Add what is not there yet; what is keeps its uid."""
        added = [entry for entry in entries if entry.ref not in self.entries]
        return Inventory.of([*self.entries.values(), *added]) if added else self

    def updated(self, entries: Iterable[Entry]) -> Inventory:
        """Replace or add entries; the same object where nothing differs."""
        changed = [entry for entry in entries if self.entries.get(entry.ref) != entry]
        return Inventory.of([*self.entries.values(), *changed]) if changed else self

    def without(self, refs: Iterable[ObjectRef]) -> Inventory:
        gone = set(refs) & self.entries.keys()
        if not gone:
            return self
        return Inventory.of(entry for entry in self.entries.values() if entry.ref not in gone)

    def completed(self, ref: ObjectRef, digest: str) -> Inventory:
        """Record that the Job completed for this content."""
        entry = self.entries.get(ref)
        return self.updated([replace(entry, done=digest)]) if entry is not None else self


EMPTY = Inventory()


def to_secret(
    inventory: Inventory, *, name: str, namespace: str, applyset: str, labels: Mapping[str, str]
) -> Manifest:
    """The inventory as the API server stores it. Equal inventories give equal Secrets."""
    rows = [
        [
            e.ref.group,
            e.ref.kind,
            e.version,
            e.ref.namespace,
            e.ref.name,
            e.uid,
            *([e.done] if e.done or e.residue else []),
            *([e.residue] if e.residue else []),
        ]
        for e in sorted(inventory.entries.values(), key=lambda entry: entry.ref)
    ]
    document = json.dumps({"format": FORMAT, "entries": rows}, separators=(",", ":")).encode()
    kinds = sorted({str(ref.group_kind) for ref in inventory.entries})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "axletree.dev/inventory",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**labels, APPLYSET_ID: applyset},
            "annotations": {APPLYSET_TOOLING: TOOLING, APPLYSET_GROUP_KINDS: ",".join(kinds)},
        },
        "data": {_KEY: base64.b64encode(gzip.compress(document, compresslevel=6, mtime=0)).decode()},
    }


def from_secret(secret: Manifest) -> Inventory:
    """Read it back. Raises `InventoryCorrupt`: a broken inventory is never taken for an empty one."""
    name = (secret.get("metadata") or {}).get("name", "")
    try:
        document: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(secret["data"][_KEY])))
        if document["format"] != FORMAT:
            raise InventoryCorrupt(f"inventory {name}: format {document['format']} is not known here")
        return Inventory.of(_entry(row) for row in document["entries"])
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise InventoryCorrupt(f"inventory {name} cannot be read: {type(error).__name__}") from error


def _entry(row: list[str]) -> Entry:
    group, kind, version, namespace, name, uid, *rest = row
    return Entry(
        ref=ObjectRef(group=group, kind=kind, namespace=namespace, name=name),
        version=version,
        uid=uid,
        done=rest[0] if rest else "",
        residue=rest[1] if len(rest) > 1 else "",
    )
