"""Questions to the database: pages by cursor, counts, facets. Each is one short transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, func, or_, select

from hub.history.tables import apps, audit, events, outputs, releases, sets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Table

    from hub.history.rows import Row


_INSIDE = frozenset({"words", "version"})


@dataclass(frozen=True, slots=True)
class EventFilter:
    after: int = 0
    namespaces: Sequence[str] = ()
    name: str = ""
    clusters: Sequence[str] = ()
    kinds: Sequence[str] = ()
    reasons: Sequence[str] = ()
    owner: str = ""
    visible: Sequence[str] | None = None
    """Only what is in these; None: everything, clusters too."""

    def terms(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [events.c.id > self.after]
        for column, wanted in (
            (events.c.namespace, self.namespaces),
            (events.c.cluster, self.clusters),
            (events.c.kind, self.kinds),
            (events.c.reason, self.reasons),
            (events.c.name, [self.name] if self.name else ()),
        ):
            if wanted:
                found.append(column.in_(list(wanted)))
        if self.owner:
            namespace, _, name = self.owner.partition("/")
            itself = and_(
                events.c.kind == "ApplicationSet", events.c.namespace == namespace, events.c.name == name
            )
            found.append(or_(events.c.owner == self.owner, itself))
        if self.visible is not None:
            found.append(events.c.namespace.in_(list(self.visible)))
        return found

    def takes(self, row: Row) -> bool:
        """The same, over an event that was just written."""
        return (
            row["id"] > self.after
            and (not self.namespaces or row["namespace"] in self.namespaces)
            and (not self.clusters or row["cluster"] in self.clusters)
            and (not self.kinds or row["kind"] in self.kinds)
            and (not self.reasons or row["reason"] in self.reasons)
            and (not self.name or row["name"] == self.name)
            and (not self.owner or self.owner in (row["owner"], _set_key(row)))
            and (self.visible is None or row["namespace"] in self.visible)
        )


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Row]
    more: bool
    total: int = 0


def list_sets(
    connection: Connection,
    *,
    namespaces: Sequence[str],
    visible: Sequence[str] | None,
    after: str,
    limit: int,
) -> Page:
    terms = [sets.c.key > after]
    if namespaces:
        terms.append(sets.c.namespace.in_(list(namespaces)))
    if visible is not None:
        terms.append(sets.c.namespace.in_(list(visible)))
    rows = _rows(connection, select(sets).where(*terms).order_by(sets.c.key).limit(limit + 1))
    return Page(rows[:limit], len(rows) > limit)


def one(connection: Connection, table: Table, key: str) -> Row | None:
    rows = _rows(connection, select(table).where(table.c.key == key))
    return as_row(rows[0]) if rows else None


def unwell(connection: Connection, owner: str, *, limit: int = 50) -> list[Row]:
    """Children of a set that are not where they should be, the worst words first by name."""
    terms = (apps.c.owner == owner, apps.c.ready.is_(False))
    return [
        as_row(row) for row in _rows(connection, select(apps).where(*terms).order_by(apps.c.key).limit(limit))
    ]


def history_of(connection: Connection, app: str, *, before: int, limit: int) -> Page:
    """Deployments of an app, the newest first."""
    terms = [releases.c.app == app]
    if before:
        terms.append(releases.c.release < before)
    rows = _rows(
        connection, select(releases).where(*terms).order_by(releases.c.release.desc()).limit(limit + 1)
    )
    return Page(rows[:limit], len(rows) > limit)


def outputs_of(connection: Connection, app: str, *, before: int, limit: int) -> Page:
    """What an app exported, the newest first: the first of each name is what holds now."""
    terms = [outputs.c.app == app]
    if before:
        terms.append(outputs.c.id < before)
    rows = _rows(connection, select(outputs).where(*terms).order_by(outputs.c.id.desc()).limit(limit + 1))
    return Page(rows[:limit], len(rows) > limit)


def list_events(connection: Connection, wanted: EventFilter, *, limit: int) -> Page:
    rows = _rows(connection, select(events).where(*wanted.terms()).order_by(events.c.id).limit(limit + 1))
    return Page(rows[:limit], len(rows) > limit)


def last_event(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def event_bounds(connection: Connection) -> tuple[int, int]:
    """The ids of the first and the last event that there is; (1, 0) for none."""
    first, last = connection.execute(select(func.min(events.c.id), func.max(events.c.id))).one()
    return (int(first), int(last)) if last is not None else (1, 0)


def list_audit(connection: Connection, *, before: int, limit: int) -> Page:
    """What was done through the API, the newest first."""
    terms = [audit.c.id < before] if before else []
    rows = _rows(connection, select(audit).where(*terms).order_by(audit.c.id.desc()).limit(limit + 1))
    return Page(rows[:limit], len(rows) > limit)


def _rows(connection: Connection, asked: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(asked).mappings()]


def as_row(row: Row) -> Row:
    """What of a row is for others: what only searching needs is left out."""
    return {name: value for name, value in row.items() if name not in _INSIDE}


def _set_key(row: Row) -> str:
    return f"{row['namespace']}/{row['name']}" if row["kind"] == "ApplicationSet" else ""


def namespaces_of_sets(connection: Connection) -> list[str]:
    return sorted(connection.execute(select(sets.c.namespace).distinct()).scalars())


def was_planned(connection: Connection, *, set_key: str, revision: str) -> bool:
    """Whether an earlier plan of the set had this commit."""
    namespace, _, name = set_key.partition("/")
    terms = (
        events.c.kind == "ApplicationSet",
        events.c.namespace == namespace,
        events.c.name == name,
        events.c.reason == "Planned",
        events.c.message.contains(f"={revision}", autoescape=True),
    )
    return connection.execute(select(events.c.id).where(*terms).limit(1)).first() is not None


def later(wanted: EventFilter, after: int) -> EventFilter:
    return replace(wanted, after=after)
