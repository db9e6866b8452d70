from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.contract.names import LABEL_SET
from hub.telemetry.traces import Span, close_export, open_export, release_span, rollout_span
from tests.unit.hub.telemetry.collector import attribute, collector

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
COMMIT = "c0ffee" * 6 + "abcd"


def ago(seconds: int) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def application(*, well: bool, of: str = "shop", release: int = 7) -> dict[str, Any]:
    entry = {"release": release, "at": ago(30), "digest": "d1", "revision": COMMIT} | (
        {"well": True} if well else {}
    )
    return {
        "kind": "Application",
        "metadata": {
            "namespace": "team",
            "name": "web",
            "uid": "u1",
            "labels": {LABEL_SET: of} if of else {},
        },
        "spec": {"cluster": "eu1"},
        "status": {"history": [entry], "sync": {"plan": 42}},
    }


def applicationset(*, ready: bool, plan: int = 42) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready)}
    return {
        "kind": "ApplicationSet",
        "metadata": {"namespace": "team", "name": "shop", "uid": "s1", "generation": 1},
        "spec": {},
        "status": {
            "observedGeneration": 1,
            "children": 3,
            "plan": {"id": plan, "at": ago(60), "revisions": {"https://git.example.com/a@main": COMMIT}},
            "conditions": [condition],
        },
    }


def spans() -> tuple[Span, Span]:
    owner = applicationset(ready=False)
    release = release_span(application(well=False), application(well=True), owner=owner, now=NOW)
    rollout = rollout_span(owner, applicationset(ready=True), now=NOW)
    assert release is not None
    assert rollout is not None
    return release, rollout


def test_each_stretch_is_told_once_and_belongs_to_its_plan() -> None:
    release, rollout = spans()
    assert (release.trace, release.parent) == (rollout.trace, rollout.id)
    assert rollout.parent == 0
    assert release.ended - release.began == 30
    assert rollout.ended - rollout.began == 60
    owner = applicationset(ready=True)
    assert release_span(application(well=True), application(well=True), owner=owner, now=NOW) is None
    assert release_span(application(well=False), application(well=False), owner=owner, now=NOW) is None
    assert rollout_span(owner, owner, now=NOW) is None
    later = rollout_span(owner, applicationset(ready=True, plan=43), now=NOW)
    assert later is not None
    assert later.trace != rollout.trace
    alone = release_span(application(well=False, of=""), application(well=True, of=""), owner=None, now=NOW)
    assert alone is not None
    assert alone.parent == 0


async def test_a_collector_gets_one_trace_with_its_releases_below_the_rollout() -> None:
    async with collector() as held:
        export = open_export(held.url, hub_id="hub-1")
        for span in spans():
            export.send(span)
        await close_export(export)
    assert held.services == {"axletree-hub"}
    (release,), (rollout,) = held.named("release"), held.named("rollout")
    assert release.trace_id == rollout.trace_id
    assert release.parent_span_id == rollout.span_id
    assert rollout.parent_span_id == b""
    assert release.end_time_unix_nano - release.start_time_unix_nano == 30_000_000_000
    assert attribute(release, "axletree.application") == "team/web"
    assert attribute(release, "axletree.cluster") == "eu1"
    assert attribute(release, "axletree.release") == 7
    assert attribute(rollout, "vcs.ref.head.revision") == COMMIT
    assert attribute(rollout, "axletree.children") == 3


def test_a_hub_without_traces_loads_none_of_their_libraries() -> None:
    code = "import sys, hub.hub; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
