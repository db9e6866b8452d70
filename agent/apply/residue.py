"""What stays of a field that left the bundle: an API server may keep the value and say nothing. Pure.

Immutable fields are mostly refused when they change; some are put back from the old object instead (a Service's
addresses), so that the apply succeeds and the object is not what its bundle would make. What another manager owns,
and what any new object would get by default, is no residue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.apply.diff import NOT_THERE, changes
from agent.apply.fields import FieldSet, own_fields, project

if TYPE_CHECKING:
    from agent.apply.diff import Change
    from agent.contract.manifest import Manifest, ObjectRef

_STATUS = "status"


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


def residue(ref: ObjectRef, removed: FieldSet, *, after: Manifest, fresh: Manifest) -> tuple[Change, ...]:
    """Fields that are there, and otherwise than in a new object: as a difference from none."""
    found = changes(ref, wanted=fresh, live=after, fields=removed)
    return tuple(replace(each, wanted=NOT_THERE) for each in found if each.live != NOT_THERE)


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
