"""Which answers to adoptions an agent tells, and when."""

from __future__ import annotations

from typing import Any, cast

from agent.contract.adoption import MAX_REPORTS, AdoptionChange, AdoptionEntry, AdoptionRequest, AdoptionState
from agent.contract.wire import AssignmentDocument, ReportBatch
from agent.sync.adoption import Adoptions, answer_to


def request(name: str, word: str = "r1") -> AdoptionRequest:
    return AdoptionRequest(app=f"shop/{name}", digest="a" * 64, blob="b" * 64, request=word)


def document(*requests: AdoptionRequest) -> AssignmentDocument:
    return AssignmentDocument(hub_id="h", cluster="eu1", epoch=1, seq=1, adoptions=list(requests))


class Bed:
    def __init__(self) -> None:
        self.announced = 0
        unused = cast("Any", None)
        self.adoptions = Adoptions(unused, unused, unused, unused, announce=self._announce)

    def _announce(self) -> None:
        self.announced += 1

    def answer(self, *requests: AdoptionRequest) -> None:
        for each in requests:
            self.adoptions.answers.give(each, answer_to(each, AdoptionState.PLANNED))
        self.announced = 0

    def deliver(self) -> list[str]:
        batch = ReportBatch(adoptions=self.adoptions.answers.reports)
        self.adoptions.answers.delivered(batch.adoptions or ())
        return [said.app for said in batch.adoptions or ()]


async def test_every_answer_is_told_though_a_batch_has_room_for_few() -> None:
    bed = Bed()
    many = [request(f"app-{number:02}") for number in range(MAX_REPORTS + 5)]
    bed.adoptions.follow(document(*many))
    bed.answer(*many)
    first = bed.deliver()
    assert len(first) == MAX_REPORTS
    assert bed.announced == 1
    second = bed.deliver()
    assert {*first, *second} == {each.app for each in many}
    assert bed.announced == 1


async def test_answers_to_what_is_not_asked_any_more_are_forgotten() -> None:
    bed = Bed()
    bed.adoptions.follow(document(request("web"), request("db")))
    bed.answer(request("web"), request("db"))
    bed.adoptions.follow(document(request("web", "r2"), request("db")))
    assert bed.deliver() == ["shop/db"]


def test_an_answer_counts_all_and_names_the_first() -> None:
    entries = [
        AdoptionEntry(ref=f"ConfigMap a/{number:03}", change=AdoptionChange.SAME, tools=["Helm"])
        for number in range(60)
    ]
    entries.append(
        AdoptionEntry(ref="z", change=AdoptionChange.DIFFERS, restarts=True, tools=["Helm", "Flux"])
    )
    said = answer_to(request("web"), AdoptionState.PLANNED, entries)
    assert (said.objects, said.restarts, len(said.entries)) == (61, 1, 50)
    assert said.entries[0].ref == "z"
    assert said.changes == {"Same": 60, "Differs": 1}
    assert said.tools == {"Helm": 61, "Flux": 1}
