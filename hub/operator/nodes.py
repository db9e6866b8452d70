"""Application objects -> the graph's nodes: what is wanted, what is assigned, what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from agent.contract.canonical import canonical_json
from agent.contract.names import (
    ANNOTATION_FORCE_RELEASE,
    ANNOTATION_PAUSED,
    ANNOTATION_SYNC,
    HUB_CLUSTER,
    applyset_id,
)
from hub.api.application import SyncMode
from hub.api.dependency import Dependency
from hub.api.flow import Input
from hub.core.model import AppNode
from hub.core.outputs import Exported, exported
from hub.operator import views

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.api.application import ApplicationSpec
    from hub.core.rollout import Release
    from hub.operator.context import HubContext
    from hub.operator.state import Target

_DEPENDENCIES = TypeAdapter(list[Dependency])
_INPUTS = TypeAdapter(list[Input])
_WAITS = ("Join:",)
"""Problems that are a wait, not a failure: the release rule has its own words for them."""


class Nodes:
    """Builds nodes, and knows which root Application an object on the hub came from."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self._roots: dict[str, str] = {}
        self._released: dict[str, dict[str, tuple[str, int]]] = {}
        """cluster -> app -> (digest, release), as the Assignment says."""
        self._times: dict[str, tuple[int, datetime]] = {}
        """app -> when it was let go to which release, for as long as its status does not say it."""

    def assigned(self, cluster: str, spec: dict[str, object]) -> None:
        """The Assignment of a cluster as it is now: the source of what is released."""
        apps = spec.get("apps")
        entries = apps if isinstance(apps, list) else []
        self._released[cluster] = {entry["app"]: (entry["digest"], entry["release"]) for entry in entries}

    def release(self, node: AppNode, release: Release) -> AppNode:
        """Let it go: from here on this is what is released, and the next Assignment says so."""
        self._released.setdefault(node.cluster, {})[node.key] = (release.digest, release.release)
        now = self._hub.now()
        self._times[node.key] = (release.release, now)
        return replace(node, released=release.digest, release=release.release, released_at=now)

    def blobs(self, cluster: str) -> dict[str, str]:
        """The stored bytes of each target, for releases that the last Assignment does not have yet."""
        targets = self._hub.state.targets
        released = self._released.get(cluster, {})
        return {
            key: target.blob
            for key, (digest, _) in released.items()
            if (target := targets.get(key)) is not None and target.digest == digest
        }

    def release_of(self, cluster: str, key: str) -> tuple[str, int]:
        return self._released.get(cluster, {}).get(key, ("", 0))

    def build(self, key: str, obj: Manifest) -> AppNode:
        spec = views.application_spec(obj)
        status = obj.get("status") or {}
        owner = views.owner_of(obj)
        target = self._hub.state.targets.get(key)
        digest, release = self.release_of(spec.cluster, key)
        if not release:
            release = int((status.get("sync") or {}).get("release", 0))
        if spec.cluster == HUB_CLUSTER:
            self._roots[applyset_id(self._hub.hub_id, HUB_CLUSTER, key)] = key
        problem = target.problem if target is not None else ""
        deletion = status.get("deletion") or {}
        inputs, edges = _inputs(canonical_json(obj["spec"].get("inputs") or []))
        return AppNode(
            key=key,
            cluster=spec.cluster,
            labels=obj["metadata"].get("labels") or {},
            owner=owner,
            part_of=self.root_of(obj),
            depends_on=(*_dependencies(canonical_json(obj["spec"].get("dependsOn") or [])), *edges),
            inputs=inputs,
            exports={each.name: tuple(each.export_to) for each in spec.outputs},
            sealed=frozenset(each.name for each in spec.outputs if each.sealed),
            outputs=self._outputs(key, spec, obj, target=target, released=digest),
            flapping=self._hub.state.flapping.get(key, ""),
            mode=_mode(spec, obj, target),
            forced=forced_by(obj, target, digest=digest, release=release),
            plan=target.plan if target is not None else 0,
            target=target.digest if target is not None else "",
            target_problem="" if problem.startswith(_WAITS) else problem,
            released=digest,
            release=release,
            observed=views.observed_of(obj),
            deleting=bool(deletion) and not deletion.get("held"),
            pinned=target.pinned if target is not None else "",
            released_at=self._released_at(key, release, status),
            healthy_since=_healthy_since(status),
            paused=(obj["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true",
        )

    def _outputs(
        self, key: str, spec: ApplicationSpec, obj: Manifest, *, target: Target | None, released: str
    ) -> tuple[Exported, ...]:
        """The last good values: what is remembered, with what the newest report adds."""
        state, status = self._hub.state, obj.get("status") or {}
        if not spec.outputs:
            state.outputs.pop(key, None)
            return ()
        held = state.outputs.get(key)
        if held is None:
            held = tuple(Exported.from_json(each) for each in status.get("outputs") or ())
        history = status.get("history") or ()
        revision = next((each.get("revision", "") for each in history if each["digest"] == released), "")
        if target is not None and target.digest == released:
            revision = target.revision
        found = exported(
            spec.outputs,
            held,
            views.observed_of(obj),
            released=released,
            revision=revision,
            posted=status.get("external") or (),
            producer=key,
        )
        state.outputs[key] = found
        return found

    def _released_at(self, key: str, release: int, status: Manifest) -> datetime | None:
        history = status.get("history") or ()
        if history and history[0].get("release") == release:
            self._times.pop(key, None)
            return datetime.fromisoformat(history[0]["at"])
        number, moment = self._times.get(key, (0, None))
        return moment if number == release else None

    def root_of(self, obj: Manifest) -> str | None:
        """The root Application whose manifests include this object, by the agent's own label."""
        return self._roots.get(views.part_of_label(obj))


def _healthy_since(status: Manifest) -> datetime | None:
    """Ready says that it is Healthy at its target."""
    for each in status.get("conditions") or ():
        if each["type"] == "Ready":
            return datetime.fromisoformat(each["lastTransitionTime"]) if each["status"] == "True" else None
    return None


@lru_cache(maxsize=4096)
def _dependencies(raw: bytes) -> tuple[Dependency, ...]:
    """Children of one set mostly carry equal ones: each distinct list is kept once."""
    return tuple(_DEPENDENCIES.validate_json(raw))


@lru_cache(maxsize=4096)
def _inputs(raw: bytes) -> tuple[tuple[Input, ...], tuple[Dependency, ...]]:
    """Inputs with the edges that they are, each distinct list once."""
    found = _INPUTS.validate_json(raw)
    return tuple(found), tuple(each.edge() for each in found)


def forced_by(obj: Manifest, target: Target | None, *, digest: str, release: int) -> str:
    """Who lets it go past its gates to exactly this target as its next release; empty where nobody does.

    Once: what was released so is still told, and another release of the same digest has to be asked for again.
    """
    value = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_FORCE_RELEASE, "")
    wanted, _, rest = value.partition("/")
    number, _, who = rest.partition("/")
    if target is None or not wanted or wanted != target.digest or not number.isdigit():
        return ""
    meant = int(number) == release + 1 or (int(number) == release and wanted == digest)
    return (who or "somebody") if meant else ""


def _mode(spec: ApplicationSpec, obj: Manifest, target: Target | None) -> SyncMode:
    """Manual until someone asked for exactly this target: an older yes is not a yes to what came since."""
    asked = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_SYNC)
    meant = target is not None and bool(target.digest) and asked == target.digest
    return SyncMode.AUTO if meant else spec.sync.mode
