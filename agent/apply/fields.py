"""Whose field is it: what `metadata.managedFields` says, and whether our part is as we left it. Pure.

A watch event for one of our objects must cost nothing where nothing of ours changed. The API server has
already normalised what we sent (`1000m` became `1`, defaults were added), so that comparing live with the
bundle needs its help; comparing live with *what live was when we applied* does not. `fingerprint` is that
comparison: our field set and the values in it. `suspects` is the comparison with the bundle itself, for an
agent that has just started: it errs on the side of suspicion, which costs one request.

The format is FieldsV1: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.contract.canonical import sha256_hex
from agent.kube.fastjson import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest

FieldSet: TypeAlias = dict[str, Any]
_UNTRACKED = frozenset({"apiVersion", "kind"})
_UNTRACKED_METADATA = frozenset({"name", "namespace"})
ABSENT = object()
MAX_PATHS = 50


def own_fields(live: Manifest, manager: str) -> FieldSet | None:
    """The set that `manager` applied; None if it applied nothing (or managedFields were stripped)."""
    for entry in live["metadata"].get("managedFields") or ():
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            fields: FieldSet = entry.get("fieldsV1") or {}
            return fields
    return None


def owns_label(live: Manifest, manager: str, label: str) -> bool:
    """Whether we put that label there. Controllers copy labels: a copy is not membership."""
    fields = own_fields(live, manager) or {}
    return f"f:{label}" in ((fields.get("f:metadata") or {}).get("f:labels") or {})


def fingerprint(live: Manifest, manager: str, fields: FieldSet | None = None) -> str | None:
    """A hash of what we own, and of the values of `fields`; None where we own nothing and ask for nothing.

    `fields` is what the bundle sets, which is more than we own once somebody else has changed a part of it. Without
    it, what we own now has to do. An API server writes maps in one order: from one that does not, an equal state may
    look like another, which costs a comparison.
    """
    owned = own_fields(live, manager)
    fields = owned if fields is None else fields
    return None if fields is None else sha256_hex(dumps([owned, project(live, fields)]))


def trim(live: Manifest, manager: str) -> Manifest:
    """Without other managers' field sets, which are a third of an object: for caches that only we read.

    Of the others, only who wrote last remains, for `last_writer`. What is trimmed already comes back as it is.
    """
    metadata = live["metadata"]
    entries = metadata.get("managedFields") or ()
    others = [entry for entry in entries if entry.get("manager") != manager]
    if len(others) <= 1 and not any("fieldsV1" in entry or "operation" in entry for entry in others):
        return live
    kept = [entry for entry in entries if entry.get("manager") == manager]
    last = _latest(entry for entry in others if entry.get("subresource") != "status")
    if last is not None:
        kept.append({"manager": last.get("manager", ""), "time": last.get("time", "")})
    return {**live, "metadata": {**metadata, "managedFields": kept}}


def last_writer(live: Manifest, manager: str) -> str:
    """Who else wrote the object last: the manager of `last_write`."""
    return last_write(live, manager)[0]


def last_write(live: Manifest, manager: str) -> tuple[str, str]:
    """(manager, time) of who else wrote the object last, status apart; empty if nobody did since `manager` applied.

    Times are whole seconds: one who wrote in the same second as we did counts.
    """
    entries = live["metadata"].get("managedFields") or ()
    ours = [str(entry.get("time", "")) for entry in entries if entry.get("manager") == manager]
    last = _latest(
        entry for entry in entries if entry.get("manager") != manager and entry.get("subresource") != "status"
    )
    if last is None or str(last.get("time", "")) < max(ours, default=""):
        return "", ""
    return str(last.get("manager", "")), str(last.get("time", ""))


def differences(before: Manifest, after: Manifest, fields: FieldSet) -> tuple[str, ...]:
    """Paths of the field set whose values differ between two live states, at most `MAX_PATHS`."""
    return tuple(path for path, _, _ in islice(differing(before, after, fields), MAX_PATHS))


def differing(before: Manifest, after: Manifest, fields: FieldSet) -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of each field of the set that differs; `ABSENT` for one that is not there."""
    for path, left, right in _differ(before, after, fields, ()):
        yield path_text(path), left, right


