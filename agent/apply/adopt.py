"""What taking an object over would change, and the patch that hands it over: pure.

Server-side apply lets several managers own one field. So an object that we apply and that Helm, Argo CD or Flux
applied before is still theirs as well: the fields that they set and the bundle does not have stay for ever, and their
marks (labels, annotations) still tell them that it is theirs to prune. Handing over removes their entries in
managedFields and their marks. No value that a controller acts on changes by that, so that nothing restarts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.apply.fields import ABSENT, differences, own_fields, selects
from agent.apply.prepare import LAST_APPLIED
from agent.apply.takeover import PREDECESSOR
from agent.apply.tools import ANNOTATIONS, LABELS, TOOLS, entries_of, is_mark, marked, marks, tool_of
from agent.contract.adoption import AdoptionChange, AdoptionEntry
from agent.contract.names import ANNOTATION_APP, APPLYSET_PART_OF

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.apply.fields import FieldSet
    from agent.contract.manifest import Manifest, ObjectRef

_MAX_PATHS, _PATH = 20, 400
_TEMPLATES = (".spec.template", ".spec.jobTemplate.spec.template")
_STAMPS: dict[str, Any] = {
    "f:metadata": {
        "f:labels": {f"f:{APPLYSET_PART_OF}": {}},
        "f:annotations": {f"f:{ANNOTATION_APP}": {}},
    }
}
"""Our own marks, which every object gets: no difference that a person has to look at."""


def tools_of(live: Manifest, manager: str) -> tuple[str, ...]:
    """Who manages the object beside `manager`, by name, sorted. Controllers that fill in fields do not count."""
    found = {name for entry in entries_of(live) if (name := tool_of(entry, manager))}
    found |= {tool.name for tool in TOOLS if marks(live, tool)}
    return tuple(sorted(found))


def plan_entry(ref: ObjectRef, *, live: Manifest, proposed: Manifest, manager: str) -> AdoptionEntry:
    """What taking one object over means, given what a dry run of our apply makes of it.

    What kubectl applied client-side and the bundle does not have goes with the first apply, as by `kubectl apply`
    itself; what the other tools own alone stays.
    """
    ours = own_fields(proposed, manager) or {}
    changed = list(differences(live, proposed, subtract(ours, _STAMPS)))
    kept = _others(live, manager)
    applied = _last_applied(live)
    going: list[str] = []
    left: list[str] = []
    for entry in entries_of(live):
        if not tool_of(entry, manager):
            continue
        extra = subtract(subtract(entry.get("fieldsV1") or {}, ours), kept)
        if entry.get("manager") == PREDECESSOR:
            # Who creates owns the defaults as well: only what stood in the file goes, defaults come again.
            going += [path for path in paths_of(_present(applied, extra)) if not is_mark(path)]
        elif entry.get("operation") == "Apply":
            left += [path for path in paths_of(extra) if not is_mark(path)]
    paths = [*changed, *(f"-{path}" for path in dict.fromkeys(going))]
    return AdoptionEntry(
        ref=str(ref)[:600],
        change=AdoptionChange.DIFFERS if paths else AdoptionChange.SAME,
        tools=list(tools_of(live, manager))[:8],
        restarts=any(path.removeprefix("-").startswith(_TEMPLATES) for path in paths),
        paths=[path[:_PATH] for path in paths[:_MAX_PATHS]],
        left=[path[:_PATH] for path in dict.fromkeys(left) if path not in going][:_MAX_PATHS],
        message=_owned(live),
    )


def handover_patch(live: Manifest, wanted: Manifest, manager: str) -> list[dict[str, Any]]:
    """The JSON patch after which the object is `manager`'s alone; empty where it is, or is not applied by us yet.

    `wanted` is what we apply: a mark that it has itself is no mark. The patch holds only for the version it was made
    from, since managedFields are replaced whole.
    """
    metadata = live["metadata"]
    entries = metadata.get("managedFields") or []
    if own_fields(live, manager) is None:
        return []
    staying = [entry for entry in entries if not tool_of(entry, manager)]
    marks: list[dict[str, Any]] = []
    for part in (ANNOTATIONS, LABELS):
        held = (wanted.get("metadata") or {}).get(part) or {}
        marks += [
            {"op": "remove", "path": f"/metadata/{part}/{_escaped(name)}"}
            for name in sorted(marked(live, part, manager) - held.keys())
        ]
    if len(staying) == len(entries) and not marks:
        return []
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": staying},
        *marks,
    ]


def in_order(entries: Sequence[AdoptionEntry]) -> list[AdoptionEntry]:
    """What a person must see first: refusals, restarts, prunes, changes; what is the same comes last."""
    ranks = {AdoptionChange.REFUSED: 0, AdoptionChange.PRUNE: 1, AdoptionChange.DIFFERS: 2}
    return sorted(entries, key=lambda entry: (ranks.get(entry.change, 3), not entry.restarts, entry.ref))


def subtract(left: FieldSet, right: FieldSet) -> FieldSet:
    """The part of `left` that `right` does not have. A leaf covers all that is below it, in either."""
    result: FieldSet = {}
    for key, below in left.items():
        if key == ".":
            continue
        if key not in right:
            result[key] = below
        elif _inner(below) and _inner(right[key]):
            rest = subtract(below, right[key])
            if rest:
                result[key] = rest
    return result


def paths_of(fields: FieldSet) -> Iterator[str]:
    """The leaves, as paths: `.spec.replicas`, `.metadata.annotations[a.b/c]`, `.spec.ports[{"port":80}]`."""
    for key, below in fields.items():
        if key == ".":
            continue
        kind, _, name = key.partition(":")
        here = f"[{name}]" if kind != "f" or "." in name or "/" in name else f".{name}"
        inner = {each: value for each, value in below.items() if each != "."}
        if inner:
            yield from (here + rest for rest in paths_of(inner))
        else:
            yield here


def _last_applied(live: Manifest) -> Any:
    """What kubectl applied, as it noted it itself; nothing where that does not read."""
    try:
        return json.loads((live["metadata"].get(ANNOTATIONS) or {}).get(LAST_APPLIED, "{}"))
    except ValueError:
        return {}


def _present(value: Any, fields: FieldSet) -> FieldSet:
    """The part of the field set that a manifest has."""
    found: FieldSet = {}
    for key, below in fields.items():
        if key == ".":
            continue
        if isinstance(value, dict):
            inner = value.get(key.removeprefix("f:"), ABSENT)
        elif isinstance(value, list):
            inner = next((item for item in value if selects(key, item, strict=False)), ABSENT)
        else:
            continue
        if inner is ABSENT:
            continue
        rest = _present(inner, below)
        if rest or not _inner(below):
            found[key] = rest
    return found


def _inner(fields: FieldSet) -> bool:
    return any(key != "." for key in fields)


def _others(live: Manifest, manager: str) -> FieldSet:
    """What controllers and people own, who stay."""
    merged: FieldSet = {}
    for entry in entries_of(live):
        if not tool_of(entry, manager) and entry.get("manager") != manager:
            merged = _union(merged, entry.get("fieldsV1") or {})
    return merged


def _owned(live: Manifest) -> str:
    """An owner is not a field: what it owns goes with it, whoever applies that."""
    owners = live["metadata"].get("ownerReferences") or ()
    named = ", ".join(f"{owner.get('kind')} {owner.get('name')}" for owner in owners)
    return f"it has an owner, and would go with that: {named}"[:1024] if named else ""


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    result = dict(left)
    for key, value in right.items():
        result[key] = _union(result[key], value) if key in result else value
    return result


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
