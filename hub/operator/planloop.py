"""The plan loop: what has to be planned anew, one pass over all of it at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.operator.context import HubContext
    from hub.operator.drafts import Draft
    from hub.operator.planner import Pass, Planner

log = logging.getLogger(__name__)
RETRY_SECONDS = 5.0
SETTLE = 0.3
SPACING = 0.02


class PlanLoop:
    """`on_planned(sets, applications)`: these sets were planned, and of these Applications the target moved."""

    def __init__(
        self,
        hub: HubContext,
        planner: Planner,
        *,
        on_planned: Callable[[set[str], set[str]], None],
        bind: Callable[[set[str]], Awaitable[set[str]]] | None = None,
    ) -> None:
        self._hub = hub
        self._bind = bind
        """Renders Applications with what their inputs are now; gives those whose target moved."""
        self._inputs: set[str] = set()
        self._planner = planner
        self._on_planned = on_planned
        self._sets: set[str] = set()
        self._apps: set[str] = set()
        self._fresh: set[str] = set()
        self._clusters: set[str] = set()
        self._wake = asyncio.Event()
        self._later: dict[str, Draft] = {}
        """Plans that are to be written when it is quiet, by set."""

    @property
    def waiting(self) -> int:
        """Sets, Applications and clusters that are to be planned."""
        return len(self._sets) + len(self._apps) + len(self._clusters) + len(self._inputs)

    def ask_set(self, key: str, *, fresh: bool = False) -> None:
        """Ask for a pass over a set, and over those that read the same repository and revision."""
        self._sets.add(key)
        if fresh:
            self._fresh.add(key)
        self._wake.set()

    def ask_app(self, key: str, *, fresh: bool = False) -> None:
        """Ask for a pass over a hand-written Application."""
        self._apps.add(key)
        if fresh:
            self._fresh.add(key)
        self._wake.set()

    def ask_cluster(self, name: str) -> None:
        """Ask for a pass over what one cluster, or its labels and values, are to each set and Application."""
        self._clusters.add(name)
        self._wake.set()

    def ask_inputs(self, key: str) -> None:
        """Ask for an Application to be rendered with what its inputs are now."""
        self._inputs.add(key)
        self._wake.set()

    def ask_everything(self) -> None:
        for key in self._hub.caches.sets:
            self.ask_set(key)
        for key, obj in self._hub.caches.applications.view().items():
            if views.owner_of(obj) is None:
                self.ask_app(key)

    async def run(self) -> None:
        """Serve what is asked for, until cancelled."""
        while True:
            if self._later and await self._quiet():
                await self._settle()
                continue
            await self._wake.wait()
            self._wake.clear()
            sets, self._sets = self._sets, set()
            apps, self._apps = self._apps, set()
            fresh, self._fresh = self._fresh, set()
            clusters, self._clusters = self._clusters, set()
            inputs, self._inputs = self._inputs, set()
            try:
                with self._hub.meters.step("plan"):
                    done = await self.once(sets, apps, fresh=bool(fresh), clusters=frozenset(clusters))
                    bound = await self._bind(inputs) if self._bind is not None and inputs else set()
            except ApiError as error:
                self._inputs |= inputs
                log.warning("the plan pass is tried again: %s", error)
                self._retry(sets, apps, fresh, clusters)
                continue
            for key in done.sets:
                self._later.pop(key, None)
            self._later |= done.later
            self._on_planned(done.sets, done.touched | bound)
            self._again_later(self._planner.unsettled(done.sets))

    async def once(
        self,
        sets: set[str],
        apps: set[str],
        *,
        fresh: bool = False,
        clusters: frozenset[str] = frozenset(),
    ) -> Pass:
        """One pass, wider each time that a part turns out to take the whole: all of it sees the same commits.

        What was asked for grows with it, so that a pass that fails is tried again over all of it.
        """
        if clusters:
            sets |= self._planner.whole()
        while True:
            self._join_sharing(sets, apps)
            done = await self._planner.plan(sets, apps, fresh=fresh, clusters=clusters)
            if not (done.whole_sets or done.whole_apps):
                return done
            sets |= done.whole_sets
            apps |= done.whole_apps

    async def _quiet(self) -> bool:
        """Whether no pass is asked for within a moment: what no release waits for has time until then."""
        try:
            await asyncio.wait_for(self._wake.wait(), SETTLE)
        except TimeoutError:
            return True
        return False

    async def _settle(self) -> None:
        """Write the plans that change nothing but the commit's name, one after the other, until a pass is due."""
        while self._later and not self._wake.is_set():
            key, draft = self._later.popitem()
            try:
                await self._planner.publish(draft)
            except ApiError as error:
                who = {"applicationset": key}
                log.warning("the plan of %s is written again later: %s", key, error, extra=who)
                self._later[key] = draft
                return
            await asyncio.sleep(SPACING)

    def _again_later(self, unsettled: set[str]) -> None:
        """A source that could not be reached may be back soon."""

        def again() -> None:
            for key in unsettled:
                self.ask_set(key)

        if unsettled:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, again)

    def _retry(self, sets: set[str], apps: set[str], fresh: set[str], clusters: set[str]) -> None:
        def again() -> None:
            self._sets |= sets
            self._apps |= apps
            self._fresh |= fresh
            self._clusters |= clusters
            self._wake.set()

        asyncio.get_running_loop().call_later(random.uniform(0.3, 1.0), again)  # noqa: S311 - jitter

    def _join_sharing(self, sets: set[str], apps: set[str]) -> None:
        """Add all that read a repository and revision which one of these reads: all see the same commit."""
        states, caches = self._hub.state, self._hub.caches
        reads = {each for key in sets for each in states.set(key).revisions}
        reads |= {each for key in apps for each in states.app(key).revisions}
        sets |= {
            key for key, one in states.sets.items() if key in caches.sets and reads & one.revisions.keys()
        }
        apps |= {
            key
            for key, one in states.apps.items()
            if key in caches.applications and reads & one.revisions.keys()
        }