def project(value: Any, fields: FieldSet) -> Any:
    """The part of `value` that the field set covers; what is covered and not there is left out."""
    if _is_leaf(fields):
        return value
    if isinstance(value, dict):
        found = {}
        for key, sub in fields.items():
            name = key[2:]
            if name in value and key[:2] == "f:":
                found[name] = project(value[name], sub) if sub else value[name]
        return found
    if isinstance(value, list):
        return [
            project(item, sub)
            for key, sub in fields.items()
            if key != "."
            for item in value
            if selects(key, item, strict=True)
        ]
    return value


def _is_leaf(fields: FieldSet) -> bool:
    """Whether a set goes no deeper: it means the whole value."""
    return not fields or (len(fields) == 1 and "." in fields)


def suspects(desired: Manifest, live: Manifest, manager: str) -> tuple[str, ...]:
    """Paths that may differ between what we want and what we own on live. Empty proves that nothing does.

    Values that mean the same in other words (`1000m` and `1`) are suspect: only the API server knows.
    """
    fields = own_fields(live, manager)
    if fields is None:
        return ("",)
    return tuple(_compare(desired, live, fields, ()))


def _compare(desired: Any, live: Any, fields: FieldSet, path: tuple[str, ...]) -> Iterator[str]:
    children = {key: sub for key, sub in fields.items() if key != "."}
    if not children:
        if desired != live:
            yield path_text(path)
    elif isinstance(desired, dict) and isinstance(live, dict):
        yield from _compare_maps(desired, live, children, path)
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _compare_lists(desired, live, children, path)
    else:
        yield path_text(path)


def _compare_maps(
    desired: dict[str, Any], live: dict[str, Any], children: FieldSet, path: tuple[str, ...]
) -> Iterator[str]:
    for key, sub in children.items():
        name = key[2:]
        where = (*path, name)
        if not key.startswith("f:") or name not in desired or name not in live:
            yield path_text(where)
        else:
            yield from _compare(desired[name], live[name], sub, where)
    for name, value in desired.items():
        if f"f:{name}" not in children and not _untracked(name, path) and value not in (None, {}, []):
            yield path_text((*path, name))


def _compare_lists(
    desired: list[Any], live: list[Any], children: FieldSet, path: tuple[str, ...]
) -> Iterator[str]:
    if len(desired) != len(children):
        yield path_text(path)
        return
    for key, sub in children.items():
        wanted = [item for item in desired if selects(key, item, strict=False)]
        found = [item for item in live if selects(key, item, strict=True)]
        if len(wanted) != 1 or len(found) != 1:
            yield path_text((*path, f"[{key[2:]}]"))
        else:
            yield from _compare(wanted[0], found[0], sub, (*path, f"[{key[2:]}]"))


def _differ(
    before: Any, after: Any, fields: FieldSet, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if before == after:  # most are: one comparison in place of one for each field
        return
    children = [(key, sub) for key, sub in fields.items() if key != "."]
    if isinstance(before, dict) and isinstance(after, dict) and children:
        for key, sub in children:
            name = key[2:]
            left, right = before.get(name, ABSENT), after.get(name, ABSENT)
            if left != right:
                yield from _differ(left, right, sub, (*path, name))
    elif isinstance(before, list) and isinstance(after, list) and children:
        for key, sub in children:
            left, right = (
                next((item for item in items if selects(key, item, strict=True)), ABSENT)
                for items in (before, after)
            )
            yield from _differ(left, right, sub, (*path, f"[{key[2:]}]"))
    elif before is ABSENT or after is ABSENT or before != after:
        yield path, before, after


def _latest(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry with the latest time; of those that tie, the last, as the API server orders them."""
    latest: dict[str, Any] | None = None
    for entry in entries:
        if latest is None or str(entry.get("time", "")) >= str(latest.get("time", "")):
            latest = entry
    return latest


def selects(key: str, item: Any, *, strict: bool) -> bool:
    """Whether a list item is the one that `k:{...}` or `v:...` names. Not strict: keys may be defaulted."""
    kind, _, text = key.partition(":")
    if kind == "v":
        return bool(item == json.loads(text))
    if kind != "k" or not isinstance(item, dict):
        return False
    keys: dict[str, Any] = json.loads(text)
    if strict:
        return all(item.get(name) == value for name, value in keys.items())
    present = [name for name in keys if name in item]
    return bool(present) and all(item[name] == keys[name] for name in present)


def _untracked(name: str, path: tuple[str, ...]) -> bool:
    return (not path and name in _UNTRACKED) or (path == ("metadata",) and name in _UNTRACKED_METADATA)


def path_text(path: tuple[str, ...]) -> str:
    """How a path is told."""
    return "".join(part if part.startswith("[") else f".{part}" for part in path)
