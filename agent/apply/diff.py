"""What differs, in words that may leave the cluster: bounded, and with no value that could be a secret. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.apply.fields import ABSENT, differing
from agent.apply.prepare import SECRET

if TYPE_CHECKING:
    from agent.apply.fields import FieldSet
    from agent.contract.manifest import Manifest, ObjectRef

MAX_CHANGES = 20
MAX_VALUE = 120
HIDDEN = "(hidden)"
NOT_THERE = "(not there)"
_SENSITIVE = (
    r"(?i)passw|secret|token|credential|api[-_]?key|private[-_]?key|access[-_]?key|\bauth|dsn"
    r"|connection[-_]?string"
)
_URL_LOGIN = r"://[^/\s@]+@"


@dataclass(frozen=True, slots=True)
class Change:
    """One field: what the bundle wants there, and what is live, as JSON."""

    path: str
    wanted: str
    live: str


def changes(ref: ObjectRef, *, wanted: Manifest, live: Manifest, fields: FieldSet) -> tuple[Change, ...]:
    """The fields of a set that differ, the first `MAX_CHANGES`.

    Values of Secrets, and of fields whose names say that they are confidential, are hidden.
    """
    found: list[Change] = []
    for path, left, right in differing(wanted, live, fields):
        if len(found) == MAX_CHANGES:
            break
        found.append(change(ref, path, left, right))
    return tuple(found)


def change(ref: ObjectRef, path: str, wanted: Any, live: Any) -> Change:
    """One field that differs, with values that may be told."""
    hidden = ref.group_kind == SECRET or re.search(_SENSITIVE, path) is not None
    return Change(path, _text(wanted, hidden=hidden), _text(live, hidden=hidden))


def _text(value: Any, *, hidden: bool) -> str:
    if value is ABSENT:
        return NOT_THERE
    if hidden:
        return HIDDEN
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    # A whole map or list may hold anything: its names tell as much as a path's.
    if re.search(_SENSITIVE, text) or re.search(_URL_LOGIN, text):
        return HIDDEN
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "\u2026"
