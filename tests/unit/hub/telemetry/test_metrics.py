from __future__ import annotations

import asyncio
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.contract.names import LABEL_SET
from hub.core.model import ClusterView, Fleet
from hub.gateway.liveness import Liveness
from hub.telemetry import sources
from hub.telemetry.meters import Meters
from hub.telemetry.server import ROUTES, MetricsServer
from hub.telemetry.sources import ControllerSource, GatewaySource
from hub.telemetry.tally import Tally

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def app(name: str, *, of: str = "shop", health: str = "Healthy", sync: str = "Synced", **status: Any) -> Any:
    labels = {LABEL_SET: of} if of else {}
    return {
        "kind": "Application",
        "metadata": {"namespace": "team", "name": name, "labels": labels},
        "spec": {"cluster": "eu-1"},
        "status": {"health": {"state": health}, "sync": {"state": sync}} | status,
    }


class Caches:
    """What a scrape reads of the caches."""

    class sets:  # noqa: N801 - an attribute there
        @staticmethod
        def view() -> dict[str, Any]:
            return {"team/shop": {"status": {"health": {"state": "Degraded"}}}, "team/new": {}}

    @staticmethod
    def on_cluster(name: str) -> frozenset[str]:
        return frozenset({"team/a", "team/b"}) if name == "dark" else frozenset()


def cluster(name: str, **more: Any) -> ClusterView:
    return ClusterView(name=name, **({"accepted": True, "joined": True} | more))


def meters_of(tally: Tally, meters: Meters) -> Meters:
    views = [cluster("eu-1"), cluster("dark", stale=True), cluster("asks", accepted=False)]
    fleet = Fleet(clusters={view.name: view for view in views})
    caches: Any = Caches()
    counted = ControllerSource(
        tally, caches, fleet=lambda: fleet, depths=lambda: {"plan": 3}, writes=lambda: 7
    )
    liveness = Liveness()
    liveness.heard("eu-1", 50.0, epoch=1, seq=1, hub=(1, 1))
    liveness.expect("dark", 0.0)
    agents = GatewaySource(
        liveness, clock=lambda: 60.0, now=lambda: 1_000_060.0, depths=lambda: {"reports": 0}
    )
    meters.sources += [counted, agents]
    return meters


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


