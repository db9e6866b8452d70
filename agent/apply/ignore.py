"""Differences that are left alone: what is sent instead of the bundle's own words. Pure.

A field that is ignored, and that others own by now, is left out of what we apply, so that we do not claim it. One that
is still ours is sent as it is live: leaving it out would remove it. A new object has the bundle's value.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from agent.apply.errors import ObjectInvalid
from agent.apply.fields import own_fields, selects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.apply.fields import FieldSet
    from agent.contract.manifest import Manifest

_IDENTITY = frozenset(("metadata", key) for key in ("name", "namespace", "labels", "annotations"))
_OURS = ("axletree.dev/", "applyset.kubernetes.io/")
_HOLDS = ("finalizers", "ownerReferences")
_ANY = object()
"""A step over every item."""


@dataclass(frozen=True, slots=True)
class _Where:
    """A step over the items whose field has a value."""

    field: str
    value: str


Step: TypeAlias = "str | int | _Where | object"
Path: TypeAlias = "tuple[Step, ...]"
_STEP = r"""(?x) \.(?P<name>[A-Za-z_][\w-]*) | \[(?P<index>\d+)\] | (?P<any>\[\*\]|\.\*)
    | \[(?P<q>['"])(?P<key>[^'"\]]+)(?P=q)\]
    | \[\?\(@\.(?P<field>[\w-]+)\s*==\s*(?P<q2>['"])(?P<value>[^'"]*)(?P=q2)\)\]
    """


@dataclass(frozen=True, slots=True)
class Ignored:
    """The paths and managers whose fields of one object are left alone."""

    paths: tuple[Path, ...] = ()
    managers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *, pointers: Iterable[str], paths: Iterable[str], managers: Iterable[str]) -> Self:
        """Raises `ObjectInvalid` for a pointer or path that does not read."""
        found = [*(_pointer(text) for text in pointers), *(_json_path(text) for text in paths)]
        return cls(tuple(found), frozenset(managers))

    def __bool__(self) -> bool:
        return bool(self.paths or self.managers)


def effective(desired: Manifest, live: Manifest, manager: str, ignored: Ignored) -> Manifest:
    """What to apply to this live object. The same object where nothing is ignored in it."""
    if not ignored:
        return desired
    ours = own_fields(live, manager) or {}
    changed = copy.deepcopy(desired)
    places = [place for path in ignored.paths for place in _places(desired, path)]
    for entry in live["metadata"].get("managedFields") or ():
        # A cache's copy has no field sets of others: what that would decide is read anew (`needs_managers`).
        if entry.get("manager") in ignored.managers and (fields := entry.get("fieldsV1")):
            places += _owned_places(desired, fields)
    # Later items of a list first: what is taken out must not move the others.
    for place in sorted(set(places), key=lambda each: [str(step).zfill(6) for step in each], reverse=True):
        if _essential(place):
            continue
        found, value = _counterpart(desired, live, place)
        if not found:
            continue
        if _owns(ours, live, desired, place):
            _set(changed, place, copy.deepcopy(value))
        else:
            _remove(changed, place)
    return changed


def carried(body: Manifest, live: Manifest, ignored: Ignored) -> Manifest:
    """The whole object that replaces this live one: what is ignored goes with it as it is live.

    What would otherwise be left out is what a replacement takes away. So do the holds of controllers and of garbage
    collection, where the bundle has none: they are no settings, and without them things go, or stay, that must not.
    """
    changed = copy.deepcopy(body)
    for key in _HOLDS:
        if key in live["metadata"]:
            changed["metadata"].setdefault(key, copy.deepcopy(live["metadata"][key]))
    places = [place for path in ignored.paths for place in _places(live, path)]
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") in ignored.managers and (fields := entry.get("fieldsV1")):
            places += [place for place in _owned_places(live, fields) if place[:1] != ("status",)]
    for place in places:
        if not _essential(place):
            _carry(changed, live, place)
    return changed


def _carry(body: Any, live: Any, place: tuple[str | int, ...]) -> None:
    """Have one place of the live object in another; a list's item that is missing there comes whole."""
    *way, last = place
    for step in way:
        if isinstance(step, str):
            if not isinstance(body, dict):
                return
            body, live = body.setdefault(step, type(live[step])()), live[step]
        else:
            if not isinstance(body, list):
                return
            item, live = _same_item(live[step], body, step), live[step]
            if item is None:
                body.append(copy.deepcopy(live))
                return
            body = item
    if isinstance(last, str):
        if isinstance(body, dict):
            body[last] = copy.deepcopy(live[last])
    elif isinstance(body, list):
        wanted = copy.deepcopy(live[last])
        found = _same_item(wanted, body, last)
        at = next((number for number, item in enumerate(body) if item is found), len(body))
        body[at : at + 1] = [wanted]


def needs_managers(live: Manifest, manager: str, ignored: Ignored) -> bool:
    """Whether this copy lacks the field sets that the rule asks about: caches keep our own alone."""
    entries = live["metadata"].get("managedFields") or ()
    others = [entry for entry in entries if entry.get("manager") != manager]
    return bool(ignored.managers) and any("fieldsV1" not in entry for entry in others)


def _pointer(text: str) -> Path:
    if not text.startswith("/"):
        raise ObjectInvalid(f"{text[:80]!r} is no JSON pointer: it begins with a slash")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _json_path(text: str) -> Path:
    rest = text.removeprefix("$")
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    steps: list[Step] = []
    step_at = re.compile(_STEP)  # here, and not above: most agents never need it
    at = 0
    while at < len(rest):
        found = step_at.match(rest, at)
        if found is None:
            raise ObjectInvalid(f"{text[:80]!r} is no JSON path that is known here, from {rest[at:][:20]!r}")
        at = found.end()
        if found["field"] is not None:
            steps.append(_Where(found["field"], found["value"]))
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append(_ANY if found["any"] else found["name"] or found["key"])
    if not steps:
        raise ObjectInvalid(f"{text!r} names the whole object")
    return tuple(steps)


def _places(value: Any, path: Path) -> Iterator[tuple[str | int, ...]]:
    """The concrete places that a path means in a value."""
    if not path:
        yield ()
        return
    for key in _keys(value, path[0]):
        for more in _places(value[key], path[1:]):
            yield (key, *more)


def _keys(value: Any, step: Step) -> list[Any]:
    """The keys or positions that one step means in a value."""
    if isinstance(value, dict):
        if step is _ANY:
            return list(value)
        return [step] if isinstance(step, str) and step in value else []
    if not isinstance(value, list):
        return []
    if step is _ANY:
        return list(range(len(value)))
    if isinstance(step, _Where):
        return [number for number, item in enumerate(value) if _is(item, step)]
    text = str(step)
    return [int(text)] if text.isdecimal() and int(text) < len(value) else []


def _owned_places(value: Any, fields: FieldSet) -> Iterator[tuple[str | int, ...]]:
    """The places of a value that a field set covers, at its leaves."""
    children = [(key, sub) for key, sub in fields.items() if key != "."]
    if not children:
        yield ()
        return
    for key, sub in children:
        if isinstance(value, dict) and key.startswith("f:") and key[2:] in value:
            places, step = _owned_places(value[key[2:]], sub), key[2:]
            yield from ((step, *more) for more in places)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if selects(key, item, strict=False):
                    yield from ((index, *more) for more in _owned_places(item, sub))


def _counterpart(desired: Any, live: Any, place: tuple[str | int, ...]) -> tuple[bool, Any]:
    """What is live at a place of the desired object; list items are matched by name, else by position."""
    for step in place:
        if isinstance(step, str):
            if not isinstance(live, dict) or step not in live:
                return False, None
            desired, live = desired[step], live[step]
        else:
            if not isinstance(live, list):
                return False, None
            desired = desired[step]
            live = _same_item(desired, live, step)
            if live is None:
                return False, None
    return True, live


def _same_item(item: Any, items: list[Any], index: int) -> Any:
    if isinstance(item, dict) and "name" in item:
        return next(
            (each for each in items if isinstance(each, dict) and each.get("name") == item["name"]), None
        )
    return items[index] if index < len(items) else None


def _owns(fields: FieldSet, live: Any, desired: Any, place: tuple[str | int, ...]) -> bool:
    """Whether our field set has the place: itself, something in it, or a whole that it is a part of."""
    for number, step in enumerate(place):
        if not any(key != "." for key in fields):
            return number > 0
        if isinstance(step, str):
            key: str | None = f"f:{step}"
            live = live[step]
        else:
            live = _same_item(desired[step], live, step)
            key = next((each for each in fields if each != "." and selects(each, live, strict=True)), None)
        if key is None or key not in fields:
            return False
        fields, desired = fields[key], desired[step]
    return True


def _is(item: Any, where: _Where) -> bool:
    return isinstance(item, dict) and str(item.get(where.field)) == where.value


def _essential(place: tuple[str | int, ...]) -> bool:
    """What makes it this object, and ours, is never left to others; nor is what a list's items are known by."""
    if not place or place[0] in {"apiVersion", "kind"} or place in _IDENTITY or place == ("metadata",):
        return True
    if len(place) > 1 and place[-1] == "name" and isinstance(place[-2], int):
        return True
    return place[0] == "metadata" and any(str(step).startswith(_OURS) for step in place)


def _set(value: Any, place: tuple[str | int, ...], new: Any) -> None:
    for step in place[:-1]:
        value = value[step]
    value[place[-1]] = new


def _remove(value: Any, place: tuple[str | int, ...]) -> None:
    for step in place[:-1]:
        value = value[step]
    del value[place[-1]]
