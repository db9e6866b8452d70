"""Pins: an Application held at an earlier release, for as long as its plan wants what it wanted then. Pure.

A pin is an annotation that names a release of the Application's own history, which the controller alone writes: so
nothing can be pinned that was not let go there before. It lapses when a commit changes what the plan renders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import ANNOTATION_PIN
from hub.api.rollout import OnFailure, WaveState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest
    from hub.api.rollout import Rollout
    from hub.core.model import AppNode
    from hub.core.waves import Judgement

BY_PERSON, BY_WAVE = "person", "wave"
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Pin:
    """The release to run instead of what the plan renders."""

    digest: str
    blob: str
    revision: str
    by: str


def pin_of(obj: Manifest, rendered: str) -> Pin | None:
    """The pin in force while the plan renders `rendered`; None for none, and for one that has lapsed."""
    value = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_PIN, "")
    parts = value.split("/")
    if len(parts) != _PARTS or parts[1] != rendered or parts[0] == rendered:
        return None
    entry = next((each for each in history_of(obj) if each["digest"] == parts[0] and each.get("blob")), None)
    if entry is None:
        return None
    by = BY_WAVE if parts[2] == BY_WAVE else BY_PERSON
    return Pin(parts[0], entry["blob"], str(entry.get("revision", "")), by)


def pin_value(digest: str, *, instead_of: str, by: str) -> str:
    """The annotation's value."""
    return f"{digest}/{instead_of}/{by}"


def last_good(obj: Manifest, *, instead_of: str) -> Mapping[str, Any] | None:
    """The newest release that was Healthy and is not what the plan wants; None where there is none."""
    return next(
        (
            each
            for each in history_of(obj)
            if each.get("well") and each.get("blob") and each["digest"] != instead_of
        ),
        None,
    )


def history_of(obj: Manifest) -> Iterable[Mapping[str, Any]]:
    """The releases, newest first."""
    return (obj.get("status") or {}).get("history") or ()


def rolled_back(rollout: Rollout, judged: Judgement, members: Iterable[AppNode]) -> tuple[AppNode, ...]:
    """The children that a Halted wave takes back: its own and earlier ones that its plan moved, the last first."""
    halted = next(
        (index for index, wave in enumerate(judged.waves) if wave.status.state is WaveState.HALTED), None
    )
    if rollout.on_failure is not OnFailure.ROLLBACK or halted is None:
        return ()
    plan = judged.waves[halted].status.plan
    found = [
        node
        for node in members
        if judged.wave_of.get(node.key, halted + 1) <= halted
        and node.release > 1
        and node.plan == plan
        and node.released == node.target
        and not node.pinned
    ]
    return tuple(sorted(found, key=lambda node: (-judged.wave_of[node.key], node.key)))
