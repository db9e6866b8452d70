"""Which layer made a field of an Application: rendered once more, at the commits of its plan, by a worker.

The worker hides what is secret before it answers. Nothing is stored, and nothing of the Application changes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.core.insert import with_known
from hub.operator import views
from hub.operator.commits import Commits
from hub.operator.sourcing import allowed, check_all_signed, resolved_of
from hub.render.places import Held, with_places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hub.operator.context import HubContext
    from hub.render.explain import Touch
    from hub.render.explaining import Question
    from hub.render.pool import WorkerPool

IDLE_SECONDS = 60.0


class NoSuchApplication(TerminalError):
    """It is not there (any more)."""

    reason = "NotFound"


class Explainer:
    """With a worker of its own, while somebody asks: who explains does not hold up who plans."""

    def __init__(self, hub: HubContext, *, pool: Callable[[], WorkerPool]) -> None:
        self._hub = hub
        self._make = pool
        self._pool: WorkerPool | None = None
        self._asking = 0
        self._ending: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def explain(self, key: str, question: Question) -> list[Touch]:
        """What each layer did to a field of an Application's object, with no secret value in it.

        Raises `NoSuchApplication`, `NoSuchObject`, `NoSuchField`, what rendering raises, and the errors of
        `hub.sources`.
        """
        hub = self._hub
        obj = hub.caches.applications.get(key)
        if obj is None:
            raise NoSuchApplication(f"there is no Application {key}")
        bound = (obj.get("status") or {}).get("inputs") or ()
        spec = views.application_spec({"spec": with_known(obj["spec"], bound)})
        fleet = hub.fleet()
        cluster, project = allowed(key, spec, fleet)
        owner = views.owner_of(obj)
        known = hub.state.sets.get(owner) if owner else hub.state.apps.get(key)
        commits = Commits(hub.source.seen_by(key.partition("/")[0]), fresh=False)
        if known is not None:
            commits.pin(known.revisions)
        resolved = await resolved_of(spec, commits, {})
        await check_all_signed(commits, project, resolved)
        request = await hub.renderer.request(key, spec, cluster=cluster, commits=resolved, project=project)
        async with self._worker() as pool:
            touches = await pool.explain(request, question)
        held = hub.caches.clusters.get(cluster.name)
        return with_places(
            touches,
            app=Held({"kind": "Application", **obj}),
            cluster=Held({"kind": "Cluster", **held}) if held is not None else None,
        )

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[WorkerPool]:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if self._pool is None:
            self._pool = self._make()
            self._pool.start()
        self._asking += 1
        try:
            yield self._pool
        finally:
            self._asking -= 1
            if not self._asking and self._pool is not None:
                self._ending = asyncio.create_task(self._end(), name="explain-idle")

    async def _end(self) -> None:
        """A worker that nobody asks any more gives its memory back."""
        await asyncio.sleep(IDLE_SECONDS)
        self._ending = None
        await self.close()
