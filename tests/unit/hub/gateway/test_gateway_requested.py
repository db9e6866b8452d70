"""What agents answer to people's requests, and which of it is written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from agent.contract.adoption import AdoptionReport, AdoptionState, OrphanReport
from agent.contract.objectsync import ObjectSyncReport, ObjectSyncState
from agent.contract.wire import ReportBatch
from hub.gateway.assignments import View
from hub.gateway.requested import Requested
from hub.gateway.writer import LatestWriter

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = View(
    epoch=1,
    seq=1,
    etag="",
    body=b"",
    apps=frozenset({"n/known"}),
    blobs=frozenset(),
    adoptions={"n/web": "r1"},
    object_syncs={"n/web": "r2"},
)


class Bed:
    def __init__(self, *had: str) -> None:
        self.written: list[tuple[str, Any]] = []

        async def write(key: str, state: Any) -> None:
            self.written.append((key, state))

        def clock() -> float:
            return asyncio.get_running_loop().time()

        adoptions, object_syncs, orphans = (LatestWriter(write, clock=clock) for _ in range(3))
        self.requested = Requested(adoptions, object_syncs, orphans, had=lambda cluster: cluster in had)
        self.count = 0

    async def take(self, **batch: Any) -> list[tuple[str, Any]]:
        self.count += 1
        self.requested.take("eu1", ReportBatch(boot="b", count=self.count, **batch), view=VIEW, at=NOW)
        for _ in range(5):
            await asyncio.sleep(0)
        written, self.written = self.written, []
        return written


def answer(app: str = "n/web", request: str = "r1") -> AdoptionReport:
    return AdoptionReport(app=app, request=request, digest="a" * 64, state=AdoptionState.PLANNED)


async def test_only_answers_to_what_is_asked_are_written_and_once() -> None:
    bed = Bed()
    assert await bed.take(adoptions=[answer(request="older"), answer(app="n/other")]) == []
    ((key, said),) = await bed.take(adoptions=[answer()])
    assert (key, said["state"], said["at"]) == ("n/web", "Planned", "2026-01-01T00:00:00Z")
    assert await bed.take(adoptions=[answer()]) == []


async def test_what_came_of_one_object_is_written_where_it_was_asked() -> None:
    bed = Bed()
    said = ObjectSyncReport(app="n/web", request="r2", state=ObjectSyncState.APPLIED, ref="ConfigMap n/a")
    assert await bed.take(object_syncs=[said.model_copy(update={"request": "r1"})]) == []
    ((key, written),) = await bed.take(object_syncs=[said])
    assert (key, written["state"], written["ref"]) == ("n/web", "Applied", "ConfigMap n/a")


async def test_i1_a_batch_that_says_nothing_of_orphans_does_not_say_that_there_are_none() -> None:
    bed = Bed("eu1")
    assert await bed.take() == []
    assert await bed.take(orphan_details=[]) == [("eu1", [])]


async def test_a_cluster_that_never_had_orphans_costs_no_write() -> None:
    assert await Bed().take(orphan_details=[]) == []


async def test_what_the_hub_assigns_is_no_orphan_but_what_goes_and_what_a_former_hub_left_is_told() -> None:
    found = [
        OrphanReport(app="n/known"),
        OrphanReport(app="n/known", going=True),
        OrphanReport(app="n/known", hub="9f86d081aa"),
        OrphanReport(app="n/lost"),
    ]
    ((_, told),) = await Bed().take(orphan_details=found)
    assert [(each["app"], each["going"], each["hub"]) for each in told] == [
        ("n/known", True, ""),
        ("n/known", False, "9f86d081aa"),
        ("n/lost", False, ""),
    ]
