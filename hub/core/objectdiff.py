"""What differs between two renderings of an app, object by object, with secret values masked. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.secrets import SECRET_FIELDS
from agent.kube import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest

ADDED, CHANGED, REMOVED = "Added", "Changed", "Removed"
CONTEXT = 2
MAX_LINES = 400
_NOISE = 3
"""The lines of a unified diff before its first change: two file names and a position."""


@dataclass(frozen=True, slots=True)
class ObjectChange:
    ref: str
    """`apps/Deployment shop/web`."""
    action: str
    lines: tuple[str, ...] = ()
    """Of a change, a unified diff of the YAML; at most `MAX_LINES`."""

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"object": self.ref, "action": self.action}
        if self.lines:
            found["diff"] = list(self.lines)
        return found


def object_changes(before: Iterable[Manifest], after: Iterable[Manifest]) -> tuple[ObjectChange, ...]:
    """Added, changed and removed objects, by reference. Order and empty differences count for nothing."""
    old, new = {ref_of(obj): obj for obj in before}, {ref_of(obj): obj for obj in after}
    found = []
    for ref in sorted(old.keys() | new.keys()):
        if ref not in old:
            found.append(ObjectChange(ref, ADDED))
        elif ref not in new:
            found.append(ObjectChange(ref, REMOVED))
        elif old[ref] != new[ref]:
            found.append(ObjectChange(ref, CHANGED, _lines(*_masked(old[ref], new[ref]))))
    return tuple(found)


def ref_of(obj: Mapping[str, Any]) -> str:
    """`group/Kind namespace/name`: what an object is, whatever its version."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    metadata = obj.get("metadata") or {}
    kind = f"{group}/{obj.get('kind', '')}" if group else str(obj.get("kind", ""))
    namespace = metadata.get("namespace")
    return f"{kind} {namespace}/{metadata.get('name')}" if namespace else f"{kind} {metadata.get('name')}"


def _masked(before: Manifest, after: Manifest) -> tuple[Manifest, Manifest]:
    """A Secret's values as marks that say no more than which differ."""
    if after.get("kind") != "Secret" or after.get("apiVersion") != "v1":
        return before, after
    one, other = dict(before), dict(after)
    for field in SECRET_FIELDS:
        old, new = before.get(field) or {}, after.get(field) or {}
        if isinstance(old, dict) and old:
            one[field] = {key: _mark(value, new.get(key), "before") for key, value in old.items()}
        if isinstance(new, dict) and new:
            other[field] = {key: _mark(value, old.get(key), "after") for key, value in new.items()}
    return one, other


def _mark(value: object, other: object, when: str) -> str:
    return "(secret)" if value == other else f"(secret, {when})"


def _lines(before: Manifest, after: Manifest) -> tuple[str, ...]:
    one, other = yaml.dump(before).splitlines(), yaml.dump(after).splitlines()
    found = list(difflib.unified_diff(one, other, lineterm="", n=CONTEXT))[_NOISE - 1 :]
    if len(found) > MAX_LINES:
        found = [*found[:MAX_LINES], f"... {len(found) - MAX_LINES} lines more"]
    return tuple(found)
