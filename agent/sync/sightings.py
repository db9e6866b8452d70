"""What watches see, and what follows: a round for what drifted, news for what changed, Pods for what waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.apply.fields import trim
from agent.apply.plan import Unseen
from agent.sync.exports import exports
from agent.sync.objects import Change
from agent.sync.pods import PodInspector
from agent.sync.watch import WatchSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest, ObjectRef
    from agent.health.result import HealthResult
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource
    from agent.sync.app import App
    from agent.sync.queue import WorkQueue
    from agent.sync.roster import Roster

_SECOND_LOOK = 0.5


class Sightings:
    """The watches of one agent. Any event may be lost or repeated: each only says where to look.

    `news` is called with an app outside a round whose health may have changed.
    """

    def __init__(
        self,
        client: RestClient,
        roster: Roster,
        queue: WorkQueue[str],
        *,
        news: Callable[[App], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._roster, self._queue, self._news = roster, queue, news
        self._looks: dict[tuple[str, ApiResource], asyncio.TimerHandle] = {}
        self.watches = WatchSet(
            client,
            transform=lambda obj: trim(obj, roster.manager),
            on_change=self._on_change,
            on_synced=self._on_synced,
        )
        self._pods = PodInspector(client, on_verdict=self._on_pods, clock=clock)

    async def close(self) -> None:
        for timer in self._looks.values():
            timer.cancel()
        await self._pods.close()

    def correct(self, app: App, ref: ObjectRef | None = None) -> None:
        """Have an app's round soon: at once, unless something fights for that object."""
        fight = app.fights.get(ref) if ref is not None else None
        now = asyncio.get_running_loop().time()
        delay = fight.delay(now) if fight is not None else 0.0
        self._queue.add(app.key, delay=delay)

    def look_at_pods(self, app: App, *refs: ObjectRef) -> None:
        """Follow the Pods of what is not available, and of nothing else."""
        for ref in refs or tuple(app.results):
            live = app.live.get(ref)
            if live is not None and ref in app.progressing:
                self._pods.follow(app.key, ref, live)
            else:
                self._pods.leave(app.key, ref)

    def forget(self, app: App) -> None:
        """It is gone: nothing of it is looked at."""
        self.watches.forget(app.applyset)
        self._pods.leave_app(app.key)

    def _on_change(self, applyset: str, ref: ObjectRef, old: Manifest, new: Manifest | None) -> None:
        app = self._roster.by_applyset.get(applyset)
        if app is None or app.deleted:
            return
        before = app.results.get(ref)
        change = app.see(ref, new) if new is not None else app.lose(ref, str(old["metadata"].get("uid", "")))
        if change is Change.NOTHING:
            return
        if change is Change.DRIFT:
            self._drifted(app, ref)
        elif new is not None and app.applier.observe(app.inventory, new, ref) is not app.inventory:
            self._queue.add(app.key)  # a Job completed: to be kept before its TTL takes it
        if app.results.get(ref) != before:
            self.look_at_pods(app, ref)
            if not app.in_round:
                self._news(app)
                if app.gated:
                    self._queue.add(app.key)
        elif not app.in_round and exports(app, ref):
            self._news(app)

    def _drifted(self, app: App, ref: ObjectRef) -> None:
        if app.in_round:
            app.recheck.add(ref)
        elif app.tombstone is None:
            self.correct(app, ref)

    def _on_synced(self, resource: ApiResource) -> None:
        """What we know and a whole cache does not have is gone, unless our own write is just ahead of it."""
        for app in self._roster.apps.values():
            if any(_of(ref, resource) for ref in app.live):
                loop = asyncio.get_running_loop()
                earlier = self._looks.pop((app.key, resource), None)
                if earlier is not None:
                    earlier.cancel()
                self._looks[app.key, resource] = loop.call_later(
                    _SECOND_LOOK, self._second_look, app, resource
                )

    def _second_look(self, app: App, resource: ApiResource) -> None:
        self._looks.pop((app.key, resource), None)
        for ref, known in list(app.live.items()):
            if _of(ref, resource) and self.watches.look(app.applyset, ref) is Unseen.ABSENT:
                self._on_change(app.applyset, ref, known, None)

    def _on_pods(self, key: str, ref: ObjectRef, said: HealthResult | None) -> None:
        app = self._roster.apps.get(key)
        if app is not None and app.hint(ref, said) and not app.in_round:
            self._news(app)


def _of(ref: ObjectRef, resource: ApiResource) -> bool:
    return (ref.group, ref.kind) == (resource.group, resource.kind)
