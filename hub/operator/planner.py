"""The plan pass: expand sets, decide about children, write the plans, then every target.

Level-triggered: it starts from the caches and Git each time, and a second run over the same state writes nothing.
Sets that read the same repository and revision are planned in one pass over the same commit, and all their targets
are known before any release, so that an edge between them never sees half a commit.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError, TerminalError
from agent.contract.names import ANNOTATION_REFRESH, FINALIZER
from hub.api.applicationset import ApplicationSetSpec
from hub.core.claims import clashes
from hub.core.expansion import DuplicateName
from hub.operator import paths, views
from hub.operator.commits import Commits
from hub.operator.drafts import Draft, Drafts, Expanded, approved
from hub.operator.objects import key_of
from hub.operator.partials import Partials
from hub.operator.targets import Targets, TargetSet
from hub.render.expansion import expand_set
from hub.render.failures import RenderTimeout
from hub.render.signed import check_children_signed
from hub.sources.pins import split_name
from hub.telemetry.logs import about

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest
    from hub.core.model import AppKey, Fleet
    from hub.operator.context import HubContext
    from hub.operator.decisions import Decisions
    from hub.operator.state import SetState

log = logging.getLogger(__name__)
REST = timedelta(minutes=5)
"""How long a set whose templates ran into the time limit is left alone."""


class NoProject(TerminalError):
    reason = "NoProject"


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass came to. `later` are plans that change nothing but the commit's name: no release waits for them."""

    touched: set[str] = field(default_factory=set)
    later: dict[str, Draft] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)
    """What was planned, as a whole or in part."""
    whole_sets: set[str] = field(default_factory=set)
    """Sets of which a part is not enough. Where there are any, nothing has come of the pass: it is made again."""
    whole_apps: set[str] = field(default_factory=set)
    """Hand-written Applications whose repository has another commit by now: those that share it go along."""


