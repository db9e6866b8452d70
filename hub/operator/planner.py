"""The plan pass: expand sets, decide about children, write the plan, then every target.

Level-triggered: it starts from the caches and Git each time, and a second run over the same state writes nothing.
Sets that read the same repository and revision are planned in one pass over the same commit, so that an edge
between them never sees half a commit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, AxletreeError, TerminalError
from agent.contract.names import ANNOTATION_APPROVE, ANNOTATION_REFRESH, FINALIZER
from hub.api.applicationset import ApplicationSetSpec
from hub.core.plan import ChildPlan, plan_children
from hub.operator import paths, views
from hub.operator.commits import Commits
from hub.operator.objects import key_of
from hub.operator.targets import Targets
from hub.operator.writer import changed
from hub.render.expansion import expand_set

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from hub.core.expand import Expansion
    from hub.core.model import Fleet
    from hub.operator.context import HubContext
    from hub.operator.state import SetState

log = logging.getLogger(__name__)


class NoProject(TerminalError):
    reason = "NoProject"


@dataclass(frozen=True, slots=True)
class Expanded:
    """One set with what it expands to now."""

    key: str
    obj: Manifest
    spec: ApplicationSetSpec
    expansion: Expansion


class Planner:
    """Plans sets and hand-written Applications; the release loop takes over where targets are known."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._targets = Targets(hub)

    async def plan(self, keys: Iterable[str], apps: Iterable[str], *, fresh: bool) -> set[str]:
        """One pass. `keys` are sets, `apps` hand-written Applications; returns the keys of touched Applications."""
        fleet = self._hub.fleet()
        commits = Commits(self._hub.source, fresh=fresh)
        touched: set[str] = set()
        expanded = [
            one for key in sorted(keys) if (one := await self._expand(key, fleet, commits)) is not None
        ]
        for one in expanded:
            touched |= await self._plan_set(one, fleet, commits)
        hand_written = [
            obj for key in sorted(apps) if (obj := self._hub.caches.applications.get(key)) is not None
        ]
        for obj in hand_written:
            touched |= await self._plan_app(obj, fleet, commits)
        return touched

    async def _expand(self, key: str, fleet: Fleet, commits: Commits) -> Expanded | None:
        """The set's children as Git and the fleet have them now; None, with the problem kept, where that fails."""
        obj = self._hub.caches.sets.get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        state = self._hub.state.set(key)
        namespace, _, name = key.partition("/")
        try:
            if namespace not in fleet.projects:
                raise NoProject(f"namespace {namespace} has no Project named `project`: nothing in it runs")
            spec = ApplicationSetSpec.model_validate(obj["spec"])
            expansion = await expand_set(
                namespace, name, obj["spec"], fleet=fleet, source=commits, runner=self._hub.pool
            )
        except (AxletreeError, ValueError) as error:
            self._freeze(state, key, error, generation=int(obj["metadata"].get("generation", 0)))
            state.refresh = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_REFRESH, "")
            return None
        state.problem = None
        return Expanded(key=key, obj=obj, spec=spec, expansion=expansion)

    @staticmethod
    def _freeze(state: SetState, key: str, error: Exception, *, generation: int) -> None:
        """The last good plan of this set stays as it is; other sets go on."""
        reason = error.reason if isinstance(error, AxletreeError) else "Invalid"
        state.problem = (reason, str(error))
        state.permanent = isinstance(error, TerminalError | ValueError)
        state.generation = generation
        log.warning("set %s is frozen at its last plan: %s: %s", key, reason, error)

    async def _plan_set(self, one: Expanded, fleet: Fleet, commits: Commits) -> set[str]:
        hub = self._hub
        state = hub.state.set(one.key)
        now = hub.now()
        status_plan: dict[str, Any] = state.plan or (one.obj.get("status") or {}).get("plan") or {}
        existing = self.children(one.key)
        plan = plan_children(
            {f"{one.key.partition('/')[0]}/{child.name}": child.manifest for child in one.expansion.children},
            existing,
            deletion=one.spec.deletion,
            drops=status_plan.get("drops") or [],
            held=status_plan.get("held") or [],
            removing=frozenset(name for name, view in fleet.clusters.items() if view.removing),
            total=len(hub.caches.applications),
            approved=_approved(one.obj, status_plan),
            now=now,
        )
        written = await self._write_children(one, plan)
        number = int(status_plan.get("id", 0))
        wanted = [key for key in (*plan.create, *plan.update, *plan.unchanged) if key not in written.refused]
        revisions = dict(one.expansion.revisions)
        targets = await self._targets.compute(wanted, fleet, commits, plan=number + 1)
        revisions |= targets.revisions
        new = (
            bool(plan.create or plan.update or plan.drop or targets.changed)
            or revisions != (status_plan.get("revisions") or {})
            or number == 0
        )
        if new:
            number += 1
        body: dict[str, Any] = {
            "id": number,
            "revisions": revisions,
            "counts": _counts(plan),
            "held": [held.to_json() for held in plan.held],
            "drops": [record.to_json() for record in plan.drops],
            "at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        if new or body["held"] != (status_plan.get("held") or []):
            patch = changed((one.obj.get("status") or {}).get("plan"), body)
            await hub.writer.status(hub.caches.sets, paths.application_set(one.key), {"plan": patch})
            state.plan = body
        state.generation = int(one.obj["metadata"].get("generation", 0))
        state.refresh = (one.obj["metadata"].get("annotations") or {}).get(ANNOTATION_REFRESH, "")
        state.revisions = revisions
        if written.problem is not None:
            state.problem = written.problem
            state.permanent = True
        await self._record_drops(plan)
        await self._restore(plan)
        self._targets.adopt(targets)
        return {*targets.touched, *plan.restore, *(drop.key for drop in plan.drop)}

    async def _write_children(self, one: Expanded, plan: ChildPlan) -> _Written:
        writes = [(key, self._child(manifest)) for key, manifest in (plan.create | plan.update).items()]
        failures = await self._hub.writer.all(self._write_child(key, manifest) for key, manifest in writes)
        refused: set[str] = set()
        problem: tuple[str, str] | None = None
        for failure in failures:
            if not isinstance(failure, _Refused):
                raise failure
            refused.add(failure.key)
            problem = ("InvalidChild", f"{failure.key}: {failure}")
            log.warning("set %s: child refused: %s", one.key, failure)
        return _Written(refused=refused, problem=problem)

    async def _write_child(self, key: str, manifest: Manifest) -> None:
        try:
            await self._hub.writer.apply_application(manifest)
        except ApiError as error:
            if error.transient:
                raise
            raise _Refused(key, str(error)) from error

    @staticmethod
    def _child(manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"] | {"finalizers": [FINALIZER]}
        return manifest | {"metadata": metadata}

    async def _record_drops(self, plan: ChildPlan) -> None:
        """The decision is on the child before any tombstone can be written."""
        hub = self._hub
        failures = await hub.writer.all(
            hub.writer.status(
                hub.caches.applications,
                paths.application(drop.key),
                {
                    "deletion": {
                        "reason": drop.reason,
                        "decidedAt": drop.decided_at.isoformat().replace("+00:00", "Z"),
                        "held": drop.held or None,
                    }
                },
            )
            for drop in plan.drop
        )
        for failure in failures:
            raise failure

    async def _restore(self, plan: ChildPlan) -> None:
        """Wanted again before it was gone: the decision is withdrawn."""
        hub = self._hub
        for failure in await hub.writer.all(
            hub.writer.status(hub.caches.applications, paths.application(key), {"deletion": None})
            for key in plan.restore
        ):
            raise failure

    def approval_pending(self, obj: Manifest) -> bool:
        """Whether a person has approved what the set's plan holds, and no pass has seen it yet."""
        plan = self._hub.state.set(key_of(obj)).plan
        return bool(plan.get("held")) and _approved(obj, plan)

    def unsettled(self, keys: Iterable[str]) -> set[str]:
        """Sets whose last pass failed in a way that time may mend."""
        states = self._hub.state.sets
        return {
            key
            for key in keys
            if (state := states.get(key)) is not None and state.problem is not None and not state.permanent
        }

    async def _plan_app(self, obj: Manifest, fleet: Fleet, commits: Commits) -> set[str]:
        """A hand-written Application is a set of one."""
        metadata = obj["metadata"]
        key = f"{metadata['namespace']}/{metadata['name']}"
        state = self._hub.state.app(key)
        if FINALIZER not in (metadata.get("finalizers") or []) and "deletionTimestamp" not in metadata:
            finalizers = [*(metadata.get("finalizers") or []), FINALIZER]
            await self._hub.writer.merge(
                self._hub.caches.applications,
                paths.application(key),
                {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}},
            )
        current = self._hub.state.targets.get(key)
        number = current.plan if current is not None else 0
        targets = await self._targets.compute([key], fleet, commits, plan=number + 1)
        state.refresh = (metadata.get("annotations") or {}).get(ANNOTATION_REFRESH, "")
        state.generation = int(metadata.get("generation", 0))
        state.revisions = targets.revisions
        self._targets.adopt(targets)
        return set(targets.touched)

    def children(self, key: str) -> dict[str, Manifest]:
        """Every Application that belongs to the set, dropped and deleted ones included."""
        return {
            f"{obj['metadata']['namespace']}/{obj['metadata']['name']}": obj
            for obj in self._hub.caches.applications.values()
            if views.owner_of(obj) == key
        }


@dataclass(frozen=True, slots=True)
class _Written:
    refused: set[str]
    problem: tuple[str, str] | None


class _Refused(TerminalError):
    """The API server's schema refused one child."""

    reason = "InvalidChild"

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def _approved(obj: Manifest, plan: dict[str, Any]) -> bool:
    """A person approved exactly the deletions of the plan that is Held, by its number."""
    answer = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE, "")
    return bool(plan) and answer == f"deletions/{plan.get('id')}"


def _counts(plan: ChildPlan) -> dict[str, int]:
    return {
        "children": len(plan.create) + len(plan.update) + len(plan.unchanged),
        "added": len(plan.create),
        "changed": len(plan.update),
        "removed": len(plan.drop),
        "held": len(plan.held),
    }
