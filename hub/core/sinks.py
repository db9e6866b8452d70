"""Which sinks of notifications there are, for whom, and what an object says that names others. Pure.

A sink is a Secret in the hub's own namespace: a team that names one sees neither its address nor its token, so whether
it is there for them has to stand where they named it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS
from hub.core.derive import NOTIFICATIONS, merge_conditions
from hub.core.globs import glob_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from agent.contract.manifest import Manifest

LABELLED = "notification"
KNOWN, UNKNOWN = "SinksKnown", "UnknownSink"
_SHOWN = 5


def is_sink(obj: Manifest) -> bool:
    metadata = obj["metadata"]
    labels = metadata.get("labels") or {}
    return metadata.get("namespace") == HUB_NAMESPACE and labels.get(LABEL_CREDENTIALS) == LABELLED


def text_of(obj: Manifest, key: str) -> str:
    """One value of a Secret's data; empty for none and for what is no text."""
    try:
        return base64.b64decode((obj.get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def projects_of(obj: Manifest) -> tuple[str, ...]:
    """Namespaces that may use the sink, as globs; all where there is none."""
    return tuple(each for each in re.split(r"[\s,]+", text_of(obj, "projects").strip()) if each)


def allows(projects: Collection[str], namespace: str) -> bool:
    return not projects or any(glob_matches(glob, namespace) for glob in projects)


def with_sinks(
    wanted: Manifest, obj: Manifest, secret: Callable[[str], Manifest | None], *, now: str
) -> None:
    """Add to a status what the object's own notifications come to, where it has any.

    A sink that is not for its namespace reads as one that is not there.
    """
    rules = (obj.get("spec") or {}).get("notifications") or ()
    if not rules:
        return
    namespace = obj["metadata"].get("namespace") or HUB_NAMESPACE
    named = sorted({str(rule.get("sink")) for rule in rules})
    unknown = [name for name in named if not _there(secret(f"{HUB_NAMESPACE}/{name}"), namespace)]
    message = (
        f"there is no sink {', '.join(unknown[:_SHOWN])} for it: nothing is told there" if unknown else ""
    )
    condition = {
        "type": NOTIFICATIONS,
        "status": "False" if unknown else "True",
        "reason": UNKNOWN if unknown else KNOWN,
        "message": message,
    }
    before: list[Mapping[str, Any]] = (obj.get("status") or {}).get("conditions") or []
    generation = int(obj["metadata"].get("generation", 0))
    wanted["conditions"] = [
        *(wanted.get("conditions") or ()),
        *merge_conditions(before, [condition], generation=generation, now=now),
    ]


def _there(obj: Manifest | None, namespace: str) -> bool:
    return obj is not None and is_sink(obj) and allows(projects_of(obj), namespace)
