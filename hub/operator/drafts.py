"""One set's part of a plan pass: which children appear, change or go, and what each should run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TerminalError
from agent.contract.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_APPROVE_WAVE,
    ANNOTATION_REFRESH,
    FINALIZER,
)
from hub.core.breaker import held_by_breaker
from hub.core.derive import begun_status
from hub.core.ignore import kept
from hub.core.plan import ChildPlan, plan_children, stamp
from hub.operator import paths, views
from hub.operator.decisions import breaker_now
from hub.operator.writer import changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from hub.api.applicationset import ApplicationSetSpec
    from hub.core.expansion import Expansion
    from hub.core.model import AppKey, Fleet
    from hub.core.partial import Kept, Part
    from hub.operator.commits import Commits
    from hub.operator.context import HubContext
    from hub.operator.targets import Targets, TargetSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expanded:
    """One set with what it expands to now."""

    key: str
    obj: Manifest
    spec: ApplicationSetSpec
    expansion: Expansion
    part: Part | None = None
    """What moved, where only some clusters were looked at: the rest is as `kept` says."""
    kept: Kept | None = None
    clusters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that is not written yet."""

    one: Expanded
    plan: ChildPlan
    targets: TargetSet
    body: dict[str, Any]
    """status.plan as it is to be."""
    new: bool
    """Whether it differs from the last plan."""
    urgent: bool
    """Whether anything but the commits' names differs: then it is written before any target."""
    moves: bool
    """Whether a child appears, goes, or has another target."""
    touched: set[str]
    left: frozenset[AppKey] = frozenset()
    """Children that are there and that nobody wants: on their way out, or Held."""


