"""What the controller's parts share, made once at start. No globals: a process can hold two hubs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.names import HUB_NAMESPACE
from hub.gateway.liveness import lease_name
from hub.telemetry.meters import Meters

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from hub.core.model import Fleet
    from hub.hosts.ask import Asker
    from hub.operator.caches import Caches
    from hub.operator.fleetview import FleetView
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
    fleet_view: FleetView
    asker: Asker | None = None
    """Who asks hosts and plugins for generators."""
    meters: Meters = field(default_factory=Meters)

    def fleet(self) -> Fleet:
        """The fleet as the core sees it, of this moment's caches."""
        return self.fleet_view.fleet()

    def lease(self, cluster: str) -> Manifest | None:
        """The Lease that says whether this cluster's agent is heard."""
        return self.caches.leases.get(f"{HUB_NAMESPACE}/{lease_name(cluster)}")
