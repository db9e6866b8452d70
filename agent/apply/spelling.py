"""Words of our own annotations that mean nothing: pure.

Agents pass over what they do not know, so that a hub may be newer than they are. So a typing error has to be told
where a bundle is made: `IfNotPresnt` would overwrite what was to be left, and a hook called `Presync` would never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.hooks import CLEANUP_WORDS, HOOK, HOOK_DELETE, PHASE_WORDS, Cleanup, Phase
from agent.apply.options import SYNC_OPTIONS
from agent.apply.waves import annotations_of
from agent.contract.options import SyncOption

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

_WORDS = {
    SYNC_OPTIONS: (SyncOption, frozenset(each.value for each in SyncOption)),
    HOOK: (Phase, PHASE_WORDS),
    HOOK_DELETE: (Cleanup, CLEANUP_WORDS),
}
"""By annotation: those that are told, and all that are understood."""


def unknown_word(obj: Manifest) -> str:
    """Say which word of an object's annotations is none, and which there are; empty where all mean something."""
    found = annotations_of(obj)
    for key, (told, known) in _WORDS.items():
        words = (word.strip() for word in str(found.get(key, "")).split(","))
        wrong = next((word for word in words if word and word not in known), None)
        if wrong is not None:
            return f"{key} knows no {wrong[:80]!r}, only {', '.join(told)}"
    return ""
