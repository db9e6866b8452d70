"""What an act writes: annotations that the controller reads, decided over the object as it is now. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.contract.names import (
    ANNOTATION_ADOPT,
    ANNOTATION_APPROVE,
    ANNOTATION_APPROVE_WAVE,
    ANNOTATION_FORCE_RELEASE,
    ANNOTATION_PAUSED,
    ANNOTATION_PIN,
    ANNOTATION_REFRESH,
    ANNOTATION_SYNC,
    ANNOTATION_SYNC_OBJECT,
)
from hub.api.rollout import WaveState, WaveStatus
from hub.core.outputs import checked
from hub.core.pins import BY_PERSON, history_of, last_good, pin_value
from hub.core.rollout import PASSABLE
from hub.core.waves import approval_of
from hub.operator import views
from hub.web.asked import AdoptRequest, ApproveRequest, RollbackRequest, SyncRequest
from hub.web.problems import (
    NoGate,
    NoSuchRelease,
    NothingReleased,
    NothingRendered,
    NothingToDo,
    ParameterInvalid,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
    from hub.web.asked import ExportRequest

Change = tuple[dict[str, str | None], list[str]]
"""Annotations (None: taken away), and what is said of them."""
SHORT_ID = 8
_MAX_WHO = 200
_APPROVABLE = frozenset({WaveState.WAITING, WaveState.AWAITING_APPROVAL, WaveState.HALTED})


def decide(act: str, obj: Manifest, body: Any, *, token: str, who: str = "") -> Change:
    """The change that an act makes; `token` is a word that was never used before. Raises `NothingToDo`.

    `who` is kept where an app goes past what holds it.
    """
    match act:
        case "refresh":
            return {ANNOTATION_REFRESH: token}, ["Git is fetched"]
        case "pause" | "cordon" | "resume" | "uncordon":
            return _pause(obj, paused=act in ("pause", "cordon"))
        case "release":
            return _force(obj, who)
    return _as_said(act, obj, body, token)


def _as_said(act: str, obj: Manifest, body: Any, token: str) -> Change:
    """Acts of which a body says more."""
    match act:
        case "sync":
            return _sync(obj, body if isinstance(body, SyncRequest) else SyncRequest(), token)
        case "adopt":
            return _adopt(obj, body if isinstance(body, AdoptRequest) else AdoptRequest(), token)
        case "rollback":
            return _rollback(obj, body if isinstance(body, RollbackRequest) else RollbackRequest())
        case "approve":
            wave = body.wave if isinstance(body, ApproveRequest) else ""
            return _approve_wave(obj, wave) if wave else _approve(obj)
    raise AssertionError(f"no act is called {act}")


def asks(body: Any) -> bool:
    """Whether an agent answers what the act asks, with its token as the request."""
    return (isinstance(body, SyncRequest) and bool(body.object)) or isinstance(body, AdoptRequest)


def posted(obj: Manifest, asked: ExportRequest, *, at: str) -> list[dict[str, Any]]:
    """`status.external` with one more value. Raises `NothingToDo`, `ParameterInvalid`."""
    declared = {each.name: each for each in views.application_spec(obj).outputs if each.external}
    rule = declared.get(asked.output)
    if rule is None:
        known = ", ".join(declared) or "none"
        raise NothingToDo(f"it has no external output {asked.output}: {known}")
    problem, text = checked(rule, json.dumps(asked.value, ensure_ascii=False))
    if problem:
        raise ParameterInvalid(problem)
    kept = [each for each in _status(obj).get("external") or () if each.get("name") in declared]
    others = [each for each in kept if each["name"] != asked.output]
    return [*others, {"name": asked.output, "value": json.loads(text), "at": at}]


def _pause(obj: Manifest, *, paused: bool) -> Change:
    if (_annotations(obj).get(ANNOTATION_PAUSED) == "true") == paused:
        raise NothingToDo("it is paused already" if paused else "it is not paused")
    return {ANNOTATION_PAUSED: "true" if paused else None}, ["it is paused" if paused else "it goes on"]


def _sync(obj: Manifest, asked: SyncRequest, token: str) -> Change:
    sync = _status(obj).get("sync") or {}
    if asked.undo:
        if ANNOTATION_SYNC_OBJECT not in _annotations(obj):
            raise NothingToDo("nothing is asked of its objects")
        return {ANNOTATION_SYNC_OBJECT: None}, ["it is not asked any more"]
    if asked.object:
        released = str(sync.get("released") or "")
        if not released:
            raise NothingReleased(
                f"{_key(obj)}: nothing of it is released yet; `axle why` says what it waits for"
            )
        value = f"{released}/{token}/{asked.object}"
        return {ANNOTATION_SYNC_OBJECT: value}, [f"it is to apply {asked.object} again"]
    target = waiting_target(obj)
    if not target:
        raise NothingToDo("it does not wait for a sync")
    return {ANNOTATION_SYNC: target}, [f"it may go to {target[:SHORT_ID]}"]


def waiting_target(obj: Manifest) -> str:
    """The digest that a Manual app waits to be let go to; empty where there is none."""
    sync = _status(obj).get("sync") or {}
    target = str(sync.get("target") or "")
    asked = _annotations(obj).get(ANNOTATION_SYNC)
    manual = (obj["spec"].get("sync") or {}).get("mode") == "Manual"
    return target if manual and target and target not in {sync.get("released"), asked} else ""


def _force(obj: Manifest, who: str) -> Change:
    sync = _status(obj).get("sync") or {}
    target, released = str(sync.get("target") or ""), str(sync.get("released") or "")
    stops = [each for each in _status(obj).get("blockedBy") or () if each.get("edge") not in PASSABLE]
    if stops or not target:
        said = "; ".join(f"{each.get('edge', '')}: {each.get('message', '')}" for each in stops)
        raise NoGate(f"application {_key(obj)}: force passes no such thing: {said or 'it has no target'}")
    if target == released:
        raise NothingToDo("it waits for no release")
    number = int(sync.get("release") or 0) + 1
    value = f"{target}/{number}/{who[:_MAX_WHO] or 'somebody'}"
    return {ANNOTATION_FORCE_RELEASE: value}, [f"it goes to {target[:SHORT_ID]}, past what holds it"]


def _adopt(obj: Manifest, asked: AdoptRequest, token: str) -> Change:
    if asked.undo:
        if ANNOTATION_ADOPT not in _annotations(obj):
            raise NothingToDo("its agent is not asked")
        return {ANNOTATION_ADOPT: None}, ["it is not asked any more"]
    if not (_status(obj).get("sync") or {}).get("target"):
        raise NothingRendered(f"{_key(obj)}: nothing is rendered yet; `axle why` says what it waits for")
    if asked.take:
        return {ANNOTATION_ADOPT: f"take/{asked.take}/{token}"}, ["it is to take its objects over"]
    return {ANNOTATION_ADOPT: f"plan/{token}"}, ["its agent is asked what it would take over"]


def _rollback(obj: Manifest, asked: RollbackRequest) -> Change:
    pin = _annotations(obj).get(ANNOTATION_PIN, "")
    if asked.undo:
        if not pin:
            raise NothingToDo("it is not pinned")
        return {ANNOTATION_PIN: None}, ["it is not pinned any more"]
    sync = _status(obj).get("sync") or {}
    wanted = str(sync.get("target") or "")
    if sync.get("pinned"):  # what its plan renders stands in the pin
        wanted = [*pin.split("/"), "", ""][1]
    entry = (
        _release(obj, asked.release)
        if asked.release
        else last_good(obj, instead_of=str(sync.get("target") or ""))
    )
    if entry is None or not wanted or entry["digest"] == wanted:
        raise NothingToDo("there is no other release to go back to")
    digest = str(entry["digest"])
    value = pin_value(digest, instead_of=wanted, by=BY_PERSON)
    return {ANNOTATION_PIN: value}, [f"it goes back to release {entry['release']} ({digest[:SHORT_ID]})"]


def _release(obj: Manifest, number: int) -> Mapping[str, Any]:
    found = next(
        (each for each in history_of(obj) if each.get("release") == number and each.get("blob")), None
    )
    if found is None:
        known = ", ".join(str(each["release"]) for each in history_of(obj) if each.get("blob")) or "none"
        raise NoSuchRelease(f"{_key(obj)} has no release {number} to go back to: {known}")
    return found


def _approve(obj: Manifest) -> Change:
    status = _status(obj)
    deletion, plan = status.get("deletion") or {}, status.get("plan") or {}
    if deletion.get("held"):
        return {ANNOTATION_APPROVE: f"deletion/{deletion['decidedAt']}"}, [
            f"it is deleted (was Held: {deletion['held']})"
        ]
    if plan.get("held"):
        said = [
            f"{each['app']} is deleted ({each.get('reason', '')}, held by plan {plan.get('id')})"
            for each in plan["held"]
        ]
        return {ANNOTATION_APPROVE: f"deletions/{plan.get('id')}"}, said
    raise NothingToDo("nothing of it is Held")


def _approve_wave(obj: Manifest, wave: str) -> Change:
    waves = [
        WaveStatus.model_validate(each) for each in (_status(obj).get("rollout") or {}).get("waves") or ()
    ]
    one = next((each for each in waves if each.name == wave), None)
    if one is None or one.state not in _APPROVABLE or (one.approved and one.state is not WaveState.HALTED):
        raise NothingToDo(f"no wave {wave} waits")
    before = _annotations(obj).get(ANNOTATION_APPROVE_WAVE, "")
    current = {f"{each.name}/{each.plan}" for each in waves if each.name != one.name}
    kept = [each for each in before.split(",") if "/".join(each.split("/")[:2]) in current]
    failures = f", with {len(one.failures)} failures" if one.state is WaveState.HALTED else ""
    said = f"wave {wave} of application set {_key(obj)} goes on{failures}"
    return {ANNOTATION_APPROVE_WAVE: ",".join([*kept, approval_of(one)])}, [said]


def _key(obj: Manifest) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata'].get('name', '')}"


def _annotations(obj: Manifest) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _status(obj: Manifest) -> dict[str, Any]:
    return obj.get("status") or {}
