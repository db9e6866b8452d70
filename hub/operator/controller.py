"""The controller: events wake keys, two loops serve them.

The plan loop is the slow one: Git, expansion, rendering. The release loop is the fast one: reports and gates. They
share caches and memory, and each owns what it writes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from hub.operator.admission import refusal
from hub.operator.decisions import Decisions
from hub.operator.deletion import Deletions
from hub.operator.events import Events, refresh_of
from hub.operator.fleetstatus import FleetStatuses
from hub.operator.planloop import PlanLoop
from hub.operator.planner import Planner
from hub.operator.poller import Poller
from hub.operator.releaser import Releaser
from hub.operator.rulecheck import rule_problem
from hub.operator.setadmission import set_refusal
from hub.operator.state import Target
from hub.operator.webhooks import Webhooks

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.operator.context import HubContext

log = logging.getLogger(__name__)


class Controller:
    """Runs while it leads. Made anew for each term: what it holds in memory must not outlive its Lease."""

    def __init__(self, hub: HubContext) -> None:
        self._hub = hub
        self.releaser = Releaser(hub)
        decisions = Decisions(hub, self.releaser.graph.order)
        self.planner = Planner(hub, decisions)
        binder = self.releaser.binder
        self.plans = PlanLoop(hub, self.planner, on_planned=self._planned, bind=binder.bind)
        binder.ask = self.plans.ask_inputs
        self.deletions = Deletions(hub, self.plans, decisions, on_held=self.releaser.rollups.set_dirty)
        self.fleet_statuses = FleetStatuses(hub)
        self._poller = Poller(hub, self.plans)
        self.webhooks = Webhooks(hub, self.plans, self._poller)
        self.events = Events(
            hub, self.releaser, self.planner, self.plans, self.deletions, self.fleet_statuses
        )
        self._ready = False

    def wake(self, plural: str, key: str, resource_version: str) -> None:
        self.events.wake(plural, key, resource_version)

    async def refusal(self, obj: Manifest) -> str:
        """Why this object of ours may not be written; empty where it may."""
        problem = rule_problem(obj)
        if problem or not self._ready:
            return problem
        match obj.get("kind"):
            case "Application":
                return refusal(self.releaser.graph, obj)
            case "ApplicationSet":
                return await set_refusal(self._hub, self.releaser.graph, obj)
            case _:
                return ""

    def alive(self) -> dict[str, Any]:
        return {"synced": self._ready, "sets": len(self._hub.caches.sets)}

    def depths(self) -> dict[str, int]:
        """What waits, by queue."""
        return {
            "intake": self.events.waiting,
            "plan": self.plans.waiting,
            "release": self.releaser.waiting,
            "rollups": self.releaser.rollups.waiting,
            "render": self._hub.pool.waiting,
        }

    # -- life

    async def run(self) -> None:
        """Until cancelled. Starts with a pass over everything, on complete caches only."""
        caches = self._hub.caches
        await caches.wait_synced()
        self._restore()
        self.events.listen()
        caches.leases.subscribe(self.webhooks.lease_moved)
        self._ready = True
        self.plans.ask_everything()
        for key in caches.applications:
            self.releaser.wake(key)
        self.releaser.kick()
        for name in caches.clusters:
            self.releaser.wake_cluster(name)
            self.deletions.wake_cluster(name)
        self.deletions.wake_going()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.events.run(), name="intake")
            tasks.create_task(self.plans.run(), name="plan")
            tasks.create_task(self.releaser.run(), name="release")
            tasks.create_task(self.releaser.rollups.run(), name="rollups")
            tasks.create_task(self.fleet_statuses.run(), name="fleet-statuses")
            tasks.create_task(self.deletions.run(), name="deletions")
            tasks.create_task(self._poller.run(), name="poll")
            tasks.create_task(self.webhooks.run(), name="webhooks")
            tasks.create_task(self._full_pass(), name="full-pass")
            tasks.create_task(self._watch_silence(), name="silence")

    def _restore(self) -> None:
        """What earlier processes decided: targets from status, releases from Assignments."""
        for key, obj in self._hub.caches.applications.view().items():
            target = Target.from_status(obj)
            if target is not None:
                self._hub.state.targets[key] = target
        for key, obj in self._hub.caches.sets.view().items():
            state = self._hub.state.set(key)
            state.plan = (obj.get("status") or {}).get("plan") or {}
            state.revisions = dict(state.plan.get("revisions") or {})
            state.refresh = refresh_of(obj)
            state.generation = int((obj.get("status") or {}).get("observedGeneration") or 0)
        self.releaser.restore()

    async def _full_pass(self) -> None:
        """A lost event costs at most this long."""
        while True:
            await asyncio.sleep(self._hub.settings.full_pass * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            self.plans.ask_everything()
            for key in self._hub.caches.applications:
                self.releaser.wake(key)
            self.deletions.wake_going()

    async def _watch_silence(self) -> None:
        """A cluster may become Stale with no event at all: when the gateway that kept its Lease is gone, too."""
        stale: frozenset[str] = frozenset()
        while True:
            await asyncio.sleep(self._hub.settings.stale_after / 4 * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            now = frozenset(name for name, view in self._hub.fleet().clusters.items() if view.stale)
            for name in now ^ stale:
                self.releaser.wake_cluster(name)
            stale = now

    def _planned(self, sets: set[str], applications: set[str]) -> None:
        for key in applications:
            self.releaser.wake(key)
        for key in sets:
            self.releaser.rollups.set_dirty(key)
        self.fleet_statuses.wake()
