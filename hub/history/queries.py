"""Questions to the database: pages by cursor, counts, facets. Each is one short transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, func, or_, select, union

from hub.history.tables import apps, audit, events, labels, outputs, releases, sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Table

    from hub.history.rows import Row

FACETS = ("health", "sync", "cluster", "owner", "namespace")
MAX_FACET = 100
Label = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class AppFilter:
    """Which Applications are meant; what is empty restricts nothing. `visible`: namespaces that may be seen."""

    namespaces: Sequence[str] = ()
    clusters: Sequence[str] = ()
    owners: Sequence[str] = ()
    health: Sequence[str] = ()
    sync: Sequence[str] = ()
    labels: Sequence[Label] = ()
    text: str = ""
    visible: Sequence[str] | None = None

    def terms(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        for column, wanted in (
            (apps.c.namespace, self.namespaces),
            (apps.c.cluster, self.clusters),
            (apps.c.owner, self.owners),
            (apps.c.health, self.health),
            (apps.c.sync, self.sync),
        ):
            if wanted:
                found.append(column.in_(list(wanted)))
        if self.visible is not None:
            found.append(apps.c.namespace.in_(list(self.visible)))
        for label, value in self.labels:
            has = and_(labels.c.label == label, *(() if value is None else (labels.c.value == value,)))
            found.append(apps.c.key.in_(select(labels.c.app).where(has)))
        found += [apps.c.words.contains(word, autoescape=True) for word in self.text.lower().split()]
        return found


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
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def list_apps(connection: Connection, wanted: AppFilter, *, after: str, limit: int, count: bool) -> Page:
    """Applications by key, those after a key. `count` gives how many there are in all."""
    terms = wanted.terms()
    rows = _rows(
        connection, select(apps).where(*terms, apps.c.key > after).order_by(apps.c.key).limit(limit + 1)
    )
    total = 0
    if count:
        total = connection.execute(select(func.count()).select_from(apps).where(*terms)).scalar_one()
    return Page([_less(row) for row in rows[:limit]], len(rows) > limit, total)


def facets(connection: Connection, wanted: AppFilter) -> dict[str, dict[str, int]]:
    """How many Applications there are of each value, of those that are meant; the most frequent first."""
    terms = wanted.terms()
    found: dict[str, dict[str, int]] = {}
    for name in FACETS:
        column, many = apps.c[name], func.count()
        rows = connection.execute(
            select(column, many).where(*terms).group_by(column).order_by(many.desc(), column).limit(MAX_FACET)
        )
        found[name] = {str(value): int(number) for value, number in rows}
    return found


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
    return _less(rows[0]) if rows else None


def unwell(connection: Connection, owner: str, *, limit: int = 50) -> list[Row]:
    """Children of a set that are not where they should be, the worst words first by name."""
    terms = (apps.c.owner == owner, apps.c.ready.is_(False))
    return [
        _less(row) for row in _rows(connection, select(apps).where(*terms).order_by(apps.c.key).limit(limit))
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


def list_audit(connection: Connection, *, before: int, limit: int) -> Page:
    """What was done through the API, the newest first."""
    terms = [audit.c.id < before] if before else []
    rows = _rows(connection, select(audit).where(*terms).order_by(audit.c.id.desc()).limit(limit + 1))
    return Page(rows[:limit], len(rows) > limit)


def _rows(connection: Connection, asked: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(asked).mappings()]


def _less(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "words"}


def _set_key(row: Row) -> str:
    return f"{row['namespace']}/{row['name']}" if row["kind"] == "ApplicationSet" else ""


def namespaces(connection: Connection) -> list[str]:
    """Those in which there is anything."""
    both = union(select(apps.c.namespace), select(sets.c.namespace))
    return sorted(connection.execute(both).scalars())


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