class Refused(TerminalError):
    """The API server's schema refused one child."""

    reason = "InvalidChild"

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Drafts:
    def __init__(self, hub: HubContext, targets: Targets) -> None:
        self._hub = hub
        self._targets = targets

    async def make(self, one: Expanded, fleet: Fleet, commits: Commits) -> Draft:
        """Write the children themselves, and find their targets. Raises ApiError where a write failed."""
        last = self._last(one)
        existing = self._existing(one)
        plan = self._compare(one, existing, fleet, last)
        refused = await self._write_children(one, plan)
        standing = one.part.standing if one.part is not None else ()
        wanted = [
            key for key in (*plan.create, *plan.update, *plan.unchanged, *standing) if key not in refused
        ]
        targets = await self._targets.compute(wanted, fleet, commits, plan=_number(one.obj, last) + 1)
        left = frozenset(existing.keys() - plan.update.keys() - {*plan.unchanged, *plan.recreate})
        return self._draft(one, plan, targets, left)

    def bounded(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The drafts, Held where all of them together drop more than the whole hub may at once."""
        if not any(draft.plan.drop for draft in drafts):
            return list(drafts)
        plans = {draft.one.key: draft.plan for draft in drafts}
        before = {draft.one.key: self._last_held(draft.one) for draft in drafts}
        found = held_by_breaker(plans, before, breaker_now(self._hub), now=self._hub.now())
        for key in sorted(found):
            words = "set %s: what it drops is Held by the hub's breaker, with that of %d other sets"
            log.warning(words, key, len(found) - 1, extra={"applicationset": key})
        return [
            self._draft(draft.one, found[draft.one.key], draft.targets, draft.left)
            if draft.one.key in found
            else draft
            for draft in drafts
        ]

    def _last(self, one: Expanded) -> dict[str, Any]:
        return self._hub.state.set(one.key).plan or (one.obj.get("status") or {}).get("plan") or {}

    def _last_held(self, one: Expanded) -> frozenset[AppKey]:
        return frozenset(each["app"] for each in self._last(one).get("held") or ())

    def _draft(self, one: Expanded, plan: ChildPlan, targets: TargetSet, left: frozenset[AppKey]) -> Draft:
        last = self._last(one)
        number = _number(one.obj, last)
        body: dict[str, Any] = {
            "id": number,
            "revisions": self._revisions(one, targets),
            "counts": _counts(plan, one.part),
            "held": [held.to_json() for held in plan.held],
            "drops": [record.to_json() for record in plan.drops],
            "at": stamp(self._hub.now()),
        }
        moves = bool(plan.create or plan.update or plan.drop or targets.changed)
        # What is Held counts, too: an approval names the plan, and means what that plan held.
        moved = moves or not last or body["held"] != (last.get("held") or [])
        new = moved or body["revisions"] != (last.get("revisions") or {})
        body["id"] = number + 1 if new else number
        touched = {*targets.touched, *plan.restore, *(drop.key for drop in plan.drop)}
        return Draft(
            one,
            plan,
            targets,
            body,
            new=new,
            urgent=moved,
            moves=moves,
            touched=touched,
            left=left,
        )

    def _existing(self, one: Expanded) -> dict[AppKey, Manifest]:
        """The set's children as they are; of a part those that moved, and those that nobody wants."""
        caches = self._hub.caches
        if one.part is None:
            return caches.children_of(one.key)
        namespace = one.key.partition("/")[0]
        keys = {f"{namespace}/{child.name}" for child in one.part.children} | one.part.left
        found = {key: caches.applications.get(key) for key in keys}
        return {key: obj for key, obj in found.items() if obj is not None and views.owner_of(obj) == one.key}

    def _revisions(self, one: Expanded, targets: TargetSet) -> dict[str, str]:
        """`<repoURL>@<revision>` -> commit of all that the set reads."""
        read = dict(one.expansion.revisions) | targets.revisions
        if one.part is None or one.kept is None:
            return read
        found = {key.partition("/")[2]: each for key, each in targets.reads.items()}
        known = self._hub.state.set(one.key).revisions | read
        return {key: known[key] for key in sorted(one.kept.reads_with(one.part, found)) if key in known}

    async def publish(self, draft: Draft) -> None:
        """Write the plan on its set."""
        one = draft.one
        obj = self._hub.caches.sets.get(one.key) or one.obj
        current = obj.get("status") or {}
        patch: dict[str, Any] = {"plan": changed(current.get("plan"), draft.body)}
        if draft.moves:
            generation = int(one.obj["metadata"].get("generation", 0))
            patch |= begun_status(current, generation=generation, now=stamp(self._hub.now()))
        await self._hub.writer.status(self._hub.caches.sets, paths.application_set(one.key), patch)
        self._hub.state.set(one.key).plan = draft.body

    @staticmethod
    def decisions(draft: Draft) -> dict[AppKey, dict[str, Any] | None]:
        """What is to be recorded on the children before any tombstone can be written."""
        decided: dict[AppKey, dict[str, Any] | None] = {
            drop.key: {
                "reason": drop.reason,
                "decidedAt": drop.decided_at.isoformat().replace("+00:00", "Z"),
                "held": drop.held or None,
            }
            for drop in draft.plan.drop
        }
        return decided | dict.fromkeys(draft.plan.restore)  # wanted again before it was gone: withdrawn

    def done(self, draft: Draft) -> None:
        """Note that the pass has seen this state of the set."""
        metadata = draft.one.obj["metadata"]
        state = self._hub.state.set(draft.one.key)
        state.generation = int(metadata.get("generation", 0))
        state.refresh = (metadata.get("annotations") or {}).get(ANNOTATION_REFRESH, "")
        state.revisions = draft.body["revisions"]

    def _compare(
        self, one: Expanded, children: dict[AppKey, Manifest], fleet: Fleet, last: dict[str, Any]
    ) -> ChildPlan:
        namespace = one.key.partition("/")[0]
        clusters = {str((obj.get("spec") or {}).get("cluster", "")) for obj in children.values()}
        return plan_children(
            {
                key: kept(child.manifest, children.get(key), one.spec.ignore_differences)
                for child in one.expansion.children
                for key in (f"{namespace}/{child.name}",)
            },
            children,
            deletion=one.spec.deletion,
            drops=last.get("drops") or [],
            held=last.get("held") or [],
            removing=frozenset(
                name for name in clusters if name in fleet.clusters and fleet.clusters[name].removing
            ),
            there=self._hub.caches.count_children(one.key) if one.part is not None else None,
            approved=approved(one.obj, last),
            now=self._hub.now(),
        )

    async def _write_children(self, one: Expanded, plan: ChildPlan) -> set[str]:
        """Create and update; returns the keys that the API server's schema refused, each noted on the set."""
        refused: set[str] = set()
        for failure in await self._hub.writer.all(
            self._write_child(key, manifest) for key, manifest in (plan.create | plan.update).items()
        ):
            if not isinstance(failure, Refused):
                raise failure
            refused.add(failure.key)
            state = self._hub.state.set(one.key)
            state.problem, state.permanent = ("InvalidChild", f"{failure.key}: {failure}"), True
            log.warning("set %s: child refused: %s", one.key, failure, extra={"applicationset": one.key})
        return refused

    async def _write_child(self, key: str, manifest: Manifest) -> None:
        metadata = manifest["metadata"] | {"finalizers": [FINALIZER]}
        try:
            await self._hub.writer.apply_application(manifest | {"metadata": metadata})
        except ApiError as error:
            if error.transient:
                raise
            raise Refused(key, str(error)) from error


def _number(obj: Manifest, last: dict[str, Any]) -> int:
    """The last plan's number; where that is lost, the highest that somebody has answered.

    An object that was restored without its status keeps its annotations: an old answer is none about plans to come.
    """
    if last:
        return int(last.get("id", 0))
    notes = obj["metadata"].get("annotations") or {}
    told = [notes.get(ANNOTATION_APPROVE, ""), *notes.get(ANNOTATION_APPROVE_WAVE, "").split(",")]
    numbers = (each.split("/")[1] for each in told if "/" in each)
    return max((int(each) for each in numbers if each.isdecimal()), default=0)


def approved(obj: Manifest, plan: dict[str, Any]) -> bool:
    """Whether a person approved exactly the deletions of the plan that is Held, by its number."""
    answer = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE, "")
    return bool(plan) and answer == f"deletions/{plan.get('id')}"


def _counts(plan: ChildPlan, part: Part | None) -> dict[str, int]:
    there = len(plan.create) + len(plan.update) + len(plan.unchanged)
    return {
        "children": there if part is None else part.size - len(plan.recreate),
        "added": len(plan.create),
        "changed": len(plan.update),
        "removed": len(plan.drop),
        "held": len(plan.held),
    }
