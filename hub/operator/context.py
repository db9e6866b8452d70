"""What the controller's parts share, made once at start. No globals: a process can hold two hubs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.names import HUB_NAMESPACE
from hub.api.project import PROJECT_NAME, ProjectSpec
from hub.core.model import ClusterView, Fleet
from hub.gateway.liveness import is_stale, lease_name
from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from hub.operator.caches import Caches
    from hub.operator.settings import HubSettings
    from hub.operator.state import State
    from hub.operator.writer import Writer
    from hub.render.pool import WorkerPool
    from hub.render.renderer import Renderer
    from hub.sources.port import Source


@dataclass(frozen=True, slots=True)
class HubContext:
    settings: HubSettings
    caches: Caches
    state: State
    writer: Writer
    source: Source
    pool: WorkerPool
    renderer: Renderer
    hub_id: str
    epoch: int
    now: Callable[[], datetime]
    since: datetime
    """When this controller began: what is silent then may only be the hub's own absence."""
    resend: Callable[[str], None]
    """Ask a cluster's agent for all its reports again: what was written of them is gone."""

    def fleet(self) -> Fleet:
        """The fleet as the core sees it, of this moment's caches."""
        clusters: dict[str, ClusterView] = {}
        for obj in self.caches.clusters.values():
            view = self.cluster(obj)
            clusters[view.name] = view
        projects: dict[str, ProjectSpec] = {
            obj["metadata"]["namespace"]: ProjectSpec.model_validate(obj.get("spec") or {})
            for obj in self.caches.projects.values()
            if obj["metadata"]["name"] == PROJECT_NAME
        }
        sets = (views.cluster_set_view(obj) for obj in self.caches.cluster_sets.values())
        return Fleet(clusters=clusters, cluster_sets={view.name: view for view in sets}, projects=projects)

    def cluster(self, obj: Manifest) -> ClusterView:
        joined = bool((obj.get("status") or {}).get("sealingKey"))
        lease = self.lease(obj["metadata"]["name"])
        stale = joined and is_stale(lease, self.now(), self.settings.stale_after, since=self.since)
        return views.cluster_view(obj, stale=stale)

    def lease(self, cluster: str) -> Manifest | None:
        """The Lease that says whether this cluster's agent is heard."""
        return self.caches.leases.get(f"{HUB_NAMESPACE}/{lease_name(cluster)}")
