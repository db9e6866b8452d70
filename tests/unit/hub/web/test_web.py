from __future__ import annotations

from typing import Any

import pytest

from agent.contract.names import (
    ANNOTATION_ADOPT,
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE_RELEASE,
    ANNOTATION_PAUSED,
    ANNOTATION_PIN,
    ANNOTATION_SYNC,
)
from hub.web import generate
from hub.web.acts import decide
from hub.web.asked import AdoptRequest, ApproveRequest, RollbackRequest
from hub.web.models import RolloutState
from hub.web.openapi import WHERE, text
from hub.web.policy import ROUTES, Access
from hub.web.problems import NothingToDo
from hub.web.rollout import verdict

SHA = "c0ffee" + "0" * 34


def test_the_openapi_document_is_current() -> None:
    assert WHERE.read_text() == text(), "run `python -m hub.web.openapi`"


def test_the_typed_client_is_current() -> None:
    assert generate.WHERE.read_text() == generate.text(), "run `python -m hub.web.generate`"


def test_s10_every_route_has_a_whole_policy() -> None:
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        assert route.timeout or route.name == "events"
        assert route.concurrency > 0
        assert (route.access is Access.PUBLIC) == (not route.resource)
        assert (route.access is Access.NAMED) == ("{namespace}" in route.path)
        assert route.method in ("GET", "POST")
        assert route.act == (route.verb not in ("get", "list", "watch", "explain"))


def row(**fields: Any) -> dict[str, Any]:
    return {
        "revisions": {"r@main": SHA},
        "waves": [],
        "message": "",
        "settled": True,
        "ready": True,
        "health": "Healthy",
        "children": 2,
        "counts": {"Healthy": 2},
        "plan": 3,
    } | fields


def child(**fields: Any) -> dict[str, Any]:
    return {
        "key": "shop/web",
        "cluster": "eu1",
        "sync": "Synced",
        "health": "Degraded",
        "message": "no image",
    } | fields


@pytest.mark.parametrize(
    ("fields", "unwell", "superseded", "state"),
    [
        ({}, [], False, RolloutState.HEALTHY),
        ({"settled": False}, [], False, RolloutState.PROGRESSING),
        ({}, [child(health="Progressing")], False, RolloutState.PROGRESSING),
        ({"ready": False, "health": "Progressing"}, [child()], False, RolloutState.PROGRESSING),
        ({"ready": False, "health": "Degraded"}, [child()], False, RolloutState.FAILED),
        (
            {"ready": False, "waves": [{"name": "canary", "state": "Halted"}]},
            [child()],
            False,
            RolloutState.FAILED,
        ),
        ({"revisions": {"r@main": "f" * 40}}, [], False, RolloutState.PENDING),
        ({"revisions": {"r@main": "f" * 40}}, [child()], True, RolloutState.SUPERSEDED),
    ],
)
def test_the_verdict_on_a_commit(fields: Any, unwell: Any, superseded: bool, state: RolloutState) -> None:  # noqa: FBT001
    found = verdict(SHA[:8], row(**fields), unwell, superseded=superseded)
    assert found.state is state
    assert [each.message for each in found.where] == (["no image"] * len(unwell) if not superseded else [])


def test_a_commit_of_which_no_plan_can_be_made_has_failed() -> None:
    found = verdict(
        "f" * 40, row(message="TemplateError: no such name"), [], superseded=False, unplanned=True
    )
    assert found.state is RolloutState.FAILED
    assert found.message == "no plan can be made of it: TemplateError: no such name"
    bad = row(ready=False, health="Degraded", message="TemplateError: no such name")
    assert verdict(SHA, bad, [], superseded=False, frozen=True).state is RolloutState.HEALTHY
    assert verdict(SHA, bad, [child()], superseded=False, frozen=True).state is RolloutState.FAILED
    assert verdict(SHA, bad, [], superseded=False).state is RolloutState.FAILED


