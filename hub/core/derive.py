"""Status from facts: what the controller writes on Applications and ApplicationSets, as plain JSON.

Conditions follow kstatus, so that `kubectl wait`, Argo CD and Flux read them unchanged: Ready says that it is
done and well, Reconciling that it moves by itself, Stalled that a person has to change something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState, SyncState, worst
from hub.core.edges import TERMINAL
from hub.core.rollup import MAX_WORST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.core.model import AppNode, Blocker
    from hub.core.rollup import RollupResult

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
NOTIFICATIONS = "Notifications"
"""Whether the sinks that an object names are there. None of the three above depends on it."""
MAX_BLOCKERS = 8
_MAX_MESSAGE = 4096
_REASONS = {"Cycle": "DependencyCycle", "Render": "RenderFailed", "Project": "ProjectRefuses"}
_APPLYING = "its agent applies it"
_MOVING = frozenset({SyncState.SYNCING, SyncState.BLOCKED, SyncState.UNKNOWN, SyncState.DELETING})
_PASSIVE = frozenset({"Manual", "Paused"})
"""Blockers that pass only when someone asks: nothing is under way."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a set could not be expanded. A transient one is tried again."""

    reason: str
    message: str
    terminal: bool = True


def application_status(
    node: AppNode,
    blockers: Sequence[Blocker],
    *,
    generation: int,
    conditions: Sequence[Mapping[str, Any]] = (),
    now: str,
    revision: str = "",
    target_blob: str = "",
    transient: bool = False,
) -> Manifest:
    """The controller's part of an Application's status; `conditions` are the ones that it has now.

    `transient`: its target's problem may pass by itself (a source that cannot be reached), so it is not
    Stalled.

    Never mentions that its cluster is Stale: `observedAt` has an age, and the set and the Cluster say it.
    """
    seen = node.observed
    status: Manifest = {
        "observedGeneration": generation,
        "sync": _sync(node, blockers, revision=revision, target_blob=target_blob),
        "health": _health(node),
        "conditions": merge_conditions(
            conditions, _app_conditions(node, blockers, transient=transient), generation=generation, now=now
        ),
    }
    if blockers:
        status["blockedBy"] = [_blocked(each) for each in blockers[:MAX_BLOCKERS]]
    if seen is not None and seen.held and not node.deleting:
        status["sync"]["message"] = _cut(f"the agent holds a prune: {seen.held}")
    return status


def set_status(
    result: RollupResult,
    *,
    generation: int,
    planned: bool,
    problem: Problem | None = None,
    held: int = 0,
    conditions: Sequence[Mapping[str, Any]] = (),
    now: str,
) -> Manifest:
    """The rollup's part of an ApplicationSet's status. `planned`: at least one plan has been made.

    A set that cannot be expanded is Degraded, however well its last plan runs: what people committed is not there.
    """
    health = result.health.to_json()
    if problem is not None and problem.terminal:
        message = _cut(f"{problem.reason}: {problem.message}")
        health["state"] = worst((HealthState(result.health.state), HealthState.DEGRADED)).value
        health |= {"message": message, "worst": [message, *health["worst"]][:MAX_WORST]}
    elif not planned:
        health["state"] = HealthState.PROGRESSING.value
    return {
        "observedGeneration": generation,
        "health": health,
        "sync": result.sync,
        "children": result.children,
        "conditions": merge_conditions(
            conditions,
            _set_conditions(result, planned=planned, problem=problem, held=held),
            generation=generation,
            now=now,
        ),
    }


def begun_status(current: Mapping[str, Any], *, generation: int, now: str) -> Manifest:
    """What a set says from the moment that a plan moves something until its children are counted again.

    Written together with the plan: who sees the new commit there must not see the old plan's Healthy beside it.
    """
    health = (current.get("health") or {}).get("state") or HealthState.PROGRESSING
    state = worst((HealthState(health), HealthState.PROGRESSING))
    if state is not HealthState.PROGRESSING:
        return {}  # worse than that already, and no plan has mended it yet
    message = "a new plan begins"
    conditions = _triple(ready=False, reconciling=True, stalled=False, reason=state.value, message=message)
    before = current.get("conditions") or ()
    said = [dict(each) for each in before if each.get("type") == NOTIFICATIONS]  # no plan changes that
    return {
        "health": {"state": state.value, "message": message},
        "conditions": [*merge_conditions(before, conditions, generation=generation, now=now), *said],
    }


def merge_conditions(
    old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]], *, generation: int, now: str
) -> list[Manifest]:
    """New conditions with their times: a transition is a change of `status`, not of words."""
    before = {each.get("type"): each for each in old}
    found = []
    for each in new:
        last = before.get(each["type"])
        same = last is not None and last.get("status") == each["status"] and last.get("lastTransitionTime")
        when = last["lastTransitionTime"] if last is not None and same else now
        found.append({**each, "lastTransitionTime": when, "observedGeneration": generation})
    return found


