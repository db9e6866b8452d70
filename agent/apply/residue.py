"""What stays of a field that left the bundle: an API server may keep the value and say nothing. Pure.

Immutable fields are mostly refused when they change; some are put back from the old object instead (a Service's
addresses), so that the apply succeeds and the object is not what its bundle would make. What another manager owns,
and what any new object would get by default, is no residue.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.apply.diff import MAX_CHANGES, change
from agent.apply.fields import ABSENT, FieldSet, differing, own_fields, path_text, project, selects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.apply.diff import Change
    from agent.contract.manifest import Manifest, ObjectRef

_STATUS = "status"
_OF_LISTS = frozenset({"k:", "v:"})


def removed_fields(before: FieldSet | None, after: Manifest, manager: str) -> FieldSet:
    """What `manager` owned before and nobody owns now."""
    left: FieldSet = before or {}
    left = _less(left, own_fields(after, manager) or {})
    for entry in after["metadata"].get("managedFields") or ():
        if entry.get("subresource") != _STATUS:
            left = _less(left, entry.get("fieldsV1") or {})
    return {key: value for key, value in left.items() if key != "f:metadata"}


def stays(removed: FieldSet, after: Manifest) -> bool:
    """Whether anything of it is still there."""
    return bool(removed) and _holds(project(after, removed))


def residue(removed: FieldSet, *, after: Manifest, fresh: Manifest) -> FieldSet:
    """Of the fields that left, those that are there, and otherwise than in a new object; at most `MAX_CHANGES`."""
    found = islice(differing(fresh, after, removed), MAX_CHANGES)
    return _only(removed, {path for path, _, live in found if live is not ABSENT})


def told(ref: ObjectRef, fields: FieldSet, live: Manifest) -> tuple[Change, ...]:
    """What of a residue is there now: as a difference from none."""
    return tuple(change(ref, path_text(path), ABSENT, value) for path, value in _leaves(live, fields, ()))


def _only(fields: FieldSet, paths: set[str], path: tuple[str, ...] = ()) -> FieldSet:
    """The part of a set that leads to these paths."""
    found: FieldSet = {}
    for key, sub in fields.items():
        if key == ".":
            continue
        where = (*path, f"[{key[2:]}]" if key[:2] in _OF_LISTS else key[2:])
        if path_text(where) in paths:
            found[key] = {}
        elif inner := _only(sub, paths, where):
            found[key] = inner
    return found


def _leaves(value: Any, fields: FieldSet, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = {key: sub for key, sub in fields.items() if key != "."}
    if not children:
        yield path, value
    elif isinstance(value, dict):
        for key, sub in children.items():
            if key.startswith("f:") and key[2:] in value:
                yield from _leaves(value[key[2:]], sub, (*path, key[2:]))
    elif isinstance(value, list):
        for key, sub in children.items():
            for item in value:
                if selects(key, item, strict=True):
                    yield from _leaves(item, sub, (*path, f"[{key[2:]}]"))


def _holds(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds(each) for each in value.values())
    return any(_holds(each) for each in value) if isinstance(value, list) else True


def _less(left: FieldSet, right: FieldSet) -> FieldSet:
    """The leaves of one set that another does not have."""
    found: dict[str, Any] = {}
    for key, value in left.items():
        if key == ".":
            continue
        if key not in right:
            found[key] = value
        elif value and (inner := _less(value, right[key])):
            found[key] = inner
    return found