def test_what_failed_is_named_before_what_is_on_its_way() -> None:
    unwell = [child(key="shop/a", health="Progressing"), child(key="shop/b")]
    found = verdict(SHA, row(ready=False, health="Degraded"), unwell, superseded=False)
    assert [each.application for each in found.where] == ["shop/b", "shop/a"]


def app(annotations: dict[str, str] | None = None, *, mode: str = "Auto", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"annotations": annotations or {}},
        "spec": {"sync": {"mode": mode}},
        "status": status,
    }


HISTORY = [
    {"release": 2, "digest": "b", "blob": "B"},
    {"release": 1, "digest": "a", "blob": "A", "well": True},
]


@pytest.mark.parametrize(
    ("act", "obj", "body", "annotations"),
    [
        ("refresh", app(), None, {"axletree.dev/refresh": "word"}),
        ("pause", app(), None, {ANNOTATION_PAUSED: "true"}),
        ("uncordon", app({ANNOTATION_PAUSED: "true"}), None, {ANNOTATION_PAUSED: None}),
        ("sync", app(mode="Manual", sync={"target": "b", "released": "a"}), None, {ANNOTATION_SYNC: "b"}),
        ("rollback", app(sync={"target": "b"}, history=HISTORY), None, {ANNOTATION_PIN: "a/b/person"}),
        (
            "rollback",
            app({ANNOTATION_PIN: "a/b/person"}, sync={"target": "a", "pinned": "person"}, history=HISTORY),
            RollbackRequest(undo=True),
            {ANNOTATION_PIN: None},
        ),
        (
            "release",
            app(sync={"target": "b", "released": "a", "release": 3}, blockedBy=[{"edge": "Paused"}]),
            None,
            {ANNOTATION_FORCE_RELEASE: "b/4/https://issuer#ann"},
        ),
        ("adopt", app(sync={"target": "b"}), None, {ANNOTATION_ADOPT: "plan/word"}),
        (
            "adopt",
            app(sync={"target": "b"}),
            AdoptRequest(take="c" * 64),
            {ANNOTATION_ADOPT: f"take/{'c' * 64}/word"},
        ),
        (
            "adopt",
            app({ANNOTATION_ADOPT: "plan/x"}),
            AdoptRequest(undo=True),
            {ANNOTATION_ADOPT: None},
        ),
        (
            "approve",
            app(plan={"id": 7, "held": [{"app": "x"}]}),
            ApproveRequest(),
            {ANNOTATION_APPROVE: "deletions/7"},
        ),
        (
            "approve",
            app(deletion={"held": "Budget", "decidedAt": "now"}),
            None,
            {ANNOTATION_APPROVE: "deletion/now"},
        ),
    ],
)
def test_an_act_is_an_annotation(act: str, obj: Any, body: Any, annotations: Any) -> None:
    found, said = decide(act, obj, body, token="word", who="https://issuer#ann")
    assert found == annotations
    assert said


@pytest.mark.parametrize(
    ("act", "obj", "body"),
    [
        ("pause", app({ANNOTATION_PAUSED: "true"}), None),
        ("resume", app(), None),
        ("sync", app(sync={"target": "b", "released": "a"}), None),
        ("sync", app({ANNOTATION_SYNC: "b"}, mode="Manual", sync={"target": "b", "released": "a"}), None),
        ("rollback", app(sync={"target": "a"}, history=HISTORY[1:]), None),
        ("rollback", app(sync={"target": "b"}, history=HISTORY), RollbackRequest(release=9)),
        ("rollback", app(sync={"target": "b"}), RollbackRequest(undo=True)),
        ("release", app(sync={"target": "b", "released": "b"}), None),
        ("release", app(), None),
        ("release", app(sync={"target": "b"}, blockedBy=[{"edge": "Cycle"}]), None),
        ("adopt", app(), None),
        ("adopt", app(sync={"target": "b"}), AdoptRequest(undo=True)),
        ("approve", app(), ApproveRequest()),
        ("approve", app(), ApproveRequest(wave="canary")),
    ],
)
def test_what_waits_for_nothing_is_told(act: str, obj: Any, body: Any) -> None:
    with pytest.raises(NothingToDo):
        decide(act, obj, body, token="word")
