"""What may be read: lists and histories from the database, one object's detail from the API server."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.contract.names import ANNOTATION_PAUSED
from hub.history import queries
from hub.history.appindex import AppFilter
from hub.history.queries import EventFilter
from hub.history.rows import rows_of
from hub.history.tables import sets
from hub.operator import paths
from hub.web import asked as q
from hub.web import models as m
from hub.web.call import fetched
from hub.web.problems import NotFound, ParameterInvalid

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.history.history import History
    from hub.history.rows import Row
    from hub.web.auth import Access
    from hub.web.call import Call, Handler

_LABEL = 317
_ID = re.compile(r"[0-9]{1,18}")
"""What a database has as an id, and no more digits than that."""


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
                m.Condition.model_validate(_known(m.Condition, each))
                for each in status.get("conditions") or ()
            ],
            blocked_by=_blockers(status),
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
        found = _blockers(obj.get("status") or {})
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
        items = [m.SetSummary(**_without(row, "settled")) for row in page.items]
        return m.SetPage(items=items, next_cursor=items[-1].key if page.more else "")

    async def application_set(self, call: Call) -> m.SetSummary:
        return m.SetSummary(**_without(await self.set_row(call.key), "settled"))

    async def tree(self, call: Call) -> m.Tree:
        row = await self.set_row(call.key)
        wanted = AppFilter(owners=[call.key])
        page = await self._search.list_apps(
            wanted, after=call.query.cursor, limit=call.query.limit, count=False
        )
        children = [app_of(each) for each in page.items]
        return m.Tree(
            set=m.SetSummary(**_without(row, "settled")),
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
            _project(obj, counts)
            for obj in sorted(found, key=lambda each: str(each["metadata"]["namespace"]))
            if visible is None or obj["metadata"]["namespace"] in visible
        ]
        return m.ProjectList(items=items)

    async def list_clusters(self, _call: Call) -> m.ClusterList:
        found = (await self._client.list(paths.CLUSTERS)).items
        return m.ClusterList(
            items=[_cluster(obj) for obj in sorted(found, key=lambda each: str(each["metadata"]["name"]))]
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
        return not (row["ready"] and _cluster(cluster).state == "Connected")


def app_filter(asked: q.AppQuery | q.FacetQuery, visible: tuple[str, ...] | None) -> AppFilter:
    return AppFilter(
        namespaces=asked.namespace,
        clusters=asked.cluster,
        owners=asked.application_set,
        health=asked.health,
        sync=asked.sync,
        labels=[_label(each) for each in asked.label],
        text=asked.q,
        visible=visible,
    )


def event_filter(asked: q.EventQuery, visible: tuple[str, ...] | None, *, after: int) -> EventFilter:
    return EventFilter(
        after=after,
        namespaces=asked.namespace,
        name=asked.name,
        clusters=asked.cluster,
        kinds=asked.kind,
        reasons=asked.reason,
        owner=asked.application_set,
        visible=visible,
    )


def app_of(row: Row) -> m.App:
    return m.App(application_set=row["owner"], **_without(row, "owner", "words", "version"))


def event_of(row: Row) -> m.Event:
    return m.Event(application_set=row["owner"], **_without(row, "owner"))


def _label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key or len(key) > _LABEL:
        raise ParameterInvalid("label: say key=value, or key")
    return key, value if equals else None


def number_of(cursor: str, *, what: str = "cursor: take it from `nextCursor`") -> int:
    """The id in a cursor; 0 for none. Raises `ParameterInvalid` for what was never given out."""
    if cursor and not _ID.fullmatch(cursor):
        raise ParameterInvalid(what)
    return int(cursor or 0)


def _without(row: Row, *names: str) -> Row:
    return {key: value for key, value in row.items() if key not in names}


def _known(model: type[m.Told], entry: dict[str, Any]) -> dict[str, Any]:
    names = {field.alias for field in model.model_fields.values()} | model.model_fields.keys()
    return {key: value for key, value in entry.items() if key in names}


def _blockers(status: dict[str, Any]) -> list[m.Blocker]:
    return [m.Blocker.model_validate(_known(m.Blocker, each)) for each in status.get("blockedBy") or ()]


def _project(obj: Manifest, counts: Any) -> m.ProjectSummary:
    spec, namespace = obj.get("spec") or {}, obj["metadata"]["namespace"]
    return m.ProjectSummary(
        namespace=namespace,
        source_repos=list(spec.get("sourceRepos") or ()),
        service_account=spec.get("serviceAccount") or "",
        trusted=bool(spec.get("trusted")),
        applications=int(counts.get(namespace, 0)),
    )


def _cluster(obj: Manifest) -> m.ClusterSummary:
    metadata, status = obj["metadata"], obj.get("status") or {}
    ready: dict[str, Any] = next(
        (each for each in status.get("conditions") or () if each["type"] == "Ready"), {}
    )
    return m.ClusterSummary(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        accepted=bool((obj.get("spec") or {}).get("accepted", True)),
        state=str(ready.get("reason") or "NotJoined"),
        message=str(ready.get("message") or ""),
        paused=(metadata.get("annotations") or {}).get(ANNOTATION_PAUSED) == "true",
    )