def _sync(node: AppNode, blockers: Sequence[Blocker], *, revision: str, target_blob: str) -> Manifest:
    seen = node.observed
    if node.target_problem:
        message = node.target_problem
    elif blockers:
        message = blockers[0].message
    else:
        message = _told(node)
    pinned = {"pinned": node.pinned} if node.pinned else {}
    return pinned | {
        "state": node.sync.value,
        "message": _cut(message),
        "plan": node.plan,
        "target": node.target,
        "targetBlob": target_blob,
        "released": node.released,
        "release": node.release,
        "live": seen.digest if seen is not None else "",
        "revision": revision,
    }


def _told(node: AppNode) -> str:
    """What the agent says of the release that is meant, which is never what it said of an earlier one."""
    seen = node.observed
    taken = seen is not None and (seen.release == node.release or node.deleting)
    said = seen.message if seen is not None and taken else ""
    if said or node.sync is not SyncState.SYNCING:
        return said
    return _APPLYING if taken else f"the agent of {node.cluster} has not taken it up yet"


def _health(node: AppNode) -> Manifest:
    seen = node.observed
    if seen is None:
        return {"state": HealthState.MISSING.value, "message": "never reported"}
    health: Manifest = {"state": seen.health.value, "message": _cut(seen.health_message)}
    if seen.observed_at:
        health["observedAt"] = seen.observed_at
    if seen.counts:
        health["counts"] = dict(seen.counts)
    return health


def _blocked(blocker: Blocker) -> Manifest:
    found = {"edge": blocker.edge, "on": blocker.on, "message": blocker.message, "root": blocker.root}
    return {key: _cut(value) for key, value in found.items() if value}


def _app_conditions(node: AppNode, blockers: Sequence[Blocker], *, transient: bool) -> list[Manifest]:
    seen = node.observed
    stalled = _terminal(node, blockers)
    health = seen.health if seen is not None else HealthState.MISSING
    holding = [each for each in blockers if not each.ahead]
    if stalled is not None:
        reason, message = stalled
        waits = transient and bool(node.target_problem)
        return _triple(ready=False, reconciling=waits, stalled=not waits, reason=reason, message=message)
    if node.at_target and health is HealthState.HEALTHY and not node.deleting:
        if not holding:
            message = blockers[0].message if blockers else ""
            return _triple(ready=True, reconciling=False, stalled=False, reason="Healthy", message=message)
        first = holding[0]
        return _triple(ready=False, reconciling=True, stalled=False, reason=first.edge, message=first.message)
    passive = bool(holding) and all(each.edge in _PASSIVE for each in holding)
    moving = (node.sync in _MOVING and not passive) or health in (
        HealthState.PROGRESSING,
        HealthState.MISSING,
    )
    if holding:
        reason, message = holding[0].edge, holding[0].root or holding[0].message
    elif node.sync is not SyncState.SYNCED:
        reason, message = node.sync.value, _told(node)
    else:
        reason, message = health.value, seen.health_message if seen is not None else ""
    return _triple(ready=False, reconciling=moving, stalled=False, reason=reason, message=message)


def _terminal(node: AppNode, blockers: Sequence[Blocker]) -> tuple[str, str] | None:
    if node.deleting:
        return None
    seen = node.observed
    for each in blockers:
        if each.ahead:
            continue
        if each.edge in TERMINAL or (node.target_problem and each.on == node.key):
            return _REASONS.get(each.edge, each.edge), each.message
    if node.target_problem:
        return "RenderFailed", node.target_problem
    if node.sync is SyncState.FAILED:
        return "ApplyFailed", seen.message if seen is not None else ""
    return None


def _set_conditions(
    result: RollupResult, *, planned: bool, problem: Problem | None, held: int
) -> list[Manifest]:
    message = result.health.message
    if held:
        message = ", ".join(filter(None, (message, f"{held} deletion{'s are' if held > 1 else ' is'} Held")))
    if problem is not None:
        return _triple(
            ready=False,
            reconciling=not problem.terminal,
            stalled=problem.terminal,
            reason=problem.reason,
            message=problem.message,
        )
    if not planned:
        return _triple(
            ready=False, reconciling=True, stalled=False, reason="Planning", message="not planned yet"
        )
    state = HealthState(result.health.state)
    pending = sum(result.sync.get(each.value, 0) for each in _MOVING)
    ready = state is HealthState.HEALTHY
    moving = not ready and (pending > 0 or state in (HealthState.PROGRESSING, HealthState.MISSING))
    return _triple(ready=ready, reconciling=moving, stalled=False, reason=state.value, message=message)


def _triple(*, ready: bool, reconciling: bool, stalled: bool, reason: str, message: str) -> list[Manifest]:
    """All three, always: a condition that is absent and one that is False must not differ for a waiter."""
    return [
        {
            "type": name,
            "status": "True" if holds else "False",
            "reason": reason or "Unknown",
            "message": _cut(message),
        }
        for name, holds in ((READY, ready), (RECONCILING, reconciling), (STALLED, stalled))
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
