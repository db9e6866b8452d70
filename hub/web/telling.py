"""Rows and objects as the API tells them, and its questions as the database takes them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.contract.names import ANNOTATION_PAUSED
from hub.history.appindex import AppFilter
from hub.history.queries import EventFilter
from hub.web import models as m
from hub.web.problems import ParameterInvalid

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.history.rows import Row
    from hub.web import asked as q

_LABEL = 317
_ID = re.compile(r"[0-9]{1,18}")
"""What a database has as an id, and no more digits than that."""


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
    return m.App(application_set=row["owner"], **without(row, "owner", "words", "version"))


def event_of(row: Row) -> m.Event:
    return m.Event(application_set=row["owner"], **without(row, "owner"))


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


def without(row: Row, *names: str) -> Row:
    return {key: value for key, value in row.items() if key not in names}


def known(model: type[m.Told], entry: dict[str, Any]) -> dict[str, Any]:
    names = {field.alias for field in model.model_fields.values()} | model.model_fields.keys()
    return {key: value for key, value in entry.items() if key in names}


def blockers(status: dict[str, Any]) -> list[m.Blocker]:
    return [m.Blocker.model_validate(known(m.Blocker, each)) for each in status.get("blockedBy") or ()]


def project_of(obj: Manifest, counts: Any) -> m.ProjectSummary:
    spec, namespace = obj.get("spec") or {}, obj["metadata"]["namespace"]
    return m.ProjectSummary(
        namespace=namespace,
        source_repos=list(spec.get("sourceRepos") or ()),
        service_account=spec.get("serviceAccount") or "",
        trusted=bool(spec.get("trusted")),
        applications=int(counts.get(namespace, 0)),
    )


def cluster_of(obj: Manifest) -> m.ClusterSummary:
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
