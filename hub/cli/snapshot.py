"""A hub as it was a moment ago: its objects, and the core's own graph and fleet made of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_PAUSED, LABEL_CREDENTIALS
from hub.api.project import PROJECT_NAME, ProjectSpec
from hub.cli.connect import FORBIDDEN
from hub.cli.kinds import APPS, CLUSTER_SETS, CLUSTERS, PROJECTS, SETS, key_of
from hub.cli.liveness import LEASES, with_liveness
from hub.core.breaker import Breaker, breaker_of
from hub.core.graph import AppGraph
from hub.core.model import AppNode, Fleet
from hub.operator import paths, views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.reach import Reads


@dataclass(frozen=True, slots=True)
class Snapshot:
    apps: Mapping[str, Manifest] = field(default_factory=dict)
    sets: Mapping[str, Manifest] = field(default_factory=dict)
    fleet: Fleet = field(default_factory=Fleet)
    secrets: Sequence[Manifest] = ()
    """Credentials of repositories, where they were asked for and may be read."""

    @property
    def inputs(self) -> dict[str, list[dict[str, Any]]]:
        """What Applications were rendered with, of those that have inputs."""
        found = {key: (obj.get("status") or {}).get("inputs") for key, obj in self.apps.items()}
        return {key: bound for key, bound in found.items() if bound}

    @property
    def paused(self) -> frozenset[str]:
        """Sets and Applications that a person holds."""
        both = [*self.apps.items(), *self.sets.items()]
        return frozenset(
            key
            for key, obj in both
            if (obj["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true"
        )

    def breaker(self, now: datetime) -> Breaker:
        """What this hub may still lose within the hour."""
        decisions = ((obj.get("status") or {}).get("deletion") or {} for obj in self.apps.values())
        plans = ((obj.get("status") or {}).get("plan") or {} for obj in self.sets.values())
        drops = (each for plan in plans for each in plan.get("drops") or ())
        return breaker_of(len(self.apps), decisions, drops, now=now)

    def graph(self) -> AppGraph:
        """Every Application as its status has it: what the release rule of the hub decides over."""
        built = AppGraph()
        for view in self.fleet.clusters.values():
            built.upsert_cluster(view)
        for key, obj in sorted(self.apps.items()):
            built.upsert(node_of(key, obj))
        return built


async def snapshot(client: Reads, *, secrets: bool = False) -> Snapshot:
    """Everything that the core decides over, read once."""
    kinds = (APPS, SETS, CLUSTERS, CLUSTER_SETS, PROJECTS)
    listings = await asyncio.gather(*(client.list(kind.path()) for kind in kinds), client.list(LEASES))
    apps, sets, clusters, cluster_sets, projects, leases = (listing.items for listing in listings)
    live = with_liveness(clusters, leases, datetime.now(UTC))
    views_of_clusters = (
        views.cluster_view(obj, stale=(obj.get("status") or {}).get("connected") == "Stale") for obj in live
    )
    return Snapshot(
        apps={key_of(obj): obj for obj in apps},
        sets={key_of(obj): obj for obj in sets},
        fleet=Fleet(
            clusters={view.name: view for view in views_of_clusters},
            cluster_sets={obj["metadata"]["name"]: views.cluster_set_view(obj) for obj in cluster_sets},
            projects={
                obj["metadata"]["namespace"]: ProjectSpec.model_validate(obj.get("spec") or {})
                for obj in projects
                if obj["metadata"]["name"] == PROJECT_NAME
            },
        ),
        secrets=await _credentials(client) if secrets else (),
    )


async def _credentials(client: Reads) -> Sequence[Manifest]:
    """Whoever may not read them reads repositories without."""
    try:
        return (await client.list(paths.SECRETS, label_selector=LABEL_CREDENTIALS)).items
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
        return ()


def node_of(key: str, obj: Manifest) -> AppNode:
    """An Application as its own status says that the controller sees it."""
    spec = views.application_spec(obj)
    status = obj.get("status") or {}
    sync = status.get("sync") or {}
    deletion = status.get("deletion") or {}
    return AppNode(
        key=key,
        cluster=spec.cluster,
        labels=obj["metadata"].get("labels") or {},
        owner=views.owner_of(obj),
        depends_on=spec.edges(),
        mode=spec.sync.mode,
        plan=int(sync.get("plan", 0)),
        target=str(sync.get("target", "")),
        released=str(sync.get("released", "")),
        release=int(sync.get("release", 0)),
        observed=views.observed_of(obj),
        deleting=bool(deletion) and not deletion.get("held"),
    )
