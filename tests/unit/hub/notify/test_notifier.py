"""A notifier over real caches' objects, a real database and real sinks at the socket."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from hub.core.templating import TemplateEngine
from hub.history.database import Database
from hub.notify.ledger import Ledger
from hub.notify.notifier import Notifier
from hub.operator.objects import Objects
from hub.telemetry.meters import Meters
from tests.unit.hub.notify.servers import receiver
from tests.unit.hub.notify.test_sinks import secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.unit.hub.notify.servers import Receiver

VERSIONS = itertools.count(1)


class Caches:
    """The caches that a notifier reads."""

    def __init__(self) -> None:
        self.applications = Objects()
        self.sets = Objects()
        self.projects = Objects()
        self.clusters = Objects()
        self.cluster_sets = Objects()
        self.credentials = Objects()

    async def wait_synced(self) -> None:
        return


class Hub:
    """One hub's memory and database; `running` is one life of its notifier."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.caches = Caches()
        self.meters = Meters()

    def put(self, objects: Objects, obj: dict[str, Any]) -> None:
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(next(VERSIONS))}}
        metadata = obj["metadata"]
        key = f"{metadata.get('namespace', '')}/{metadata['name']}".lstrip("/")
        objects.observe(objects.get(key), obj)

    def app(self, name: str, verdict: str, *, target: str = "d1", **spec: Any) -> None:
        good = verdict == "Healthy"
        condition = {
            "type": "Ready",
            "status": str(good),
            "reason": verdict,
            "message": "" if good else "it crashes",
        }
        status = {
            "conditions": [condition | {"lastTransitionTime": "2026-05-01T00:00:00Z"}],
            "health": {"state": verdict},
            "sync": {"state": "Synced", "target": target},
        }
        metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
        self.put(
            self.caches.applications,
            {
                "kind": "Application",
                "metadata": metadata,
                "spec": {"cluster": "eu1"} | spec,
                "status": status,
            },
        )

    def project(self, **rule: Any) -> None:
        metadata = {"namespace": "shop", "name": "project"}
        rules = [{"sink": "ops", "after": "0s"} | rule] if rule is not None else []
        self.put(
            self.caches.projects, {"kind": "Project", "metadata": metadata, "spec": {"notifications": rules}}
        )

    def cluster(self, name: str, connected: str, *, reason: str = "", **labels: str) -> None:
        good = connected == "Connected" and not reason
        ready = {"type": "Ready", "status": str(good), "reason": reason or connected, "message": reason}
        status = {
            "connected": connected,
            "conditions": [ready | {"lastTransitionTime": "2026-05-01T00:00:00Z"}],
        }
        metadata = {"name": name, "uid": f"uid-{name}", "labels": labels}
        self.put(self.caches.clusters, {"kind": "Cluster", "metadata": metadata, "status": status})

    def cluster_set(self, name: str, *rules: dict[str, Any], **spec: Any) -> None:
        told = [{"after": "0s"} | rule for rule in rules]
        obj = {"kind": "ClusterSet", "metadata": {"name": name}, "spec": {"notifications": told} | spec}
        self.put(self.caches.cluster_sets, obj)

    def sink(self, name: str, **data: str) -> None:
        self.put(self.caches.credentials, secret(name, **data))

    @asynccontextmanager
    async def running(self, *, before_tables: Callable[[], None] = lambda: None) -> AsyncIterator[Ledger]:
        """`before_tables` is called once the notifier waits for its database."""
        database = Database(self.url)

        async def opened() -> None:
            before_tables()
            await database.open()

        ledger = Ledger(database, opened=opened, now=lambda: datetime.now(UTC).isoformat())
        engine = TemplateEngine()

        async def words(template: str, fields: dict[str, object]) -> str:
            return engine.text(template, fields)

        caches: Any = self.caches
        notifier = Notifier(
            caches,
            ledger,
            meters=self.meters,
            source="/axletree/hub",
            words=words,
            clock=asyncio.get_running_loop().time,
        )
        life = asyncio.create_task(notifier.run())
        try:
            yield ledger
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await database.close()


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(f"sqlite:///{tmp_path}/history.sqlite")


def said(sink: Receiver) -> list[tuple[str, str]]:
    return [(each.body["data"]["trigger"], each.body["data"]["name"]) for each in sink.taken]


async def test_an_app_breaks_and_recovers_and_a_restart_tells_nothing_twice(hub: Hub) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project()
        hub.app("web", "Healthy")
        async with hub.running():
            hub.app("web", "Degraded")
            await sink.until(lambda: said(sink) == [("Degraded", "web")])
        async with hub.running():
            hub.app("web", "Degraded")
            hub.app("other", "Degraded")
            await sink.until(lambda: len(sink.taken) == 2)
            assert said(sink)[1:] == [("Degraded", "other")], "of web they knew"
        hub.app("web", "Healthy")
        async with hub.running():
            await sink.until(lambda: len(sink.taken) == 3)
            assert said(sink)[2:] == [("Recovered", "web")], "it recovered while nobody looked"
        async with hub.running():
            hub.app("other", "Healthy")
            await sink.until(lambda: len(sink.taken) == 4)
        assert said(sink)[3:] == [("Recovered", "other")]
        assert len({each.body["id"] for each in sink.taken}) == 4


