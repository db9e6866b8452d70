from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.contract.health import HealthState, SyncState
from agent.contract.wire import AppReport, ReportBatch
from agent.link.reports import BURST, PATH, PER_SECOND, Pace, Reporter
from agent.link.session import HubSession, pinned_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _report(app: str = "shop/web", **change: Any) -> AppReport:
    plain = {"release": 1, "sync": SyncState.SYNCED, "health": HealthState.HEALTHY, "observed_at": NOW}
    return AppReport(app=app, **{**plain, **change})


class Inbox:
    """The hub's side: batches as they arrived, and what to answer."""

    def __init__(self, hub: Any) -> None:
        self.batches: list[dict[str, Any]] = []
        self.answers: list[web.Response] = []
        self.arrived = asyncio.Condition()
        hub.routes[PATH] = self.take

    async def take(self, request: web.Request) -> web.Response:
        self.batches.append(await request.json())
        async with self.arrived:
            self.arrived.notify_all()
        return self.answers.pop(0) if self.answers else web.json_response({"epoch": 1, "seq": 1})

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: len(self.batches) >= count)


@pytest.fixture
async def session(hub: Any, pki: Any) -> AsyncIterator[HubSession]:
    session = HubSession(hub.url, pinned_context(pki.ca), user_agent="test")
    yield session
    await session.close()


@pytest.fixture
async def running(session: HubSession) -> AsyncIterator[Any]:
    tasks: list[asyncio.Task[None]] = []

    def start(heartbeat: float = 60.0) -> Reporter:
        reporter = Reporter(envelope=lambda: ReportBatch(epoch=1, seq=3, boot="b"), heartbeat=heartbeat)
        tasks.append(asyncio.create_task(reporter.run(session)))
        return reporter

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_pace_allows_a_burst_and_then_one_a_second() -> None:
    pace = Pace(at=0.0)
    for _ in range(5):
        assert pace.wait(0.0) == 0.0
        pace.take()
    assert pace.wait(0.0) == 1.0
    assert pace.wait(1.0) == 0.0


async def test_the_first_batch_is_at_once_and_carries_what_is_held(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    running()
    await inbox.until(1)
    assert inbox.batches[0] == {
        "epoch": 1,
        "seq": 3,
        "agentVersion": "",
        "kubernetesVersion": "",
        "boot": "b",
        "count": 1,
        "gateway": "",
        "answered": 0,
        "orphans": [],
        "keys": 0,
        "reports": [],
    }


async def test_reports_made_together_go_together(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter = running()
    for index in range(10):
        reporter.put(_report(f"shop/web-{index}"))
    await inbox.until(1)
    assert len(inbox.batches[0]["reports"]) == 10


async def test_nothing_new_is_not_sent_again(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter = running()
    reporter.put(_report())
    await inbox.until(1)
    reporter.put(_report(observed_at=NOW + dt.timedelta(seconds=5)))
    reporter.put(_report("shop/other"))
    await inbox.until(2)
    assert [each["app"] for each in inbox.batches[1]["reports"]] == ["shop/other"]


async def test_heartbeats_are_empty_batches(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    running(heartbeat=0.05)
    await inbox.until(4)
    assert all(batch["reports"] == [] for batch in inbox.batches)
    assert [batch["count"] for batch in inbox.batches[:4]] == [1, 2, 3, 4]


async def test_a_batch_says_who_answered_last_and_what(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    inbox.answers = [
        web.json_response({"epoch": 1, "seq": 1, "gateway": "a/1"}),
        web.Response(status=503),
        web.json_response({"epoch": 1, "seq": 1, "gateway": "b/1"}),
    ]
    running(heartbeat=0.05)
    await inbox.until(4)
    said = [(batch["gateway"], batch["answered"]) for batch in inbox.batches[:4]]
    assert said == [("", 0), ("a/1", 1), ("a/1", 1), ("b/1", 3)]


async def test_a_failed_batch_is_sent_again_with_the_latest_state(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    inbox.answers = [web.Response(status=503), web.Response(text="<html>")]
    reporter = running()
    reporter.put(_report(message="old"))
    await inbox.until(1)
    reporter.put(_report(message="new"))
    await inbox.until(3)
    assert inbox.batches[2]["reports"][0]["message"] == "new"


async def test_what_was_on_its_way_when_a_session_ended_goes_with_the_next(
    hub: Any, session: HubSession
) -> None:
    inbox, reached = Inbox(hub), asyncio.Event()

    async def silent(_request: web.Request) -> web.Response:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    hub.routes[PATH] = silent
    reporter = Reporter(envelope=lambda: ReportBatch(epoch=1, seq=3, boot="b"), heartbeat=60.0)
    reporter.put(_report())
    first = asyncio.create_task(reporter.run(session))
    async with asyncio.timeout(60):
        await reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    hub.routes[PATH] = inbox.take
    second = asyncio.create_task(reporter.run(session))
    await inbox.until(1)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert [report["app"] for report in inbox.batches[0]["reports"]] == ["shop/web"]


async def test_resend_brings_everything_once(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter = running()
    for index in range(3):
        reporter.put(_report(f"shop/web-{index}"))
    await inbox.until(1)
    inbox.answers = [web.json_response({"epoch": 1, "seq": 1, "resend": True})]
    reporter.put(_report("shop/web-0", message="changed"))
    await inbox.until(3)
    assert sorted(each["app"] for each in inbox.batches[2]["reports"]) == ["shop/web-1", "shop/web-2"]


async def test_the_last_state_of_a_flapping_app_always_arrives(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter, loop = running(), asyncio.get_running_loop()
    began = loop.time()
    for index in range(20):
        reporter.put(_report(message=str(index)))
        await asyncio.sleep(0.002)

    def last() -> str:
        said = [each for batch in inbox.batches for each in batch["reports"]]
        return str(said[-1]["message"]) if said else ""

    async with asyncio.timeout(60):
        while last() != "19":
            await inbox.until(len(inbox.batches) + 1)
    assert len(inbox.batches) <= 2 + BURST + PER_SECOND * (loop.time() - began)


async def test_a_forgotten_app_is_not_sent(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter = running()
    reporter.put(_report())
    reporter.forget("shop/web")
    await inbox.until(1)
    assert inbox.batches[0]["reports"] == []
    assert json.dumps(inbox.batches)


async def test_what_is_held_is_told_with_the_next_report_or_alone_in_a_moment(hub: Any, running: Any) -> None:
    inbox = Inbox(hub)
    reporter = running()
    await inbox.until(1)
    reporter.announce(within=0.2)
    reporter.put(_report())
    await inbox.until(2)
    assert len(inbox.batches[1]["reports"]) == 1
    began = asyncio.get_running_loop().time()
    reporter.announce(within=0.2)
    await inbox.until(3)
    assert inbox.batches[2]["reports"] == []
    assert asyncio.get_running_loop().time() - began >= 0.2, "the first announcement was told by the report"
