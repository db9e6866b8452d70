"""What `axle adopt` says of a plan, and when it does not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.adoption import AdoptionChange, AdoptionEntry, AdoptionReport, AdoptionState
from hub.cli.adopt import Asked, _answer, _obstacles, _print, _silent
from hub.cli.output import Format

if TYPE_CHECKING:
    import pytest

APP: dict[str, Any] = {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"cluster": "eu1"}}


def planned(*entries: AdoptionEntry, **more: Any) -> Asked:
    changes: dict[str, int] = {}
    for entry in entries:
        changes[entry.change.value] = changes.get(entry.change.value, 0) + 1
    answer = AdoptionReport(
        app="shop/web",
        request="r1",
        digest="a" * 64,
        state=AdoptionState.PLANNED,
        objects=len(entries),
        changes=changes,
        tools={"Helm": len(entries)},
        restarts=sum(entry.restarts for entry in entries),
        entries=list(entries),
    )
    return Asked(APP, answer.model_copy(update=more))


def row(change: AdoptionChange, **more: Any) -> AdoptionEntry:
    return AdoptionEntry(ref="Deployment.apps shop/web", change=change, tools=["Helm"], **more)


def test_what_is_the_same_or_only_differs_goes_on() -> None:
    assert (
        _obstacles([planned(row(AdoptionChange.SAME), row(AdoptionChange.DIFFERS))], accept_changes=False)
        == []
    )


def test_restarts_and_deletions_wait_for_a_person_and_refusals_for_a_correction() -> None:
    restarts = planned(row(AdoptionChange.DIFFERS, restarts=True))
    deletes = planned(row(AdoptionChange.PRUNE))
    refused = planned(row(AdoptionChange.REFUSED))
    for plan, accepted in ((restarts, 0), (deletes, 0), (refused, 1)):
        assert len(_obstacles([plan], accept_changes=False)) == 1
        assert len(_obstacles([plan], accept_changes=True)) == accepted


def test_an_agent_that_does_not_answer_is_named() -> None:
    assert _silent([Asked(APP, None)]) == ["shop/web: the agent of eu1 has not answered"]
    failed = planned(state=AdoptionState.FAILED, message="HubAway: no session")
    assert _silent([failed]) == ["shop/web: HubAway: no session"]
    assert _silent([planned()]) == []


def test_a_target_that_moved_since_the_plan_is_told() -> None:
    moved = APP | {"status": {"sync": {"target": "b" * 64}}}
    (said,) = _silent([Asked(moved, None)], planned={"shop/web": "a" * 64})
    assert "plan again" in said
    assert "has not answered" in _silent([Asked(moved, None)], planned={"shop/web": "b" * 64})[0]


def test_an_answer_to_another_question_is_none() -> None:
    said = planned().answer
    assert said is not None
    obj = APP | {"status": {"adoption": said.wire() | {"at": "2026-01-01T00:00:00Z"}}}
    assert _answer(obj, "r1") == said
    assert _answer(obj, "r2") is None
    assert _answer(APP, "r1") is None


def test_the_table_has_whom_what_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    entry = row(
        AdoptionChange.DIFFERS, restarts=True, paths=[".spec.a", "-.spec.b"], left=[".spec.c"], message="m"
    )
    _print([planned(entry)], Format.TABLE)
    printed = capsys.readouterr().out
    assert "shop/web on eu1: 1 differ; 1 of Helm" in printed
    assert "Differs, restarts" in printed
    assert "m; .spec.a, -.spec.b; stays: .spec.c" in printed
