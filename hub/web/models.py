"""What the API gives. The OpenAPI document and the typed client are made from this and from `hub.web.asked`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Told(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Condition(Told):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class App(Told):
    """An Application in lists."""

    key: str
    namespace: str
    name: str
    cluster: str
    application_set: str
    sync: str
    health: str
    message: str
    blocked: str
    ready: bool
    plan: int
    target: str
    released: str
    release: int
    revision: str
    observed_at: str
    labels: dict[str, str]


class AppPage(Told):
    items: list[App]
    next_cursor: str
    total: int | None
    """How many there are in all; on the first page alone."""


class Facets(Told):
    """How many Applications have each value; at most the hundred most frequent values of each."""

    health: dict[str, int]
    sync: dict[str, int]
    cluster: dict[str, int]
    application_set: dict[str, int]
    namespace: dict[str, int]


class HubInfo(Told):
    id: str
    """The hub's own, which is in labels of what it deploys."""


class ObjectPage(Told):
    """Objects as the API server has them."""

    items: list[dict[str, Any]]
    next_cursor: str


class Blocker(Told):
    edge: str = ""
    on: str = ""
    message: str = ""
    root: str = ""


class AppDetail(Told):
    """An Application as its object says now."""

    app: App
    conditions: list[Condition]
    blocked_by: list[Blocker]
    sources: list[dict[str, Any]]
    observed: dict[str, Any]
    inputs: list[dict[str, Any]]
    drift: list[dict[str, Any]]
    object_sync: dict[str, Any]
    """What came of the last object that was asked to be applied again; `request` says which question that was."""


class Why(Told):
    """What an Application waits for, and the end of the chain."""

    waits: bool
    root: str
    blocked_by: list[Blocker]


class Diff(Told):
    """Where an Application is not what its plan wants: not released, not applied, or changed by others since."""

    same: bool
    wanted: str
    released: str
    live: str
    drift: list[dict[str, Any]]
    """Objects, with paths and such values as may be told."""


class Change(StrEnum):
    ADDED = "Added"
    CHANGED = "Changed"
    REMOVED = "Removed"


class Layer(Told):
    """One layer that touched one field. Values of Secrets are hidden."""

    stage: str
    field: str
    change: Change
    before: Any
    """Null where there was none before: see `change`."""
    after: Any
    at: str
    """A file, with a line where that is known, or a field of an object of the hub; empty for neither."""


class Explanation(Told):
    """The layers that touched an object or a field of it, in their order."""

    application: str
    cluster: str
    object: str
    layers: list[Layer]


class GraphNode(Told):
    key: str
    cluster: str
    application_set: str
    health: str
    sync: str
    cycle: list[str]
    """A shortest cycle through it, each waiting for the next; empty for none."""


class Edge(Told):
    """`dependent` waits for `dependency`; `output` is what it takes from it, empty for an edge alone."""

    dependent: str
    dependency: str
    output: str


class Graph(Told):
    nodes: list[GraphNode]
    edges: list[Edge]


class Release(Told):
    release: int
    digest: str
    revision: str
    at: str
    well: bool


class ReleasePage(Told):
    items: list[Release]
    next_cursor: str


class OutputValue(Told):
    name: str
    value: Any
    digest: str
    revision: str
    at: str


class OutputPage(Told):
    items: list[OutputValue]
    """The newest first: the first of a name is what holds now."""
    stale: bool
    """The app is not well now, or its cluster is not heard: these are the last good values."""
    next_cursor: str


class Wave(Told):
    name: str
    state: str


class SetSummary(Told):
    key: str
    namespace: str
    name: str
    health: str
    message: str
    ready: bool
    plan: int
    revisions: dict[str, str]
    children: int
    sync: dict[str, int]
    counts: dict[str, int]
    waves: list[Wave]


class SetPage(Told):
    items: list[SetSummary]
    next_cursor: str


class Plan(Told):
    """The set's plan now: its number, commits, counts, and deletions that are Held."""

    id: int
    revisions: dict[str, str]
    counts: dict[str, int]
    held: list[dict[str, Any]]
    at: str


class Tree(Told):
    """A set and its children, in the order of their names."""

    set: SetSummary
    children: list[App]
    next_cursor: str


class ClusterSummary(Told):
    name: str
    labels: dict[str, str]
    accepted: bool
    state: str
    """The reason of its condition Ready: `Connected`, `Stale`, `NotJoined`, ..."""
    message: str
    paused: bool


class ClusterList(Told):
    items: list[ClusterSummary]


class ProjectSummary(Told):
    namespace: str
    source_repos: list[str]
    service_account: str
    trusted: bool
    applications: int


class ProjectList(Told):
    items: list[ProjectSummary]


class RolloutState(StrEnum):
    PENDING = "Pending"
    """No plan has this commit yet: it is not fetched, or changes nothing that the set reads."""
    PROGRESSING = "Progressing"
    HEALTHY = "Healthy"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    """An earlier plan had it; another commit is wanted now."""


class Where(Told):
    """One child that is not where it should be, and why."""

    application: str
    cluster: str
    sync: str
    health: str
    message: str


class Rollout(Told):
    state: RolloutState
    revision: str
    plan: int
    message: str
    children: int
    healthy: int
    waves: list[Wave]
    where: list[Where]
    """At most fifty."""

    @property
    def over(self) -> bool:
        return self.state in (RolloutState.HEALTHY, RolloutState.FAILED, RolloutState.SUPERSEDED)


class Event(Told):
    id: int
    at: str
    kind: str
    namespace: str
    name: str
    cluster: str
    application_set: str
    reason: str
    old: str
    new: str
    message: str


class EventPage(Told):
    items: list[Event]
    """The oldest first."""
    next_cursor: str


class AuditEntry(Told):
    id: int
    at: str
    who: str
    source: str
    act: str
    kind: str
    namespace: str
    name: str
    detail: dict[str, Any]
    outcome: str


class AuditPage(Told):
    items: list[AuditEntry]
    """The newest first."""
    next_cursor: str


class Done(Told):
    """What an act came to."""

    act: str
    target: str
    changed: list[str]
    request: str = ""
    """Of an object that is to be applied again: `objectSync.request` of the Application once it is answered."""
