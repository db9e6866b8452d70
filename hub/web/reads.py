"""What may be read: lists and histories from the database, one object's detail from the API server."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from hub.history import queries
from hub.history.appindex import AppFilter
from hub.history.rows import rows_of
from hub.history.tables import sets
from hub.operator import paths
from hub.web import asked as q
from hub.web import models as m
from hub.web.call import fetched
from hub.web.problems import NotFound
from hub.web.telling import (
    app_filter,
    app_of,
    blockers,
    cluster_of,
    event_filter,
    event_of,
    known,
    number_of,
    project_of,
    without,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.history.history import History
    from hub.history.rows import Row
    from hub.web.auth import Access
    from hub.web.call import Call, Handler


class Reads:
    """A handler a route, by the route's name."""

    def __init__(self, client: RestClient, history: History, access: Access) -> None:
        self._client = client
        self._database = history.database
        self._search = history.search
        self._access = access

    def table(self) -> dict[str, Handler]:
        return {
            "list_applications": self.list_applications,
            "facets": self.facets,
            "application": self.application,
            "why": self.why,
            "diff": self.diff,
            "history": self.history,
            "outputs": self.outputs,
            "list_applicationsets": self.list_sets,
            "applicationset": self.application_set,
            "tree": self.tree,
            "plan": self.plan,
            "list_projects": self.list_projects,
            "list_clusters": self.list_clusters,
            "list_events": self.list_events,
            "list_audit": self.list_audit,
        }

    async def list_applications(self, call: Call) -> m.AppPage:
        asked: q.AppQuery = call.query
        wanted = app_filter(asked, call.visible)
        page = await self._search.list_apps(
            wanted, after=asked.cursor, limit=asked.limit, count=not asked.cursor
        )
        items = [app_of(row) for row in page.items]
        return m.AppPage(
            items=items,
            next_cursor=items[-1].key if page.more else "",
            total=None if asked.cursor else page.total,
        )

    async def facets(self, call: Call) -> m.Facets:
        found = await self._search.facets(app_filter(call.query, call.visible))
        return m.Facets(application_set=found.pop("owner"), **found)

    async def application(self, call: Call) -> m.AppDetail:
        obj = await fetched(self._client, paths.application(call.key))
        status = obj.get("status") or {}
        observed = status.get("observed") or {}
        (row,) = rows_of(obj).apps
        return m.AppDetail(
            app=app_of(row),
            conditions=[
                m.Condition.model_validate(known(m.Condition, each))
                for each in status.get("conditions") or ()
            ],
            blocked_by=blockers(status),
            sources=[
                {key: each.get(key, "") for key in ("repoURL", "revision", "path")}
                for each in obj["spec"]["sources"]
            ],
            observed={
                key: observed[key]
                for key in ("release", "digest", "sync", "health", "observedAt")
                if key in observed
            },
            inputs=list(status.get("inputs") or ()),
            drift=list(observed.get("drift") or ()),
            object_sync=status.get("objectSync") or {},
        )

    async def why(self, call: Call) -> m.Why:
        obj = await fetched(self._client, paths.application(call.key))
        found = blockers(obj.get("status") or {})
        root = next((each.root or each.message for each in found), "")
        return m.Why(waits=bool(found), root=root, blocked_by=found)

    async def diff(self, call: Call) -> m.Diff:
        status = (await fetched(self._client, paths.application(call.key))).get("status") or {}
        sync = status.get("sync") or {}
        digests = [str(sync.get(name) or "") for name in ("target", "released", "live")]
        drift = list((status.get("observed") or {}).get("drift") or ())
        same = bool(digests[0]) and len(set(digests)) == 1 and sync.get("state") == "Synced"
        return m.Diff(same=same, wanted=digests[0], released=digests[1], live=digests[2], drift=drift)

    async def history(self, call: Call) -> m.ReleasePage:
        page = await self._database.run(
            partial(
                queries.history_of, app=call.key, before=number_of(call.query.cursor), limit=call.query.limit
            )
        )
        items = [m.Release(**{key: row[key] for key in m.Release.model_fields}) for row in page.items]
        return m.ReleasePage(items=items, next_cursor=str(items[-1].release) if page.more else "")

    async def outputs(self, call: Call) -> m.OutputPage:
        obj, page = await asyncio.gather(
            fetched(self._client, paths.application(call.key)),
            self._database.run(
                partial(
                    queries.outputs_of,
                    app=call.key,
                    before=number_of(call.query.cursor),
                    limit=call.query.limit,
                )
            ),
        )
        items = [m.OutputValue(**{key: row[key] for key in m.OutputValue.model_fields}) for row in page.items]
        last = str(page.items[-1]["id"]) if page.more else ""
        return m.OutputPage(items=items, stale=await self._stale(obj), next_cursor=last)

    async def list_sets(self, call: Call) -> m.SetPage:
        asked: q.SetQuery = call.query
        page = await self._database.run(
            partial(
                queries.list_sets,
                namespaces=asked.namespace,
                visible=call.visible,
                after=asked.cursor,
                limit=asked.limit,
            )
        )
        items = [m.SetSummary(**without(row, "settled")) for row in page.items]
        return m.SetPage(items=items, next_cursor=items[-1].key if page.more else "")

    async def application_set(self, call: Call) -> m.SetSummary:
        return m.SetSummary(**without(await self.set_row(call.key), "settled"))

    async def tree(self, call: Call) -> m.Tree:
        row = await self.set_row(call.key)
        wanted = AppFilter(owners=[call.key])
        page = await self._search.list_apps(
            wanted, after=call.query.cursor, limit=call.query.limit, count=False
        )
        children = [app_of(each) for each in page.items]
        return m.Tree(
            set=m.SetSummary(**without(row, "settled")),
            children=children,
            next_cursor=children[-1].key if page.more else "",
        )

    async def plan(self, call: Call) -> m.Plan:
        obj = await fetched(self._client, paths.application_set(call.key))
        plan = (obj.get("status") or {}).get("plan") or {}
        return m.Plan(
            id=int(plan.get("id") or 0),
            revisions=plan.get("revisions") or {},
            counts=plan.get("counts") or {},
            held=plan.get("held") or [],
            at=plan.get("at") or "",
        )

    async def list_projects(self, call: Call) -> m.ProjectList:
        found = (await self._client.list(paths.PROJECTS)).items
        names = {obj["metadata"]["namespace"] for obj in found}
        visible = await self._access.visible(call.caller, "list", "projects", names)
        counts = await self._search.by_namespace()
        items = [
            project_of(obj, counts)
            for obj in sorted(found, key=lambda each: str(each["metadata"]["namespace"]))
            if visible is None or obj["metadata"]["namespace"] in visible
        ]
        return m.ProjectList(items=items)

    async def list_clusters(self, _call: Call) -> m.ClusterList:
        found = (await self._client.list(paths.CLUSTERS)).items
        return m.ClusterList(
            items=[cluster_of(obj) for obj in sorted(found, key=lambda each: str(each["metadata"]["name"]))]
        )

    async def list_events(self, call: Call) -> m.EventPage:
        asked: q.EventQuery = call.query
        wanted = event_filter(asked, call.visible, after=number_of(asked.cursor))
        page = await self._database.run(partial(queries.list_events, wanted=wanted, limit=asked.limit))
        items = [event_of(row) for row in page.items]
        return m.EventPage(items=items, next_cursor=str(items[-1].id) if page.more else "")

    async def list_audit(self, call: Call) -> m.AuditPage:
        page = await self._database.run(
            partial(queries.list_audit, before=number_of(call.query.cursor), limit=call.query.limit)
        )
        items = [m.AuditEntry(**row) for row in page.items]
        return m.AuditPage(items=items, next_cursor=str(items[-1].id) if page.more else "")

    async def set_row(self, key: str) -> Row:
        """What the database says of a set. Raises `NotFound`."""
        row = await self._database.run(partial(queries.one, table=sets, key=key))
        if row is None:
            raise NotFound
        return row

    async def attempted(self, key: str) -> list[str]:
        """The commits at which a set could not be planned, and stays at its last plan. Raises `NotFound`."""
        status = (await fetched(self._client, paths.application_set(key))).get("status") or {}
        return [str(each) for each in (status.get("attempted") or {}).values()]

    async def _stale(self, obj: Manifest) -> bool:
        """What nobody vouches for now: the app is not well, or its cluster is not heard, or is none any more."""
        (row,) = rows_of(obj).apps
        try:
            cluster = await fetched(self._client, f"{paths.CLUSTERS}/{row['cluster']}")
        except NotFound:
            return True
        return not (row["ready"] and cluster_of(cluster).state == "Connected")