class Planner:
    """Plans sets and hand-written Applications; the release loop takes over where targets are known."""

    def __init__(self, hub: HubContext, decisions: Decisions) -> None:
        self._hub = hub
        self._decisions = decisions
        self._targets = Targets(hub)
        self._drafts = Drafts(hub, self._targets)
        self._partials = Partials(hub)

    def whole(self) -> set[str]:
        """Sets of which no part can be planned by itself."""
        return self._partials.whole()

    def seen(self, owner: str, name: str) -> None:
        """An Application of a set appeared."""
        self._partials.seen(owner, name)

    async def plan(
        self,
        keys: Iterable[str],
        apps: Iterable[str],
        *,
        fresh: bool = False,
        clusters: frozenset[str] = frozenset(),
    ) -> Pass:
        """One pass. `keys` are sets, `apps` hand-written Applications. Raises ApiError where a write failed.

        Of all others only what the `clusters` are to them is planned.
        """
        fleet = self._hub.fleet()
        commits = Commits(self._hub.source, fresh=fresh)
        keys, apps = set(keys), set(apps)
        beside = self._hand_written(clusters) - apps
        parts, unsure = await self._parts(keys, clusters, fleet, commits)
        moved = {key for key in beside if not await self._partials.same_commits(key, commits)}
        if unsure or moved:
            return Pass(whole_sets=unsure, whole_apps=moved)
        for key in (*keys, *(one.key for one in parts)):
            self._partials.forget(key)  # until its plan is made: a pass that fails is followed by a whole one
        found = await asyncio.gather(*(self._expand(key, fleet, commits) for key in sorted(keys)))
        claimed = self._claimed([one for one in (*found, *parts) if one is not None], commits)
        made = await asyncio.gather(*(self._drafts.make(one, fleet, commits) for one in claimed))
        hand_written = [
            obj
            for key in sorted(apps | beside)
            if (obj := self._hub.caches.applications.get(key)) is not None
        ]
        single = await asyncio.gather(*(self._plan_app(obj, fleet, commits) for obj in hand_written))
        return await self._settle(self._drafts.bounded(made), single, fleet, keys)

    async def _settle(
        self, drafts: list[Draft], single: list[TargetSet], fleet: Fleet, keys: set[str]
    ) -> Pass:
        """Write what a release waits for, and make the new targets known."""
        urgent = [draft for draft in drafts if draft.urgent]
        await self._all(self._drafts.publish(draft) for draft in urgent)
        await self._decisions.record(
            {key: each for draft in drafts for key, each in self._drafts.decisions(draft).items()}
        )
        touched: set[str] = set()
        for draft in drafts:
            self._drafts.done(draft)
            self._targets.adopt(draft.targets)
            self._partials.keep(draft, fleet)
            touched |= draft.touched
        for targets in single:
            self._targets.adopt(targets)
            touched |= set(targets.touched)
        later = {draft.one.key: draft for draft in drafts if draft.new and not draft.urgent}
        return Pass(touched, later, keys | {draft.one.key for draft in drafts})

    async def _parts(
        self, keys: set[str], clusters: frozenset[str], fleet: Fleet, commits: Commits
    ) -> tuple[list[Expanded], set[str]]:
        """What the clusters are to every set but these, and the sets that this cannot be said of."""
        rest = sorted(key for key in self._hub.caches.sets if key not in keys) if clusters else []
        found = await asyncio.gather(*(self._partials.expand(key, clusters, fleet, commits) for key in rest))
        unsure = {key for key, one in zip(rest, found, strict=True) if one is None}
        return [one for one in found if one is not None and one.part is not None and one.part.matters], unsure

    def _hand_written(self, clusters: frozenset[str]) -> set[str]:
        caches = self._hub.caches
        there = {key for cluster in clusters for key in caches.on_cluster(cluster)}
        return {
            key
            for key in there
            if (obj := caches.applications.get(key)) is not None and views.owner_of(obj) is None
        }

    async def publish(self, draft: Draft) -> None:
        """Write a plan that no release waits for. Raises ApiError where that failed."""
        await self._drafts.publish(draft)

    async def _all(self, work: Iterable[object]) -> None:
        for failure in await self._hub.writer.all(work):  # type: ignore[arg-type]
            raise failure

    async def _expand(self, key: str, fleet: Fleet, commits: Commits) -> Expanded | None:
        """The set's children as Git and the fleet have them now; None, with the problem kept, where that fails."""
        obj = self._hub.caches.sets.get(key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        if self._rests(self._hub.state.set(key), obj):
            return None
        with about(applicationset=key):
            return await self._expanded(key, obj, fleet, commits)

    async def _expanded(self, key: str, obj: Manifest, fleet: Fleet, commits: Commits) -> Expanded | None:
        state = self._hub.state.set(key)
        namespace, _, name = key.partition("/")
        commits = commits.seen_by(namespace)
        try:
            if namespace not in fleet.projects:
                raise NoProject(f"namespace {namespace} has no Project named `project`: nothing in it runs")
            spec = ApplicationSetSpec.model_validate(obj["spec"])
            expansion = await expand_set(
                namespace,
                name,
                obj["spec"],
                fleet=fleet,
                source=commits,
                runner=self._hub.pool,
                fresh=commits.fresh,
                asker=self._hub.asker,
            )
            await check_children_signed(commits, fleet.projects.get(namespace), expansion.children)
        except (AxletreeError, ValueError) as error:
            self._freeze(state, key, error, generation=int(obj["metadata"].get("generation", 0)))
            state.attempted = _read_by(obj["spec"], commits) if state.permanent else {}
            state.refresh = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_REFRESH, "")
            state.rest_until = self._hub.now() + REST if isinstance(error, RenderTimeout) else None
            return None
        state.problem = state.rest_until = None
        state.attempted = {}
        return Expanded(key=key, obj=obj, spec=spec, expansion=expansion)

    def _rests(self, state: SetState, obj: Manifest) -> bool:
        """Whether it took the whole time limit a moment ago, and nobody has touched it since: others go on."""
        metadata = obj["metadata"]
        return (
            state.rest_until is not None
            and self._hub.now() < state.rest_until
            and state.generation == int(metadata.get("generation", 0))
            and state.refresh == (metadata.get("annotations") or {}).get(ANNOTATION_REFRESH, "")
        )

    def _claimed(self, found: list[Expanded], commits: Commits) -> list[Expanded]:
        """Those whose names are free or their own; the others are frozen."""
        caches = self._hub.caches
        wanted = {one.key: _names(one) for one in found}
        owners = {}
        for app in {app for names in wanted.values() for app in names}:
            obj = caches.applications.get(app)
            owner = "" if obj is None else views.owner_of(obj) or ""
            if obj is not None and (not owner or owner in caches.sets):  # what no set has any more is adopted
                owners[app] = owner
        refused = clashes(wanted, owners)
        for one in found:
            if one.key in refused:
                error = DuplicateName(str(refused[one.key]), set_key=one.key)
                generation = int(one.obj["metadata"].get("generation", 0))
                state = self._hub.state.set(one.key)
                self._freeze(state, one.key, error, generation=generation)
                state.attempted = _read_by(one.obj["spec"], commits.seen_by(one.key.partition("/")[0]))
        return [one for one in found if one.key not in refused]

    def waiting_for_a_name(self, namespace: str) -> set[str]:
        """Sets that may go on now that an Application of this namespace is gone."""
        return {
            key
            for key, state in self._hub.state.sets.items()
            if state.problem is not None
            and state.problem[0] == DuplicateName.reason
            and key.startswith(f"{namespace}/")
        }

    @staticmethod
    def _freeze(state: SetState, key: str, error: Exception, *, generation: int) -> None:
        """The last good plan of this set stays as it is; other sets go on."""
        reason = error.reason if isinstance(error, AxletreeError) else "Invalid"
        # What a source says does not know for whom it was read, and is told at the root as well.
        message = str(error) if f"set {key}" in str(error) else f"set {key}: {error}"
        state.problem = (reason, message)
        state.permanent = isinstance(error, TerminalError | ValueError)
        state.generation = generation
        who = {"applicationset": key}
        log.warning("set %s is frozen at its last plan: %s: %s", key, reason, error, extra=who)

    def approval_pending(self, obj: Manifest) -> bool:
        """Whether a person has approved what the set's plan holds, and no pass has seen it yet."""
        plan = self._hub.state.set(key_of(obj)).plan
        return bool(plan.get("held")) and approved(obj, plan)

    def unsettled(self, keys: Iterable[str]) -> set[str]:
        """Sets whose last pass failed in a way that time may mend."""
        states = self._hub.state.sets
        return {
            key
            for key in keys
            if (state := states.get(key)) is not None and state.problem is not None and not state.permanent
        }

    async def _plan_app(self, obj: Manifest, fleet: Fleet, commits: Commits) -> TargetSet:
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
        return targets


def _names(one: Expanded) -> set[AppKey]:
    namespace = one.key.partition("/")[0]
    return {f"{namespace}/{child.name}" for child in one.expansion.children}


def _read_by(spec: Manifest, commits: Commits) -> dict[str, str]:
    """What a pass resolved, of the repositories that a set names in so many words."""
    named = set(_repositories(spec))
    return {name: commit for name, commit in commits.revisions.items() if split_name(name)[0] in named}


def _repositories(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _repositories(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key == "repoURL" and isinstance(one, str):
                yield one
            else:
                yield from _repositories(one)