async def scrape(meters: Meters) -> str:
    server = MetricsServer(meters)
    await server.start("127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            return await answer.text()
    finally:
        await server.stop()


def busy() -> Meters:
    """A hub to which everything has happened that is counted."""
    meters = Meters()
    tally = Tally(meters, now=lambda: NOW)
    for name in ("a", "b"):
        tally.changed(None, app(name))
    began = app("c", health="Progressing", sync="Syncing", history=[{"release": 2, "at": _ago(30)}])
    tally.changed(None, began)
    well = app("c", history=[{"release": 2, "at": _ago(30), "well": True}])
    tally.changed(began, well)
    drifted = app("c", history=[{"release": 2, "at": _ago(30), "well": True}])
    entry = {"ref": "apps/Deployment team/web", "at": "2026-05-04T11:59:00Z", "corrected": True}
    drifted["status"]["observed"] = {"drift": [entry]}
    tally.changed(well, drifted)
    tally.changed(drifted, drifted | {"metadata": drifted["metadata"] | {"generation": 2}})
    blocked = app("d", of="", sync="Blocked", blockedBy=[{"edge": "Dependency", "on": "team/a"}])
    tally.changed(None, blocked)
    tally.changed(None, app("e", sync="Deleting", deletion={"reason": "Dropped", "held": "Budget"}))
    tally.changed(app("gone"), None)
    tally.changed(None, app("gone"))
    with meters.step("plan"):
        pass
    with pytest.raises(ValueError, match="x"), meters.step("release"):
        raise ValueError("x")
    meters.called("seal", 0.2, "")
    meters.called("expand", 20.0, "RenderTimeout")
    meters.notifications.labels("chat", "sent").inc()
    meters.sending.labels("chat").observe(0.1)
    meters.kube_events.labels("written").inc()
    return meters_of(tally, meters)


def _ago(seconds: int) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


async def test_what_a_scrape_tells_is_what_the_hub_knows() -> None:
    found = values(await scrape(busy()))
    shop = {"namespace": "team", "applicationset": "shop"}
    assert of(found, "axletree_applications", **shop, health="Healthy", sync="Synced") == 3
    assert of(found, "axletree_applications", **shop, health="Progressing", sync="Syncing") is None
    mine = {"namespace": "team", "applicationset": ""}
    assert of(found, "axletree_applications", **mine, health="Healthy", sync="Blocked") == 1
    assert of(found, "axletree_applications_blocked", **mine, edge="Dependency") == 1
    assert of(found, "axletree_deletions_held", **shop, cause="Budget") == 1
    assert of(found, "axletree_clusters", state="Ready") == 1
    assert of(found, "axletree_clusters", state="Stale") == 1
    assert of(found, "axletree_clusters", state="Pending") == 1
    assert of(found, "axletree_applications_stale") == 2
    assert of(found, "axletree_applicationsets", health="Degraded") == 1
    assert of(found, "axletree_agents", state="Connected") == 1
    assert of(found, "axletree_agents", state="Awaited") == 1
    assert of(found, "axletree_agent_last_seen_timestamp_seconds", cluster="eu-1") == 1_000_050
    assert of(found, "axletree_drift_corrections_total", namespace="team") == 1, "told twice, done once"
    assert of(found, "axletree_release_duration_seconds_sum") == 30
    assert of(found, "axletree_release_duration_seconds_count") == 1
    assert of(found, "axletree_reconcile_duration_seconds_count", loop="plan") == 1
    assert of(found, "axletree_reconcile_errors_total", loop="release") == 1
    assert of(found, "axletree_render_errors_total", operation="expand", reason="RenderTimeout") == 1
    assert of(found, "axletree_controller_queue_depth", queue="plan") == 3
    assert of(found, "axletree_api_writes_total") == 7
    assert of(found, "process_resident_memory_bytes")


def test_names_and_help_follow_the_conventions_as_promtool_reads_them() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: scripts/prometheus installs it")
    text = asyncio.run(scrape(busy()))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_series_are_bounded_whatever_the_number_of_sets_and_clusters_is() -> None:
    tally = Tally(Meters(), now=lambda: NOW)
    for at in range(sources.MAX_SETS + 100):
        for number in range(2 if at < 10 else 1):
            tally.changed(None, app(f"app-{at}-{number}", of=f"set-{at}"))
    (family, *_) = sources.applications(tally.marks)
    assert len(family.samples) == sources.MAX_SETS + 1
    assert sum(sample.value for sample in family.samples) == sources.MAX_SETS + 110
    assert {sample.labels["applicationset"] for sample in family.samples} >= {"set-0", "(others)"}

    liveness = Liveness()
    for at in range(sources.MAX_AGENTS + 50):
        liveness.heard(f"c-{at}", float(at), epoch=1, seq=1, hub=(1, 1))
    agents = GatewaySource(liveness, clock=lambda: 0.0, now=lambda: 0.0, depths=dict)
    seen = next(each for each in agents() if each.name.startswith("axletree_agent_last"))
    assert len(seen.samples) == sources.MAX_AGENTS
    assert seen.samples[0].labels == {"cluster": "c-0"}


async def test_s10_only_what_the_table_says_is_served() -> None:
    app_ = MetricsServer(Meters()).application()
    served = {(route.method, route.resource.canonical) for route in app_.router.routes() if route.resource}
    assert served - {("HEAD", path) for _, path in served} == {(each.method, each.path) for each in ROUTES}
    assert all(0 < each.timeout <= 10 and each.concurrency <= 16 for each in ROUTES)
