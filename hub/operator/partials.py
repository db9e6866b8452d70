"""What is kept of each set's last plan, so that a change of one cluster plans that cluster's children alone.

In memory only: after a restart, a failed pass, or a change of anything but clusters, a set is planned as a whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import ANNOTATION_REFRESH
from hub.api.application import ApplicationSpec
from hub.core.expansion import Expansion
from hub.core.partial import Kept, Part
from hub.core.sight import Sight, narrowed, sight_of
from hub.operator import views
from hub.operator.drafts import Expanded, approved
from hub.render.expansion import expand_set

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from agent.contract.manifest import Manifest
    from hub.api.applicationset import ApplicationSetSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import AppKey, ClusterSetView, Fleet, SetKey
    from hub.operator.commits import Commits
    from hub.operator.context import HubContext
    from hub.operator.drafts import Draft

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Basis:
    """What the kept expansion was made from, clusters and commits aside."""

    uid: str
    generation: int
    refresh: str
    project: ProjectSpec | None
    cluster_sets: Mapping[str, ClusterSetView]


@dataclass(slots=True)
class _Entry:
    basis: _Basis
    spec: ApplicationSetSpec
    kept: Kept


class Partials:
    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._entries: dict[SetKey, _Entry] = {}

    def forget(self, key: SetKey) -> None:
        """The next pass over it is a whole one."""
        self._entries.pop(key, None)

    def seen(self, owner: SetKey, name: str) -> None:
        """An Application of the set appeared: one that its last plan does not know makes the next a whole one."""
        entry = self._entries.get(owner)
        if entry is not None and name not in entry.kept.rows:
            self.forget(owner)

    def whole(self) -> set[SetKey]:
        """Sets of which nothing is kept that still holds."""
        fleet = self._hub.fleet()
        return {
            key for key, obj in self._hub.caches.sets.view().items() if self._fitting(key, obj, fleet) is None
        }

    async def expand(
        self, key: SetKey, clusters: frozenset[str], fleet: Fleet, commits: Commits
    ) -> Expanded | None:
        """The set with these clusters' rows made again; None where it has to be planned as a whole."""
        obj = self._hub.caches.sets.get(key)
        entry = None if obj is None else self._fitting(key, obj, fleet)
        if obj is None or entry is None:
            return None
        generators = narrowed(obj["spec"].get("generators") or [], clusters)
        if generators is None:
            return None
        few = replace(fleet, clusters={each: view for each in clusters if (view := fleet.clusters.get(each))})
        expansion = await self._narrow(key, {**obj["spec"], "generators": generators}, few, commits)
        if expansion is None:
            return None
        part = entry.kept.part(expansion, clusters)
        part = None if part is None else self._standing(key, part, entry.kept, clusters, few.clusters)
        if part is None:
            return None
        specs = [child.manifest["spec"] for child in part.children]
        specs += [self._hub.caches.applications.view()[each]["spec"] for each in part.standing]
        mine = commits.seen_by(key.partition("/")[0])
        if not await _same(specs, self._hub.state.set(key).revisions, mine):
            return None
        return Expanded(
            key=key,
            obj=obj,
            spec=entry.spec,
            expansion=expansion,
            part=part,
            kept=entry.kept,
            clusters=clusters,
        )

    async def _narrow(
        self, key: SetKey, spec: Mapping[str, Any], few: Fleet, commits: Commits
    ) -> Expansion | None:
        """The children of the few clusters; None where that fails: what is wrong, a whole expansion says best."""
        if not spec["generators"]:
            return Expansion(())
        namespace, _, name = key.partition("/")
        try:
            return await expand_set(
                namespace,
                name,
                spec,
                fleet=few,
                source=commits,
                runner=self._hub.pool,
                asker=self._hub.asker,
                part=True,
            )
        except ApiError:
            raise
        except (AxletreeError, ValueError) as error:
            log.debug("set %s is planned as a whole: %s", key, error)
            return None

    async def same_commits(self, key: AppKey, commits: Commits) -> bool:
        """Whether a hand-written Application would read what it has read."""
        obj = self._hub.caches.applications.get(key)
        known = self._hub.state.app(key).revisions
        return obj is None or await _same([obj["spec"]], known, commits.seen_by(key.partition("/")[0]))

    def keep(self, draft: Draft, fleet: Fleet) -> None:
        """Remember what was planned. Where anything of it is not settled, nothing is."""
        one, plan = draft.one, draft.plan
        self.forget(one.key)
        if plan.recreate or self._hub.state.set(one.key).problem is not None:
            return
        found = {key.partition("/")[2]: reads for key, reads in draft.targets.reads.items()}
        if one.part is not None and one.kept is not None:
            kept = one.kept
            kept.take(one.part, one.clusters, found)
        else:
            if Sight.WHOLE in map(sight_of, one.obj["spec"].get("generators") or []):
                return
            kept = Kept(one.expansion.revisions, one.expansion.largest)
            kept.keep(one.expansion.children, found)
        kept.left = set(draft.left)
        self._entries[one.key] = _Entry(_basis(one.key, one.obj, fleet), one.spec, kept)

    def _fitting(self, key: SetKey, obj: Manifest, fleet: Fleet) -> _Entry | None:
        entry = self._entries.get(key)
        state = self._hub.state.set(key)
        held = bool(state.plan.get("held")) and approved(obj, state.plan)
        if entry is None or held or state.problem is not None or "deletionTimestamp" in obj["metadata"]:
            return None
        return entry if entry.basis == _basis(key, obj, fleet) else None

    def _standing(
        self, key: SetKey, part: Part, kept: Kept, clusters: Collection[str], few: Mapping[str, Any]
    ) -> Part | None:
        """The part with the children that run on these clusters; None where one of those has lost its cluster."""
        caches, namespace = self._hub.caches, key.partition("/")[0]
        mine = {name for cluster in clusters for name in kept.origins.get(cluster, ())}
        mine |= {child.name for child in part.children}
        standing, leaving = [], False
        for cluster in clusters:
            for each in caches.on_cluster(cluster):
                name = each.partition("/")[2]
                leaving = leaving or each in kept.left
                obj = caches.applications.get(each)
                if obj is None or views.owner_of(obj) != key or name not in kept.rows or name in mine:
                    continue
                if cluster not in few or few[cluster].removing:
                    return None
                standing.append(each)
        gone = (f"{namespace}/{name}" for name in part.gone)
        return replace(
            part, left=frozenset((*kept.left, *gone)), standing=tuple(sorted(standing)), leaving=leaving
        )


def _basis(key: SetKey, obj: Manifest, fleet: Fleet) -> _Basis:
    metadata = obj["metadata"]
    return _Basis(
        uid=str(metadata.get("uid", "")),
        generation=int(metadata.get("generation", 0)),
        refresh=str((metadata.get("annotations") or {}).get(ANNOTATION_REFRESH, "")),
        project=fleet.projects.get(key.partition("/")[0]),
        cluster_sets=fleet.cluster_sets,
    )


async def _same(specs: Iterable[Manifest], known: Mapping[str, str], commits: Commits) -> bool:
    """Whether all of it would be read at the commits that are known.

    Otherwise it is planned with everything that reads the same: an edge must not see half a commit.
    """
    origins = {origin for spec in specs for origin in ApplicationSpec.model_validate(spec).origins()}
    for address, revision in sorted(origins):
        name = f"{address}@{revision}"
        try:
            if name not in known or await commits.resolve(address, revision) != known[name]:
                return False
        except AxletreeError:
            continue  # a source that is away changes nothing
    return True
