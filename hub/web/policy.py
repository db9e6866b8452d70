"""Every route of the API, and its policy: who may, on what, for how long, how many at once. Nothing has a default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hub.web import asked as q
from hub.web import models as m

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX = "/api/v1"


class Access(StrEnum):
    PUBLIC = "Public"
    """Nothing of the fleet is told."""
    NAMED = "Named"
    """The verb on the resource of that name, in the namespace of the path; 404 where it may not even be read."""
    VISIBLE = "Visible"
    """Whatever is in namespaces in which the caller may use the verb on the resource; nothing else is counted."""
    CLUSTER = "Cluster"
    """The verb on a resource without a namespace."""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    method: str
    path: str
    """Below `PREFIX`."""
    access: Access
    summary: str
    answer: type[BaseModel] | None
    """None: a stream, or a document."""
    resource: str = ""
    verb: str = "get"
    query: type[BaseModel] = q.Nothing
    body: type[BaseModel] | None = None
    timeout: float = 10.0
    concurrency: int = 64

    @property
    def act(self) -> bool:
        return self.method == "POST"


_APPS, _SETS, _CLUSTERS = "applications", "applicationsets", "clusters"
_APP = "/applications/{namespace}/{name}"
_SET = "/applicationsets/{namespace}/{name}"
_LONG = q.MAX_WAIT + 10.0


def _read(
    name: str, path: str, summary: str, answer: type[BaseModel], resource: str, **more: object
) -> Route:
    access = Access.NAMED if "{namespace}" in path else Access.VISIBLE
    return Route(name, "GET", path, access, summary, answer, resource=resource, **more)  # type: ignore[arg-type]


def _act(verb: str, path: str, summary: str, body: type[BaseModel] | None = None) -> Route:
    resource = path.split("/")[1]
    access = Access.CLUSTER if resource == _CLUSTERS else Access.NAMED
    name = f"{verb}_{resource.removesuffix('s')}"
    return Route(
        name,
        "POST",
        f"{path}/{verb}",
        access,
        summary,
        m.Done,
        resource=resource,
        verb=verb,
        body=body,
        timeout=20.0,
        concurrency=32,
    )


def _objects(resource: str, *, access: Access = Access.VISIBLE, of: str = "") -> Route:
    """`of`: what the right is asked on, where that is something else."""
    path, summary = f"/objects/{resource}", f"{resource.capitalize()} as the API server has them"
    return Route(
        f"{resource}_objects",
        "GET",
        path,
        access,
        summary,
        m.ObjectPage,
        resource=of or resource,
        verb="list",
        query=q.ObjectQuery,
        timeout=30.0,
        concurrency=16,
    )


ROUTES: tuple[Route, ...] = (
    Route("openapi", "GET", "/openapi.json", Access.PUBLIC, "This document", None),
    _read(
        "list_applications",
        "/applications",
        "Applications, by any filter",
        m.AppPage,
        _APPS,
        verb="list",
        query=q.AppQuery,
    ),
    _read(
        "facets",
        "/facets",
        "Counts of Applications by value",
        m.Facets,
        _APPS,
        verb="list",
        query=q.FacetQuery,
    ),
    _read("application", _APP, "One Application, in full", m.AppDetail, _APPS),
    _read("why", f"{_APP}/why", "What an Application waits for", m.Why, _APPS),
    _read("diff", f"{_APP}/diff", "Where an Application is not what its plan wants", m.Diff, _APPS),
    _read(
        "explain",
        f"{_APP}/explain",
        "Which layers made a field of an Application's object what it is",
        m.Explanation,
        _APPS,
        verb="explain",
        query=q.ExplainQuery,
        timeout=60.0,
        concurrency=4,
    ),
    _read("history", f"{_APP}/history", "Deployments of an Application", m.ReleasePage, _APPS, query=q.Paged),
    _read(
        "outputs",
        f"{_APP}/outputs",
        "Values that an Application exported",
        m.OutputPage,
        _APPS,
        query=q.Paged,
    ),
    _read(
        "list_applicationsets", "/applicationsets", "Sets", m.SetPage, _SETS, verb="list", query=q.SetQuery
    ),
    _read("applicationset", _SET, "One set", m.SetSummary, _SETS),
    _read("tree", f"{_SET}/tree", "A set with its children", m.Tree, _SETS, query=q.Paged),
    _read("plan", f"{_SET}/plan", "The plan of a set", m.Plan, _SETS),
    _read(
        "rollout",
        f"{_SET}/rollout",
        "Whether a commit is fully rolled out; waits for that",
        m.Rollout,
        _SETS,
        query=q.RolloutQuery,
        timeout=_LONG,
        concurrency=5000,
    ),
    _read(
        "graph",
        "/graph",
        "Dependencies between Applications",
        m.Graph,
        _APPS,
        verb="list",
        query=q.GraphQuery,
        timeout=30.0,
        concurrency=2,
    ),
    _read("list_projects", "/projects", "Projects", m.ProjectList, "projects", verb="list"),
    Route(
        "list_clusters",
        "GET",
        "/clusters",
        Access.CLUSTER,
        "Clusters",
        m.ClusterList,
        resource=_CLUSTERS,
        verb="list",
    ),
    _read(
        "list_events",
        "/events/list",
        "What happened, the oldest first",
        m.EventPage,
        _APPS,
        verb="list",
        query=q.EventQuery,
    ),
    Route(
        "events",
        "GET",
        "/events",
        Access.VISIBLE,
        "What happens, as server-sent events; `Last-Event-ID` resumes",
        None,
        resource=_APPS,
        verb="watch",
        query=q.EventQuery,
        timeout=0.0,
        concurrency=5000,
    ),
    Route(
        "list_audit",
        "GET",
        "/audit",
        Access.CLUSTER,
        "What was done through this API",
        m.AuditPage,
        resource="audits",
        verb="list",
        query=q.Paged,
    ),
    _read("hub", "/hub", "Which hub this is", m.HubInfo, _APPS, verb="list"),
    _objects(_APPS),
    _objects(_SETS),
    _objects("projects"),
    _objects(_CLUSTERS, access=Access.CLUSTER),
    _objects("clustersets", access=Access.CLUSTER),
    _objects("leases", access=Access.CLUSTER, of=_CLUSTERS),
    _act("refresh", _APP, "Fetch Git now"),
    _act(
        "sync",
        _APP,
        "Let an Application of mode Manual go to its target, or apply an object again",
        q.SyncRequest,
    ),
    _act("rollback", _APP, "Pin an Application at an earlier release, or undo that", q.RollbackRequest),
    _act("pause", _APP, "Let nothing new go to an Application"),
    _act("resume", _APP, "End a pause"),
    _act("approve", _APP, "Let a deletion go that is Held", q.ApproveRequest),
    _act("release", _APP, "Let an Application go to its target of now past what holds it"),
    _act("adopt", _APP, "Have its objects taken over from other tools, or planned to be", q.AdoptRequest),
    _act("export", _APP, "Give the value of an external output", q.ExportRequest),
    _act("refresh", _SET, "Fetch Git now"),
    _act("sync", _SET, "The same for all children of a set", q.SyncRequest),
    _act("rollback", _SET, "The same for all children of a set, to the last good of each", q.RollbackRequest),
    _act("pause", _SET, "Let nothing new go to a set"),
    _act("resume", _SET, "End a pause"),
    _act("approve", _SET, "Let deletions go that are Held, or a wave", q.ApproveRequest),
    _act("cordon", "/clusters/{name}", "Let nothing new go to a cluster"),
    _act("uncordon", "/clusters/{name}", "End that"),
)
