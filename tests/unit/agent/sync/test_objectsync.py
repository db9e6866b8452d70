"""When one object's request is due, and what is told meanwhile."""

from __future__ import annotations

from typing import Any, cast

from agent.contract.objectsync import ObjectSyncReport, ObjectSyncRequest, ObjectSyncState
from agent.contract.wire import AssignmentDocument
from agent.sync.app import App
from agent.sync.objectsync import ObjectSyncs

UNUSED = cast("Any", None)
KEY = "shop/web"


def document(*requests: str) -> AssignmentDocument:
    asked = [
        ObjectSyncRequest(app=KEY, digest="a" * 64, object="configmap/a", request=each) for each in requests
    ]
    return AssignmentDocument(hub_id="h", cluster="eu1", epoch=1, seq=1, object_syncs=asked)


class Bed:
    def __init__(self) -> None:
        self.woken: list[str] = []
        self.announced = 0
        self.syncs = ObjectSyncs(UNUSED, UNUSED, wake=self.woken.append, announce=self._announce)
        self.app = App(key=KEY, applyset="set", manager="m", applier=UNUSED)

    def _announce(self) -> None:
        self.announced += 1

    def states(self) -> list[ObjectSyncState]:
        return [said.state for said in self.syncs.answers.reports]

    def answer(self, state: ObjectSyncState, request: str = "r1") -> None:
        asked = self.syncs.answers.requests[KEY]
        self.syncs.answers.give(asked, ObjectSyncReport(app=KEY, request=request, state=state))


def test_a_request_wakes_its_app_and_what_keeps_it_is_told_once() -> None:
    bed = Bed()
    bed.syncs.follow(document("r1"))
    assert bed.woken == [KEY]
    bed.app.message = "waits for shop/db to be Healthy"
    bed.syncs.settle(bed.app)
    bed.syncs.settle(bed.app)
    assert bed.states() == [ObjectSyncState.WAITING]
    assert bed.syncs.answers.reports[0].message == "waits for shop/db to be Healthy"
    assert bed.announced == 1


def test_what_is_answered_is_not_due_until_somebody_asks_anew() -> None:
    bed = Bed()
    bed.syncs.follow(document("r1"))
    bed.answer(ObjectSyncState.APPLIED)
    bed.syncs.follow(document("r1"))
    bed.syncs.settle(bed.app)
    assert bed.woken == [KEY]
    assert bed.states() == [ObjectSyncState.APPLIED]
    bed.syncs.follow(document("r2"))
    assert bed.woken == [KEY, KEY]
    assert bed.states() == []
    bed.answer(ObjectSyncState.FAILED, "r2")
    bed.syncs.follow(document())
    assert bed.states() == []


def test_an_old_answer_to_another_request_is_not_given() -> None:
    bed = Bed()
    bed.syncs.follow(document("r1"))
    (old,) = bed.syncs.answers.requests.values()
    bed.syncs.follow(document("r2"))
    bed.syncs.answers.give(old, ObjectSyncReport(app=KEY, request="r1", state=ObjectSyncState.APPLIED))
    assert bed.states() == []


def test_an_app_that_nobody_asked_about_says_nothing() -> None:
    bed = Bed()
    bed.syncs.settle(bed.app)
    assert bed.announced == 0
