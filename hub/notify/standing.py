"""How an Application, an ApplicationSet or a Cluster stands, as notifications see it. Pure.

What is under way says nothing: `MOVING` leaves open what is open, so that a rollout over a broken release is neither a
recovery nor a second alarm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hub.core.derive import READY, STALLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest

DRIFT_ALERT = "DriftAlert:"
"""How an agent's message begins when drift has lasted for longer than `alertAfter`."""
_SETTLED_BY_PEOPLE = frozenset({"HubBehind", "Cloned"})
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Verdict(StrEnum):
    WELL = "Well"
    BAD = "Bad"
    MOVING = "Moving"


@dataclass(frozen=True, slots=True)
class Standing:
    verdict: Verdict
    since: str = ""
    """Since when it is, or is not, Ready."""
    message: str = ""
    reason: str = ""
    health: str = ""
    sync: str = ""
    token: str = ""
    """Which plan or target this is about: another one is another deployment."""
    commits: tuple[tuple[str, str], ...] = ()
    """(repository, commit) of that."""
    drift: str | None = None
    """What differs, and has for too long; empty where nothing does, None while that is not known."""
    held: str = ""
    approval: str = ""
    silent: str | None = ""
    """Of a cluster that is not heard; None while that is not known."""


def standing_of(obj: Manifest) -> Standing:
    """Of an Application, ApplicationSet or Cluster as its status says."""
    if obj["kind"] == "Cluster":
        return _cluster(obj)
    return _application(obj) if obj["kind"] == "Application" else _set(obj)


def _cluster(obj: Manifest) -> Standing:
    """What a person has to settle is bad; silence is a matter of its own, since it ends by itself."""
    status = obj.get("status") or {}
    ready, connected = _condition(status, READY), str(status.get("connected") or "")
    reason, message = str(ready.get("reason") or ""), str(ready.get("message") or "")
    verdict, silent = Verdict.MOVING, None
    if "deletionTimestamp" not in obj["metadata"]:
        if ready.get("status") == "True":
            verdict = Verdict.WELL
        elif reason in _SETTLED_BY_PEOPLE:
            verdict = Verdict.BAD
        silent = {"Stale": message or "it is not heard", "Connected": ""}.get(connected)
    return Standing(
        verdict=verdict,
        since=str(ready.get("lastTransitionTime") or ""),
        message=message,
        reason=reason,
        health=connected,
        drift="",
        silent=silent,
    )


def _application(obj: Manifest) -> Standing:
    status = obj.get("status") or {}
    sync, deletion = status.get("sync") or {}, status.get("deletion") or {}
    held = deletion.get("held") or ""
    prune = str((status.get("observed") or {}).get("held") or "")
    state, message = str(sync.get("state") or ""), str(sync.get("message") or "")
    drift: str | None = "" if state == "Synced" else None
    if state == "OutOfSync" and DRIFT_ALERT in message:
        drift = message
    going = bool(deletion) and not held
    revision = str(sync.get("revision") or "")
    sources = obj["spec"].get("sources") or ()
    repository = str(sources[0].get("repoURL") or "") if sources else ""
    return Standing(
        **_common(obj, going=going),
        sync=state,
        token=str(sync.get("target") or "")[:16],
        commits=((repository, revision),) if _COMMIT.fullmatch(revision) and repository else (),
        drift=drift,
        held=f"its deletion ({deletion.get('reason')}) is held: {held}" if held else _prune(prune),
    )


def _prune(held: str) -> str:
    return f"its agent holds a prune: {held}" if held else ""


def _set(obj: Manifest) -> Standing:
    status = obj.get("status") or {}
    plan, rollout = status.get("plan") or {}, status.get("rollout") or {}
    held = plan.get("held") or ()
    waits = rollout.get("state") == "AwaitingApproval"
    return Standing(
        **_common(obj, going="deletionTimestamp" in obj["metadata"]),
        token=str(plan.get("id") or ""),
        commits=tuple(
            (origin.rpartition("@")[0], commit)
            for origin, commit in sorted((plan.get("revisions") or {}).items())
            if _COMMIT.fullmatch(commit)
        ),
        drift="",
        held=f"{len(held)} deletions are Held, {held[0].get('app')} first" if held else "",
        approval=str(rollout.get("message") or "a wave waits for approval") if waits else "",
    )


def _common(obj: Manifest, *, going: bool) -> dict[str, Any]:
    status = obj.get("status") or {}
    health = status.get("health") or {}
    ready, stalled = _condition(status, READY), _condition(status, STALLED)
    generation = obj["metadata"].get("generation")
    current = status.get("observedGeneration") in (None, generation)
    verdict = Verdict.MOVING
    if going:
        pass
    elif ready.get("status") == "True" and current:
        verdict = Verdict.WELL
    elif stalled.get("status") == "True" or health.get("state") == "Degraded":
        verdict = Verdict.BAD
    return {
        "verdict": verdict,
        "since": str(ready.get("lastTransitionTime") or ""),
        "reason": str(ready.get("reason") or ""),
        "message": str(ready.get("message") or health.get("message") or ""),
        "health": str(health.get("state") or ""),
    }


def _condition(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = status.get("conditions") or ()
    return next((each for each in found if each.get("type") == kind), {})
