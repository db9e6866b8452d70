"""What people ask of a cluster's agent, as its Assignment says it: adoptions, purges, single objects. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.contract.names import ANNOTATION_ADOPT, ANNOTATION_SYNC_OBJECT
from agent.contract.objectsync import MAX_OBJECT, ObjectSyncState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent.contract.manifest import Manifest
    from hub.operator.state import Target

PLAN, TAKE = "plan", "take"
_MAX_REQUEST = 64
_MAX_ADOPTIONS = 1000
_MAX_OBJECT_SYNCS = 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")


def adoptions(
    keys: Iterable[str], app: Callable[[str], Manifest | None], targets: Mapping[str, Target]
) -> list[dict[str, Any]]:
    """The entries for one cluster's apps, by their annotation `plan/<request>` or `take/<digest>/<request>`.

    A plan is about the target of now. A handover is about the digest that a person saw the plan of: of any other
    target nobody said that it may be taken.
    """
    found: list[dict[str, Any]] = []
    for key in sorted(keys):
        obj, target = app(key), targets.get(key)
        asked = ((obj or {}).get("metadata", {}).get("annotations") or {}).get(ANNOTATION_ADOPT, "")
        if not asked or target is None or not (target.digest and target.blob):
            continue
        verb, _, rest = asked.partition("/")
        digest, _, request = rest.rpartition("/")
        if (
            not request
            or len(request) > _MAX_REQUEST
            or (verb, bool(digest)) not in {(PLAN, False), (TAKE, True)}
        ):
            continue
        if verb == TAKE and digest != target.digest:
            continue
        entry = {"app": key, "digest": target.digest, "blob": target.blob, "request": request}
        found.append(entry | ({"take": True} if verb == TAKE else {}))
    return found[:_MAX_ADOPTIONS]


def object_syncs(keys: Iterable[str], app: Callable[[str], Manifest | None]) -> list[dict[str, str]]:
    """The entries for one cluster's apps, by their annotation `<digest>/<request>/<object>`.

    What is answered is not asked any more, though nobody took the question back: an agent that starts again would
    otherwise do once more what was meant once.
    """
    found = []
    for key in sorted(keys):
        obj = app(key) or {}
        asked = (obj.get("metadata", {}).get("annotations") or {}).get(ANNOTATION_SYNC_OBJECT, "")
        if not asked:
            continue
        digest, _, rest = asked.partition("/")
        request, _, name = rest.partition("/")
        said = (obj.get("status") or {}).get("objectSync") or {}
        answered = said.get("request") == request and said.get("state") != ObjectSyncState.WAITING
        whole = _DIGEST.fullmatch(digest) and 0 < len(request) <= _MAX_REQUEST and 0 < len(name) <= MAX_OBJECT
        if whole and not answered:
            found.append({"app": key, "digest": digest, "object": name, "request": request})
    return found[:_MAX_OBJECT_SYNCS]


def purges(cluster: Manifest | None) -> list[dict[str, str]]:
    """The orphans that a person wants gone: app, when it was decided, and as whom."""
    spec = (cluster or {}).get("spec") or {}
    kept = ("app", "hub", "decidedAt", "serviceAccount")
    return [{name: each[name] for name in kept if each.get(name)} for each in spec.get("purges") or ()]
