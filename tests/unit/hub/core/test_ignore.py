from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from hub.api.applicationset import DeletionSpec, IgnoredFields
from hub.core.ignore import kept, parsed
from hub.core.plan import plan_children

WANTED: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"a": "1", "axletree.dev/application-set": "s"}},
    "spec": {
        "cluster": "eu1",
        "sources": [{"repoURL": "https://h/x", "revision": "main"}],
        "sync": {"mode": "Auto", "prune": True},
    },
}
LIVE: dict[str, Any] = {
    "metadata": {
        "name": "web",
        "labels": {"a": "2", "axletree.dev/application-set": "other"},
        "annotations": {"n": "x"},
    },
    "spec": {
        "cluster": "us1",
        "sources": [{"repoURL": "https://h/x", "revision": "fix"}],
        "sync": {"mode": "Manual"},
    },
}


def with_rule(*pointers: str, name: str = "", live: dict[str, Any] | None = LIVE) -> dict[str, Any]:
    return kept(WANTED, live, [IgnoredFields(name=name, json_pointers=list(pointers))])


@pytest.mark.parametrize(
    ("pointer", "path", "value"),
    [
        ("/spec/sync/mode", ("spec", "sync"), {"mode": "Manual", "prune": True}),
        ("/spec/sync/prune", ("spec", "sync"), {"mode": "Auto"}),
        ("/spec/sync", ("spec", "sync"), {"mode": "Manual"}),
        ("/spec/sources/0/revision", ("spec", "sources"), [{"repoURL": "https://h/x", "revision": "fix"}]),
        ("/spec/sources/3/revision", ("spec", "sources"), WANTED["spec"]["sources"]),
        ("/metadata/labels/a", ("metadata", "labels", "a"), "2"),
        ("/metadata/annotations/n", ("metadata", "annotations"), {"n": "x"}),
    ],
)
def test_what_others_own_is_kept(pointer: str, path: tuple[str, ...], value: Any) -> None:
    found: Any = with_rule(pointer)
    for part in path:
        found = found[part]
    assert found == value
    assert WANTED["spec"]["sync"] == {"mode": "Auto", "prune": True}, "nothing is changed in place"


def test_a_new_child_and_other_children_get_what_the_template_says() -> None:
    assert with_rule("/spec/sync/mode", live=None) == WANTED
    assert with_rule("/spec/sync/mode", name="other") == WANTED
    assert with_rule("/spec/sync/mode", name="web")["spec"]["sync"]["mode"] == "Manual"


@pytest.mark.parametrize(
    "pointer",
    [
        "/spec/cluster",
        "/spec/namespace",
        "/spec",
        "/metadata",
        "/metadata/namespace",
        "/metadata/labels",
        "/metadata/labels/axletree.dev~1application-set",
        "/metadata/finalizers/0",
        "/status/sync",
        "spec/sync",
    ],
)
def test_s11_what_makes_a_child_its_sets_cannot_be_ignored(pointer: str) -> None:
    assert parsed(pointer) is None
    try:
        rule = IgnoredFields(json_pointers=[pointer])
    except ValidationError:
        return
    assert kept(WANTED, LIVE, [rule]) == WANTED


def test_a_child_that_differs_only_where_others_own_it_is_not_written() -> None:
    live = {
        "metadata": {"name": "web", "labels": dict(WANTED["metadata"]["labels"])},
        "spec": {**WANTED["spec"], "sync": {"mode": "Manual", "prune": True}},
    }
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for pointers, written in (((), True), (("/spec/sync/mode",), False)):
        rules = [IgnoredFields(json_pointers=list(pointers))] if pointers else []
        wanted = {"shop/web": kept(WANTED, live, rules)}
        plan = plan_children(wanted, {"shop/web": live}, deletion=DeletionSpec(), now=now)
        assert bool(plan.update) is written
