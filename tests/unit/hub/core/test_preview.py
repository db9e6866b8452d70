from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.contract.names import LABEL_SET
from hub.api.applicationset import ApplicationSetSpec
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
