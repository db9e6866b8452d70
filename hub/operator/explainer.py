"""Which layer made a field of an Application: rendered once more, at the commits of its plan, by a worker.

The worker hides what is secret before it answers. Nothing is stored, and nothing of the Application changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.core.insert import with_known
from hub.operator import views
from hub.operator.commits import Commits
from hub.operator.sourcing import allowed, check_all_signed, resolved_of
from hub.render.places import Held, with_places

if TYPE_CHECKING:
    from hub.operator.context import HubContext
    from hub.render.explain import Touch
    from hub.render.explaining import Question


class NoSuchApplication(TerminalError):
    """It is not there (any more)."""

    reason = "NotFound"


class Explainer:
    def __init__(self, hub: HubContext) -> None:
        self._hub = hub

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
        commits = Commits(hub.source, fresh=False)
        if known is not None:
            commits.pin(known.revisions)
        resolved = await resolved_of(spec, commits, {})
        await check_all_signed(commits, project, resolved)
        request = await hub.renderer.request(key, spec, cluster=cluster, commits=resolved, project=project)
        touches = await hub.pool.explain(request, question)
        held = hub.caches.clusters.get(cluster.name)
        return with_places(
            touches,
            app=Held({"kind": "Application", **obj}),
            cluster=Held({"kind": "Cluster", **held}) if held is not None else None,
        )
