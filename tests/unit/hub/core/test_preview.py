from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.contract.names import LABEL_SET
from hub.api.applicationset import ApplicationSetSpec
from hub.api.project import ProjectSpec
from hub.core.breaker import Breaker
from hub.core.model import ClusterView, Fleet
from hub.core.preview import Preview, Side, preview

_NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FLEET = Fleet(clusters={name: ClusterView(name) for name in ("eu1", "us1")})
SPEC = ApplicationSetSpec.model_validate(
    {
        "generators": [{"list": {"elements": [{}]}}],
        "template": {
            "metadata": {"name": "x"},
            "spec": {"cluster": "eu1", "sources": [{"repoURL": "https://h"}]},
        },
    }
)


def app(name: str, *, owner: str = "", cluster: str = "eu1", **more: Any) -> dict[str, Any]:
    labels = {LABEL_SET: owner} if owner else {}
    metadata = {"name": name, "namespace": "n", "labels": labels, **more.pop("metadata", {})}
    return {
        f"n/{name}": {
            "metadata": metadata,
            "spec": {"cluster": cluster, "sources": [{"repoURL": "https://h"}]},
        }
    }


def look(before: dict[str, Any], after: dict[str, Any], **more: Any) -> Preview:
    sets = {f"n/{name}": SPEC for name in "ab"}
    return preview(Side(before, sets, **more), Side(after, sets), fleet=FLEET, now=_NOW)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (app("x", owner="a"), app("x", owner="b"), "DuplicateName: n/x is a child of set n/a already"),
        (app("x"), app("x", owner="b"), "DuplicateName: n/x is a hand-written Application already"),
        (app("x", owner="a"), app("x", owner="a", cluster="us1"), "InvalidChild: it is on eu1"),
        (app("x", owner="gone"), app("x", owner="a"), ""),
    ],
    ids=["of another set", "by hand", "on another cluster", "of a set that is gone"],
)
def test_what_a_hub_would_refuse_is_told(before: dict[str, Any], after: dict[str, Any], problem: str) -> None:
    (change,) = look(before, after).changes
    assert change.action == "Changed"
    assert change.problem.startswith(problem)
    assert bool(change.problem) == bool(problem)


def test_an_annotation_is_a_change_and_one_of_somebody_else_is_none() -> None:
    noted = app("x", owner="a", metadata={"annotations": {"mine": "1"}})
    assert [each.action for each in look(app("x", owner="a"), noted).changes] == ["Changed"]
    assert look(noted, app("x", owner="a")).changes == ()


def test_the_breaker_is_the_whole_hubs() -> None:
    """Each set is within its own budget: together, and with what went before, it is too much."""
    before = {key: obj for at in range(4) for key, obj in app(f"x{at}", owner="ab"[at % 2]).items()}
    assert look(before, {}).held == ()
    found = look(before, {}, breaker=Breaker(standing=4, recent=60))
    assert {(each.app, each.rule) for each in found.held} == {(key, "Breaker") for key in before}


def test_what_a_wave_would_take_back_is_told_beforehand() -> None:
    """What is known to fail already halts its wave, and what went before it goes back."""
    waves = [{"name": "canary", "selector": {"matchLabels": {"ring": "0"}}}, {"name": "fleet"}]
    rollout = {"rollout": {"waves": waves, "onFailure": "Rollback"}}
    sets = {"n/a": ApplicationSetSpec.model_validate(SPEC.to_json() | rollout)}
    fleet = Fleet(
        clusters={"eu1": ClusterView("eu1", labels={"ring": "0"}), "us1": ClusterView("us1")},
        projects={"n": ProjectSpec(trusted=True)},
    )
    was = app("x", owner="a") | app("y", owner="a", cluster="us1")
    new = {key: {**each, "spec": {**each["spec"], "namespace": "z"}} for key, each in was.items()}
    broken = Side(new, sets, problems={"n/y": "RenderFailed: no chart"})
    found = preview(Side(was, sets), broken, fleet=fleet, now=_NOW)
    assert [step.apps for step in found.rehearsal.steps] == [("n/x",)]
    held = {each.app: (each.rule, each.message) for each in found.held}
    assert held["n/y"] == ("RenderFailed", "y@us1: no chart")
    assert held["n/x"][0] == "Wave"
    assert held["n/x"][1].startswith(
        "it goes, and then back to its last good release: held by wave fleet: 1 of its 1"
    )
    halts = {"n/a": ApplicationSetSpec.model_validate(SPEC.to_json() | {"rollout": {"waves": waves}})}
    found = preview(Side(was, halts), Side(new, halts, problems=broken.problems), fleet=fleet, now=_NOW)
    assert [each.app for each in found.held] == ["n/y"]