async def test_what_flaps_faster_than_after_is_not_told(hub: Hub) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project(after="2s")
        hub.app("last", "Healthy")
        async with hub.running():
            for _ in range(5):
                hub.app("web", "Degraded")
                await asyncio.sleep(0.02)
                hub.app("web", "Healthy")
                await asyncio.sleep(0.02)
            hub.app("last", "Degraded")
            await sink.until(lambda: len(sink.taken) == 1)
        assert said(sink) == [("Degraded", "last")]


async def test_a_hanging_sink_holds_up_no_other_and_nobody_waits_for_it(hub: Hub) -> None:
    async with receiver(hang=True) as stuck, receiver() as sink:
        hub.sink("stuck", type="cloudevents", url=stuck.url)
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project()
        rule = [{"sink": "stuck", "after": "0s"}]
        async with hub.running():
            for at in range(20):
                hub.app(f"app-{at}", "Degraded", notifications=rule)
            await sink.until(lambda: len(sink.taken) == 20)
            await stuck.until(lambda: stuck.asked > 0)
            assert stuck.asked == 1, "one at a time"
            # what is near wins: the app's own rule says where, and its project's is another sink
            hub.app("app-0", "Healthy", notifications=rule)
            await sink.until(lambda: len(sink.taken) == 21)


async def test_what_could_not_be_sent_is_told_by_the_next_hub(hub: Hub) -> None:
    async with receiver(status=503) as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project()
        async with hub.running():
            hub.app("web", "Degraded")
            await sink.until(lambda: sink.asked > 0)
        sink.status = 200
        async with hub.running():
            await sink.until(lambda: len(sink.taken) == 1)
        assert said(sink) == [("Degraded", "web")]


async def test_rules_are_the_nearest_ones_and_children_are_told_of_on_request(hub: Hub) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.sink("private", type="cloudevents", url=f"{sink.url}/private", projects="bank")
        hub.project()
        labels = {"axletree.dev/set": "shop"}
        metadata = {"namespace": "shop", "name": "shop", "uid": "s1"}
        hub.put(hub.caches.sets, {"kind": "ApplicationSet", "metadata": metadata, "spec": {}, "status": {}})

        def child(name: str) -> dict[str, Any]:
            hub.app(name, "Degraded")
            obj = hub.caches.applications.get(f"shop/{name}") or {}
            return obj | {"metadata": obj["metadata"] | {"labels": labels}}

        async with hub.running():
            hub.put(hub.caches.applications, child("silent"))
            hub.app(
                "hand", "Degraded", notifications=[{"sink": "private", "after": "0s"}, {"sink": "nobody"}]
            )
            await sink.until(lambda: ("Degraded", "hand") in said(sink))
            rules = {"notifications": [{"sink": "ops", "after": "0s", "children": True}]}
            hub.put(
                hub.caches.sets,
                {"kind": "ApplicationSet", "metadata": metadata, "spec": rules, "status": {}},
            )
            await sink.until(lambda: ("Degraded", "silent") in said(sink))
        assert all(each.path != "/private" for each in sink.taken), "that sink is another project's"


async def test_deployments_are_told_where_asked_and_not_again_after_a_wiped_database(
    hub: Hub, tmp_path: Path
) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project(when=["Progressing", "Deployed"])
        hub.app("old", "Healthy")
        async with hub.running():
            hub.app("web", "Progressing", target="d1")
            await sink.until(lambda: len(sink.taken) == 1)
            hub.app("web", "Healthy", target="d1")
            await sink.until(lambda: len(sink.taken) == 2)
        hub.url = f"sqlite:///{tmp_path}/another.sqlite"
        async with hub.running():
            hub.app("new", "Progressing")
            await sink.until(lambda: len(sink.taken) == 3)
            hub.app("web", "Healthy", target="d2")
            await sink.until(lambda: len(sink.taken) == 4)
        told = [("Progressing", "web"), ("Deployed", "web"), ("Progressing", "new"), ("Deployed", "web")]
        assert said(sink) == told


async def test_what_is_deployed_before_the_database_is_there_is_told_and_what_was_before_is_not(
    hub: Hub,
) -> None:
    async with receiver() as ops:
        hub.sink("ops", type="cloudevents", url=ops.url)
        hub.project(when=["Deployed", "Degraded"])
        hub.app("old", "Healthy")
        hub.app("web", "Progressing")
        async with hub.running(before_tables=lambda: hub.app("web", "Healthy")):
            await ops.until(lambda: bool(ops.taken))
            hub.app("old", "Degraded")
            await ops.until(lambda: len(ops.taken) > 1)
            assert said(ops) == [("Deployed", "web"), ("Degraded", "old")]


