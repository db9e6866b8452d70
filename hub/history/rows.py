"""Objects as rows, and what happened between two of their states. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest

Row = dict[str, Any]
APPLICATION, APPLICATION_SET, CLUSTER = "Application", "ApplicationSet", "Cluster"
_SHORT = 253
_MESSAGE = 2048


@dataclass(slots=True)
class Rows:
    """What one object comes to in each table."""

    apps: list[Row] = field(default_factory=list)
    sets: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    outputs: list[Row] = field(default_factory=list)

    def add(self, other: Rows) -> None:
        for name in ("apps", "sets", "releases", "outputs"):
            getattr(self, name).extend(getattr(other, name))


def rows_of(obj: Manifest) -> Rows:
    """An Application or ApplicationSet."""
    return _application(obj) if obj["kind"] == APPLICATION else _set(obj)


def key_of(obj: Manifest) -> str:
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def _application(obj: Manifest) -> Rows:
    metadata, status = obj["metadata"], obj.get("status") or {}
    sync, health = status.get("sync") or {}, status.get("health") or {}
    key, owner, cluster = key_of(obj), views.owner_of(obj) or "", str(obj["spec"]["cluster"])
    labels = dict(metadata.get("labels") or {})
    blocked = (status.get("blockedBy") or [{}])[0]
    ready = _condition(obj, "Ready")
    message = ready.get("message") or health.get("message") or sync.get("message") or ""
    app = {
        "key": key,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "cluster": cluster,
        "owner": owner,
        "sync": sync.get("state") or "Unknown",
        "health": health.get("state") or "Unknown",
        "message": message[:_MESSAGE],
        "blocked": str(blocked.get("edge", "")),
        "ready": ready.get("status") == "True",
        "plan": int(sync.get("plan") or 0),
        "target": sync.get("target") or "",
        "released": sync.get("released") or "",
        "release": int(sync.get("release") or 0),
        "revision": sync.get("revision") or "",
        "observed_at": health.get("observedAt") or "",
        "labels": labels,
    }
    words = [key, cluster, owner, app["sync"], app["health"], message[:_SHORT], *labels.values()]
    app["words"] = " ".join(words).lower()
    return Rows(
        apps=[app],
        releases=[
            {
                "app": key,
                "release": int(each["release"]),
                "cluster": cluster,
                "owner": owner,
                "digest": each["digest"],
                "revision": each.get("revision") or "",
                "at": each.get("at") or "",
                "well": bool(each.get("well")),
            }
            for each in status.get("history") or ()
        ],
        outputs=[
            {
                "app": key,
                "cluster": cluster,
                "name": each["name"],
                "value": {"sealed": each["mark"]} if each.get("mark") else each.get("value"),
                "digest": each.get("digest") or "",
                "revision": each.get("revision") or "",
                "at": each.get("at") or "",
            }
            for each in status.get("outputs") or ()
            if not each.get("missing")
        ],
    )


def _set(obj: Manifest) -> Rows:
    metadata, status = obj["metadata"], obj.get("status") or {}
    plan, health = status.get("plan") or {}, status.get("health") or {}
    ready = _condition(obj, "Ready")
    waves = (status.get("rollout") or {}).get("waves") or []
    row = {
        "key": key_of(obj),
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "health": health.get("state") or "Unknown",
        "message": (ready.get("message") or health.get("message") or "")[:_MESSAGE],
        "ready": ready.get("status") == "True",
        "settled": _settled(obj),
        "plan": int(plan.get("id") or 0),
        "revisions": dict(plan.get("revisions") or {}),
        "children": int(status.get("children") or 0),
        "sync": dict(status.get("sync") or {}),
        "counts": dict(health.get("counts") or {}),
        "waves": [{"name": each.get("name", ""), "state": each.get("state", "")} for each in waves],
    }
    return Rows(sets=[row])


# -- what happened


def events_of(old: Manifest | None, new: Manifest | None, *, at: str) -> list[Row]:
    """What a person or a program would want to know of a change; () for one that says nothing."""
    obj = new or old
    if obj is None:
        return []
    metadata, status = obj["metadata"], obj.get("status") or {}
    cluster = metadata["name"] if obj["kind"] == CLUSTER else str(obj["spec"].get("cluster", ""))
    about = {
        "at": at,
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "cluster": cluster if obj["kind"] != APPLICATION_SET else "",
        "owner": (views.owner_of(obj) or "") if obj["kind"] == APPLICATION else "",
    }
    message = "" if obj["kind"] == CLUSTER else str((status.get("health") or {}).get("message") or "")
    found = []
    for reason, before, after, said in _changes(old, new):
        row = {
            "reason": reason,
            "old": before[:_SHORT],
            "new": after[:_SHORT],
            "message": (said or message)[:_MESSAGE],
        }
        found.append(about | row)
    return found


def _changes(old: Manifest | None, new: Manifest | None) -> Iterator[tuple[str, str, str, str]]:
    """(reason, before, after, message)."""
    if new is None:
        yield "Gone", "", "", "it is no longer there"
        return
    if old is None:
        yield "Appeared", "", "", "it is there"
    kind = new["kind"]
    if kind == CLUSTER:
        yield from _differing((("ClusterChanged", _ready_word),), old, new)
    elif kind == APPLICATION_SET:
        told = (
            ("Planned", _plan),
            ("PlanFailed", _attempted),
            ("HealthChanged", _health),
            ("WavesChanged", _waves),
            ("ReadyChanged", _done),
        )
        yield from _differing(told, old, new)
    else:
        yield from _differing(_OF_APPS, old, new)


def _differing(told: Any, old: Manifest | None, new: Manifest) -> Iterator[tuple[str, str, str, str]]:
    for reason, read in told:
        (before, _), (after, said) = read(old or {}), read(new)
        if before != after:
            yield reason, before, after, said


def _status(obj: Manifest) -> dict[str, Any]:
    status: dict[str, Any] = obj.get("status") or {}
    return status


def _health(obj: Manifest) -> tuple[str, str]:
    health = _status(obj).get("health") or {}
    return str(health.get("state") or ""), str(health.get("message") or "")


def _sync(obj: Manifest) -> tuple[str, str]:
    sync = _status(obj).get("sync") or {}
    return str(sync.get("state") or ""), str(sync.get("message") or "")


def _released(obj: Manifest) -> tuple[str, str]:
    sync = _status(obj).get("sync") or {}
    release = sync.get("release") or ""
    return str(
        release
    ), f"revision {sync.get('revision') or 'unknown'}, digest {sync.get('released') or 'none'}"


def _blocked(obj: Manifest) -> tuple[str, str]:
    first = (_status(obj).get("blockedBy") or [{}])[0]
    return f"{first.get('edge', '')} {first.get('on', '')}".strip(), str(first.get("root") or "")


def _deletion(obj: Manifest) -> tuple[str, str]:
    deletion = _status(obj).get("deletion") or {}
    held = deletion.get("held") or ""
    return str(deletion.get("reason") or "") + (" Held" if held else ""), str(held)


def _outputs(obj: Manifest) -> tuple[str, str]:
    found = _status(obj).get("outputs") or ()
    return " ".join(f"{each['name']}@{each.get('at', '')}" for each in found), "its outputs changed"


def _plan(obj: Manifest) -> tuple[str, str]:
    plan = _status(obj).get("plan") or {}
    revisions = ", ".join(f"{key}={value}" for key, value in sorted((plan.get("revisions") or {}).items()))
    return str(plan.get("id") or ""), revisions


def _attempted(obj: Manifest) -> tuple[str, str]:
    found = _status(obj).get("attempted") or {}
    return ", ".join(f"{key}={value}" for key, value in sorted(found.items())), _done(obj)[1]


def _waves(obj: Manifest) -> tuple[str, str]:
    waves = (_status(obj).get("rollout") or {}).get("waves") or ()
    return ", ".join(f"{each.get('name')} {each.get('state')}" for each in waves), ""


def _settled(obj: Manifest) -> bool:
    """Whether what is said of it is said of its spec as it is."""
    generation = obj["metadata"].get("generation")
    return generation is None or bool(_status(obj).get("observedGeneration") == generation)


def _done(obj: Manifest) -> tuple[str, str]:
    """Whether all of it is where it should be: the last thing that a rollout changes."""
    if not obj:
        return "", ""
    ready = _condition(obj, "Ready")
    said = str(ready.get("status") or "Unknown") if _settled(obj) else "Unknown"
    return said, str(ready.get("message") or "")


def _ready_word(obj: Manifest) -> tuple[str, str]:
    ready = _condition(obj, "Ready")
    return str(ready.get("reason") or ""), str(ready.get("message") or "")


def _condition(obj: Manifest, kind: str) -> dict[str, Any]:
    found = _status(obj).get("conditions") or ()
    return next((each for each in found if each.get("type") == kind), {})


_OF_APPS = (
    ("HealthChanged", _health),
    ("SyncChanged", _sync),
    ("Released", _released),
    ("BlockedChanged", _blocked),
    ("DeletionChanged", _deletion),
    ("OutputsChanged", _outputs),
)
