"""The history's database, SQLite and a real PostgreSQL: the same questions, the same answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, func, insert, select, text

from hub import history
from hub.history import queries
from hub.history.appindex import AppFilter
from hub.history.database import Database, DatabaseAway
from hub.history.queries import EventFilter
from hub.history.recorder import Recorder, trim
from hub.history.search import Search
from hub.history.tables import apps, audit, metadata, releases
from tests.integration.postgres_rig import SECONDS, postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MIGRATIONS = Path(history.__file__).parent / "migrations"
VERSIONS = "alembic_version"
ONE_ROW = ("marks",)
"""What a step fills itself."""
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/history.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("server")
    made = Database(url)
    if request.param == "postgresql":
        await made.run(
            lambda connection: connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        )
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def search(database: Database) -> Iterator[Search]:
    made = Search(database)
    yield made
    made.close()


def app(
    name: str, cluster: str = "eu1", *, health: str = "Healthy", labels: Any = None, **status: Any
) -> dict[str, Any]:
    ready = "True" if health == "Healthy" else "False"
    return {
        "kind": "Application",
        "metadata": {"namespace": "shop", "name": name, "labels": labels or {"app": name}},
        "spec": {"cluster": cluster},
        "status": {
            "sync": {"state": "Synced", "release": 1, "released": "d1", "revision": "c0ffee"},
            "health": {"state": health, "message": "50% of it_is"},
            "conditions": [{"type": "Ready", "status": ready, "message": ""}],
            "history": [{"release": 1, "digest": "d1", "revision": "c0ffee", "at": "2026-01-01T00:00:00Z"}],
            "outputs": [{"name": "url", "value": None, "digest": "d1", "at": "2026-01-01T00:00:00Z"}],
        }
        | status,
    }


def a_set(plan: int = 1) -> dict[str, Any]:
    return {
        "kind": "ApplicationSet",
        "metadata": {"namespace": "shop", "name": "apps", "generation": 1},
        "spec": {},
        "status": {
            "plan": {"id": plan, "revisions": {"r@main": "c0ffee"}},
            "observedGeneration": 1,
            "children": 2,
        },
    }


async def recorded(database: Database, *changes: tuple[Any, Any]) -> Recorder:
    recorder = Recorder(database, now=lambda: NOW)
    running = asyncio.create_task(recorder.run())
    for old, new in changes:
        recorder.saw(old, new)
    await asyncio.wait_for(recorder.idle.wait(), SECONDS)
    await _ended(running)
    return recorder


async def _ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def keys(search: Search, **wanted: Any) -> list[str]:
    page = await search.list_apps(AppFilter(**wanted), after="", limit=100, count=True)
    assert page.total == len(page.items)
    return [row["name"] for row in page.items]


async def test_migrations_come_to_the_tables_and_do_nothing_the_second_time(database: Database) -> None:
    await database.open()

    def differences(connection: Any) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await database.run(differences) == []


async def test_every_step_of_the_tables_keeps_what_is_in_them(database: Database) -> None:
    def forwards(connection: Any) -> set[str]:
        """A row in each table as soon as there is one; the tables that have lost theirs at the end."""
        everything = MetaData()
        everything.reflect(connection)
        everything.drop_all(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        written: set[str] = set()
        for step in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
            command.upgrade(config, step.revision)
            there = MetaData()
            there.reflect(connection)
            for table in (each for name, each in there.tables.items() if name not in (*written, VERSIONS)):
                row = {column.name: _any_value(column.type) for column in table.columns}
                written.add(table.name)
                if table.name not in ONE_ROW:
                    connection.execute(insert(table), [row])
        now = MetaData()
        now.reflect(connection)
        return {name for name in written if not _rows(connection, now.tables.get(name))}

    assert await database.run(forwards) == {"labels"}, "which is made again from the Applications"
    await database.open()
    found = await database.run(partial(queries.list_events, wanted=EventFilter(), limit=9))
    assert len(found.items) == 1
    await database.run(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9'"))
    )
    with pytest.raises(DatabaseAway):
        await database.open()  # of a newer hub: it is left alone, and nothing that runs waits for it


def _any_value(kind: Any) -> Any:
    found = {bool: True, int: 1, dict: {}}.get(kind.python_type, "2026-01-01")
    return found if not isinstance(found, str) else found[: getattr(kind, "length", None) or None]


def _rows(connection: Any, table: Any) -> int:
    return 0 if table is None else connection.execute(select(func.count()).select_from(table)).scalar_one()


async def test_applications_are_found_by_anything_page_by_page(database: Database, search: Search) -> None:
    fleet = [
        app("web", labels={"app": "web", "tier": "front"}),
        app("db", "eu2", labels={"app": "db"}),
        app("api", "eu2", health="Degraded", labels={"app": "api", "tier": "front"}),
    ]
    await recorded(database, *((None, each) for each in fleet))
    assert await keys(search) == ["api", "db", "web"]
    assert await keys(search, health=["Degraded"]) == ["api"]
    assert await keys(search, clusters=["eu2"], sync=["Synced"]) == ["api", "db"]
    assert await keys(search, labels=[("tier", "front")]) == ["api", "web"]
    assert await keys(search, labels=[("tier", None), ("app", "web")]) == ["web"]
    assert await keys(search, text="EU2 degr") == ["api"]
    assert await keys(search, text="50% it_is") == ["api", "db", "web"]
    assert await keys(search, text="5_% of") == []
    assert await keys(search, visible=["other"]) == []
    first = await search.list_apps(AppFilter(), after="", limit=2, count=True)
    assert ([row["name"] for row in first.items], first.more, first.total) == (["api", "db"], True, 3)
    rest = await search.list_apps(AppFilter(), after="shop/db", limit=2, count=False)
    assert ([row["name"] for row in rest.items], rest.more) == (["web"], False)
    counts = await search.facets(AppFilter(labels=[("tier", "front")]))
    assert counts["health"] == {"Degraded": 1, "Healthy": 1}
    assert counts["cluster"] == {"eu1": 1, "eu2": 1}


async def test_a_change_of_state_keeps_labels_and_releases_and_loses_no_change_before_it(
    database: Database, search: Search
) -> None:
    first = app("web", labels={"tier": "front"})
    back = app("web", labels={"tier": "back"}, history=[{"release": 2, "digest": "d2", "revision": "beef"}])
    await recorded(database, (None, first))
    await recorded(database, (first, back), (back, back | {"status": back["status"] | {"health": {}}}))
    assert await keys(search, labels=[("tier", "back")], health=["Unknown"]) == ["web"]
    assert await keys(search, labels=[("tier", "front")]) == []
    await recorded(database, (back, back | {"status": back["status"] | {"sync": {}}}))
    assert await keys(search, labels=[("tier", "back")], sync=["Unknown"]) == ["web"]
    known = await database.run(
        lambda connection: connection.execute(select(releases.c.release)).scalars().all()
    )
    assert sorted(known) == [1, 2]


async def test_labels_that_go_are_found_no_more_and_neither_is_what_is_gone(
    database: Database, search: Search
) -> None:
    old = app("web", labels={"tier": "front"})
    new = app("web", labels={"tier": "back"})
    await recorded(database, (None, old), (old, new))
    assert await keys(search, labels=[("tier", "front")]) == []
    assert await keys(search, labels=[("tier", "back")]) == ["web"]
    await recorded(database, (new, None))
    assert await keys(search) == []
    assert await search.by_namespace() == {}
    await recorded(database, (None, old))
    assert await keys(search, labels=[("tier", "front")]) == ["web"]


async def test_an_index_follows_what_others_write_and_a_new_era_makes_it_anew(
    database: Database, search: Search
) -> None:
    well, ill = app("web"), app("web", health="Degraded")
    await recorded(database, (None, well), (None, app("db")))
    assert await keys(search, health=["Healthy"]) == ["db", "web"]
    await recorded(database, (well, ill), (app("db"), None))
    assert (await keys(search, health=["Healthy"]), await keys(search)) == ([], ["web"])
    await database.run(lambda connection: connection.execute(apps.delete()))  # as in a restored backup
    recorder = Recorder(database, now=lambda: NOW)
    await recorder.begin([app("api")])
    assert (await keys(search), await search.by_namespace()) == (["api"], {"shop": 1})


async def test_events_have_an_order_and_say_what_changed(database: Database) -> None:
    well, ill = app("web"), app("web", health="Degraded")
    told: list[Any] = []
    recorder = Recorder(database, now=lambda: NOW, on_events=told.extend)
    running = asyncio.create_task(recorder.run())
    recorder.saw(well, ill)
    recorder.saw(ill, well)
    recorder.saw(None, a_set())
    await asyncio.wait_for(recorder.idle.wait(), SECONDS)
    await _ended(running)
    page = await database.run(partial(queries.list_events, wanted=EventFilter(), limit=100))
    health = [(row["old"], row["new"]) for row in page.items if row["kind"] == "Application"]
    assert health == [("Healthy", "Degraded"), ("Degraded", "Healthy")]
    assert [row["id"] for row in page.items] == [row["id"] for row in told]
    planned = await database.run(
        partial(queries.list_events, wanted=EventFilter(reasons=["Planned"]), limit=9)
    )
    assert [row["message"] for row in planned.items] == ["r@main=c0ffee"]
    last = await database.run(queries.last_event)
    assert last == told[-1]["id"]
    wanted = [
        EventFilter(after=last - 1),
        EventFilter(name="web"),
        EventFilter(owner="shop/apps"),
        EventFilter(visible=[]),
    ]
    for each in wanted:
        found = await database.run(partial(queries.list_events, wanted=each, limit=100))
        assert [row["id"] for row in found.items] == [row["id"] for row in told if each.takes(row)]


async def test_f1_a_database_begun_anew_gives_no_id_that_the_one_before_gave(database: Database) -> None:
    """Who comes back with an id of the lost one is told that events are missing, however many there are anew."""

    def start_over(connection: Any) -> None:
        everything = MetaData()
        everything.reflect(connection)
        everything.drop_all(connection)

    await recorded(database, *((None, app(name)) for name in ("web", "db")))
    _, lost = await database.run(queries.event_bounds)
    await database.run(start_over)
    await database.open()
    await recorded(database, *((None, app(name)) for name in ("web", "db", "more")))
    first, newest = await database.run(queries.event_bounds)
    assert lost < first - 1
    assert newest < 2**53, "JavaScript reads it as it is"


async def test_s8_whatever_a_spoke_says_is_written_and_holds_nobody_else_up(
    database: Database, search: Search
) -> None:
    said = {"state": "Degraded", "message": "it\0said \u2028 \U0001f4a5" + "x" * 5000}
    odd = app("odd", sync={"state": "Synced", "release": 1, "revision": "r" * 300})
    odd["status"]["health"] = said
    odd["status"]["outputs"] = [{"name": "url", "value": "a\0b", "digest": "d", "at": "2026-01-01T00:00:00Z"}]
    malformed = app("malformed", history=[{"release": 1}])
    refused = app("refused", sync={"state": "Synced", "release": 2**40})
    fleet = [app("db"), odd, malformed, refused, app("web")]
    await recorded(database, *((None, each) for each in fleet))
    takes = ["refused"] if database.touched() is not None else []  # SQLite has no bound on a number
    assert await keys(search) == sorted(["db", "odd", "web", *takes])
    (row,) = (await search.list_apps(AppFilter(text="said"), after="", limit=9, count=True)).items
    assert (row["message"][:7], row["revision"]) == ("it\N{REPLACEMENT CHARACTER}said", "r" * 255)
    page = await database.run(partial(queries.list_events, wanted=EventFilter(), limit=100))
    assert {each["name"] for each in page.items} == {each["metadata"]["name"] for each in fleet}
    assert any("\N{REPLACEMENT CHARACTER}said" in each["message"] for each in page.items)
    recorder = Recorder(database, now=lambda: NOW)
    await asyncio.wait_for(recorder.begin(fleet), SECONDS)
    assert "web" in await keys(search)


async def test_f1_a_lost_database_returns_from_what_there_is(database: Database, search: Search) -> None:
    there = [app("web"), app("db"), a_set()]
    await recorded(database, *((None, each) for each in there), (None, app("gone")))

    async def state() -> Any:
        history = await database.run(partial(queries.history_of, app="shop/web", before=0, limit=9))
        values = await database.run(partial(queries.outputs_of, app="shop/web", before=0, limit=9))
        plain = [{key: row[key] for key in row if key != "id"} for row in values.items]
        return await keys(search), history.items, plain, await database.run(_sets)

    def _sets(connection: Any) -> Any:
        return queries.list_sets(connection, namespaces=(), visible=None, after="", limit=9).items

    before = await state()

    def lose(connection: Any) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())

    await database.run(lose)
    recorder = Recorder(database, now=lambda: NOW)
    await recorder.begin([*there, app("gone")])
    assert await state() == before
    await recorder.begin(there)  # and what went while nobody looked is forgotten
    assert await keys(search) == ["db", "web"]
    assert (await database.run(partial(queries.list_events, wanted=EventFilter(), limit=9))).items == []


async def test_old_events_and_deployments_of_what_is_gone_are_trimmed(database: Database) -> None:
    await recorded(database, (None, app("web")), (None, app("db")), (app("db"), None))
    row = {
        "at": "2025-01-01",
        "who": "a",
        "source": "",
        "act": "sync",
        "kind": "",
        "namespace": "",
        "name": "",
    }
    await database.run(
        lambda connection: connection.execute(insert(audit), [row | {"detail": {}, "outcome": "Done"}])
    )
    await database.run(partial(trim, moment="2025-01-01", most=2))
    few = await database.run(partial(queries.list_events, wanted=EventFilter(), limit=9))
    assert len(few.items) == 2
    await database.run(partial(trim, moment="2026-01-03"))
    assert (await database.run(partial(queries.list_events, wanted=EventFilter(), limit=9))).items == []
    assert (await database.run(partial(queries.list_audit, before=0, limit=9))).items == []
    left = await database.run(lambda connection: connection.execute(select(releases.c.app)).scalars().all())
    assert left == ["shop/web"]


async def test_a_database_that_is_away_gets_the_last_state_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with postgres() as url:
        database = Database(url)
        search = Search(database)
        await database.open()
        recorder = Recorder(database, now=lambda: NOW)
        running = asyncio.create_task(recorder.run())
        kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        await database.run(
            lambda connection: connection.execute(text("ALTER DATABASE postgres CONNECTION LIMIT 10"))
        )
        await database.run(lambda connection: connection.execute(text("ALTER TABLE apps RENAME TO hidden")))
        with pytest.raises(DatabaseAway):
            await keys(search)
        recorder.saw(None, app("web", health="Degraded"))
        async with asyncio.timeout(SECONDS):
            while "history: the database" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.05)
        recorder.saw(app("web", health="Degraded"), app("web"))
        await database.run(lambda connection: connection.execute(kill))
        await database.run(lambda connection: connection.execute(text("ALTER TABLE hidden RENAME TO apps")))
        await asyncio.wait_for(recorder.idle.wait(), SECONDS)
        assert await keys(search, health=["Healthy"]) == ["web"]
        await _bounded(database)
        await _ended(running)
        search.close()
        await database.close()


async def _bounded(database: Database) -> None:
    """No statement takes for ever, and a hub that was halted within a transaction does not keep its locks."""
    shown = [
        await database.run(
            lambda connection, name=name: connection.execute(text(f"SHOW {name}")).scalar_one()
        )
        for name in ("statement_timeout", "idle_in_transaction_session_timeout")
    ]
    assert shown == ["1min", "1min"]

    def halted(connection: Any) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        connection.execute(text("SELECT pg_sleep(30)"))

    with pytest.raises(DatabaseAway, match="statement timeout"):
        await database.run(halted)