async def test_what_is_well_when_a_rule_or_a_sink_is_added_is_no_news(hub: Hub) -> None:
    async with receiver() as sink:
        hub.app("old", "Healthy")
        hub.app("ill", "Degraded")
        async with hub.running() as ledger:
            hub.app("older", "Healthy")
            await ledger.idle.wait()  # all that is there was looked at once
            hub.sink("ops", type="cloudevents", url=sink.url)
            hub.project(when=["Deployed", "Degraded"])
            await sink.until(lambda: len(sink.taken) == 1)
            hub.app("old", "Healthy", target="d2")
            await sink.until(lambda: ("Deployed", "old") in said(sink))
        assert said(sink)[0] == ("Degraded", "ill")
        assert said(sink).count(("Deployed", "old")) == 1


async def test_s8_a_template_words_the_message_and_what_a_spoke_says_is_never_rendered(hub: Hub) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="apprise", urls=sink.url.replace("http://", "json://"))
        hub.project(template="{{ name }} is {{ trigger }}\n{{ message }}{{ '!' * 2 }}")
        async with hub.running():
            hub.app("web", "Degraded")
            obj = hub.caches.applications.get("shop/web") or {}
            obj["status"]["conditions"][0]["message"] = "{{ 7 * 7 }}"
            hub.put(hub.caches.applications, obj)
            await sink.until(lambda: len(sink.taken) == 1)
            hub.project(template="{{ nothing.here }}")
            hub.app("api", "Degraded")
            await sink.until(lambda: len(sink.taken) == 2)
    first, second = (each.body for each in sink.taken)
    assert first["title"] == "web is Degraded"
    assert first["message"].endswith("!!")
    assert "49" not in first["message"]
    assert second["title"] == "Degraded: Application shop/api on eu1"
    assert "its template fails" in second["message"]


async def test_what_is_deleted_is_forgotten(hub: Hub) -> None:
    async with receiver() as sink:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.project()
        async with hub.running() as ledger:
            hub.app("web", "Degraded")
            await sink.until(lambda: len(sink.taken) == 1)
            await asyncio.wait_for(ledger.idle.wait(), 60)
            gone = hub.caches.applications.get("shop/web")
            hub.caches.applications.observe(gone, None)
            hub.app("api", "Degraded")
            await sink.until(lambda: len(sink.taken) == 2)
            assert not [slot for slot in await ledger.load() if slot.key == "shop/web"]


async def test_a_cluster_that_is_not_heard_is_told_once_and_again_when_it_is_back(hub: Hub) -> None:
    prod, team = {"matchLabels": {"env": "prod"}}, {"sink": "team", "after": "0s"}
    async with receiver() as sink, receiver() as other:
        hub.sink("ops", type="cloudevents", url=sink.url)
        hub.sink("team", type="cloudevents", url=other.url, projects="shop")
        asked = {"sink": "ops", "when": ["Degraded"]}
        hub.cluster_set("all", asked, team, clusters=["eu1", "us1", "lab1"], priority=1)
        hub.cluster_set("prod", {"sink": "ops"}, selector=prod, priority=2)
        for name, env in (("eu1", "prod"), ("us1", "prod"), ("lab1", "dev")):
            hub.cluster(name, "Connected", env=env)
        async with hub.running():
            hub.cluster("lab1", "Stale", env="dev")
            hub.cluster("dark", "Stale", env="dev")
            hub.cluster("eu1", "Stale", env="prod")
            await sink.until(lambda: said(sink) == [("Stale", "eu1")])
            (taken,) = sink.taken
            assert (taken.body["subject"], taken.body["type"]) == ("eu1", "dev.axletree.cluster.stale.v1")
            assert (taken.body["data"]["title"], taken.body["data"]["cluster"]) == (
                "Stale: Cluster eu1",
                "eu1",
            )
        async with hub.running():
            hub.cluster("eu1", "Stale", env="prod")
            hub.cluster("us1", "Connected", reason="Cloned", env="prod")
            await sink.until(lambda: said(sink)[1:] == [("Degraded", "us1")])
            hub.cluster("eu1", "Connected", env="prod")
            hub.cluster("us1", "Connected", env="prod")
            await sink.until(lambda: len(sink.taken) == 4)
            assert sorted(said(sink)[2:]) == [("Recovered", "eu1"), ("Recovered", "us1")]
            hub.cluster_set("prod", {"sink": "ops", "when": ["Stale"]}, clusters=["dark"], priority=2)
            await sink.until(
                lambda: said(sink)[4:] == [("Stale", "dark")]
            )  # it is in a set that tells by now
        assert other.taken == [], "a sink of one project is not for clusters"
