"""What people see of Applications: their status, written only where it changed, and what was decided about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState
from agent.contract.names import ANNOTATION_FORCE_REMOVE, HUB_CLUSTER
from hub.api.application import DeletionPolicy
from hub.api.applicationset import SetHealth
from hub.core.derive import application_status
from hub.core.inputs import Bound
from hub.core.model import AppNode, Drop
from hub.core.plan import stamp
from hub.core.rollout import blockers
from hub.core.rollup import root_health
from hub.core.sinks import with_sinks
from hub.operator import paths, views
from hub.operator.writer import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.contract.manifest import Manifest
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, Fleet
    from hub.core.rollout import Gate
    from hub.operator.context import HubContext
    from hub.operator.nodes import Nodes


class Statuses:
    def __init__(
        self,
        hub: HubContext,
        graph: AppGraph,
        nodes: Nodes,
        *,
        gates: tuple[Gate, ...] = (),
        soaks: Callable[[AppKey], list[dict[str, str]] | None] = lambda _: None,
    ) -> None:
        self._hub = hub
        self._graph = graph
        self._nodes = nodes
        self._gates = gates
        self._soaks = soaks

    async def write(self, keys: Iterable[AppKey], fleet: Fleet) -> None:
        """The controller's part of these Applications' status, each at most one patch."""
        nodes = [node for key in sorted(set(keys)) if (node := self._graph.get(key)) is not None]
        for failure in await self._hub.writer.all(self._write(node, fleet) for node in nodes):
            raise failure

    async def _write(self, node: AppNode, fleet: Fleet) -> None:
        obj = self._hub.caches.applications.get(node.key)
        if obj is None or self._new(node, obj):
            return
        current = obj.get("status") or {}
        wanted = self._application(node, obj, fleet)
        wanted["blockedBy"] = wanted.get("blockedBy")
        wanted["history"] = _history(current, node, wanted["sync"], self._hub.now())
        patch = changed({key: current.get(key) for key in wanted if key in current}, wanted)
        if patch:
            await self._hub.writer.status(self._hub.caches.applications, paths.application(node.key), patch)

    def _new(self, node: AppNode, obj: Manifest) -> bool:
        """Whether it was made a moment ago, and the pass that made it is about to give it its target."""
        owner = views.owner_of(obj)
        return (
            owner in self._hub.caches.sets
            and node.key not in self._hub.state.targets
            and not obj.get("status")
            and not node.deleting
        )

    def _application(self, node: AppNode, obj: Manifest, fleet: Fleet) -> Manifest:
        target = self._hub.state.targets.get(node.key)
        parts: SetHealth | None = None
        if node.cluster == HUB_CLUSTER:
            node, parts = self._with_parts(node)
        status = application_status(
            node,
            blockers(node.key, self._graph, fleet, gates=self._gates),
            generation=int(obj["metadata"].get("generation", 0)),
            conditions=(obj.get("status") or {}).get("conditions") or (),
            now=stamp(self._hub.now()),
            revision=target.revision if target is not None else "",
            target_blob=target.blob if target is not None else "",
            transient=target is not None and not target.permanent,
        )
        status["outputs"] = [each.to_json() for each in node.outputs] or None
        status["inputs"] = self._inputs(node, obj)
        changes = self._hub.state.input_changes.get(node.key) if node.inputs else None
        held = (obj.get("status") or {}).get("inputChanges")
        status["inputChanges"] = (
            held if changes is None else [{"at": stamp(each)} for each in changes] or None
        )
        status["soaks"] = self._soaks(node.key)
        with_sinks(status, obj, self._hub.caches.credentials.get, now=stamp(self._hub.now()))
        if parts is not None:
            status["health"] |= {"counts": parts.counts, "worst": parts.worst}
        return status

    def _inputs(self, node: AppNode, obj: Manifest) -> list[dict[str, Any]] | None:
        """What its target was made with, and since when."""
        held = (obj.get("status") or {}).get("inputs")
        if not node.inputs:
            return None
        bound = self._hub.state.bound.get(node.key)
        if bound is None:
            return (
                list(held) if held else None
            )  # this process has not looked yet: it stands until then, to be read
        if not bound.names:
            return None
        if held and Bound.from_json(held) == bound:
            return list(held)
        return bound.to_json(at=stamp(self._hub.state.bound_at.get(node.key) or self._hub.now()))

    def _with_parts(self, node: AppNode) -> tuple[AppNode, SetHealth | None]:
        """A root as healthy as what it holds: the sets and Applications that its manifests include."""
        seen = node.observed
        sets = [
            SetHealth.model_validate((obj.get("status") or {}).get("health") or {})
            for obj in self._hub.caches.sets.values()
            if self._nodes.root_of(obj) == node.key
        ]
        apps = [part for key in self._graph.parts_of(node.key) if (part := self._graph.get(key)) is not None]
        if seen is None or not (sets or apps):
            return node, None
        health = root_health(seen, sets=sets, apps=apps)
        observed = replace(seen, health=HealthState(health.state), health_message=health.message)
        return replace(node, observed=observed), health

    # -- recorded decisions

    def tombstones(self, cluster: str) -> list[Drop]:
        """Every recorded decision about apps of this cluster, Held ones included."""
        found = []
        for key in self._graph.on_cluster(cluster):
            obj = self._hub.caches.applications.get(key)
            deletion = ((obj or {}).get("status") or {}).get("deletion")
            if deletion:
                moment = datetime.fromisoformat(deletion["decidedAt"])
                found.append(Drop(key, deletion["reason"], moment, deletion.get("held") or ""))
        return found

    def orphans(self, cluster: str) -> list[AppKey]:
        """Apps whose objects stay on the cluster when the app goes: their own policy, or their set's.

        All of them on a cluster that is removed by force, should its agent be there after all.
        """
        obj = self._hub.caches.clusters.get(cluster)
        marks = (obj or {}).get("metadata", {}).get("annotations") or {}
        if marks.get(ANNOTATION_FORCE_REMOVE) == "true":
            return list(self._graph.on_cluster(cluster))
        return [key for key in self._graph.on_cluster(cluster) if self._orphaned(key)]

    def _orphaned(self, key: AppKey) -> bool:
        obj = self._hub.caches.applications.get(key)
        if obj is None:
            return False
        owner = self._hub.caches.sets.get(views.owner_of(obj) or "")
        # As they stand, not through their models: every step asks this of all apps on the clusters that it touches.
        rules = ((each or {}).get("spec", {}).get("deletion") or {} for each in (obj, owner))
        return any(rule.get("policy") == DeletionPolicy.ORPHAN.value for rule in rules)


def _history(
    current: dict[str, Any], node: AppNode, sync: dict[str, Any], now: datetime
) -> list[dict[str, Any]] | None:
    """The last ten releases, newest first; each with its stored bytes, and whether it was well."""
    history: list[dict[str, Any]] = list(current.get("history") or ())
    if node.release and node.released and (not history or history[0].get("release") != node.release):
        entry = {"release": node.release, "digest": node.released, "revision": sync["revision"]}
        entry |= {"forced": node.forced} if node.forced else {}
        history.insert(0, entry | {"at": stamp(now)})
    if history and (history[0].get("release"), history[0]["digest"]) == (node.release, node.released):
        history[0] = _known_of(history[0], node, blob=sync["targetBlob"])
    return history[:10] or None


def _known_of(entry: dict[str, Any], node: AppNode, *, blob: str) -> dict[str, Any]:
    seen = node.observed
    found = dict(entry)
    if blob and node.target == node.released:
        found["blob"] = blob
    if node.at_target and seen is not None and seen.health is HealthState.HEALTHY:
        found["well"] = True
    return found
