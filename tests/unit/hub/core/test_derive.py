from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.contract.health import HealthState, SyncState
from hub.api.application import SyncMode
from hub.api.applicationset import ApplicationSetStatus, HealthPolicy
from hub.api.applicationstatus import ApplicationStatus
from hub.core.derive import Problem, application_status, begun_status, merge_conditions, set_status
from hub.core.model import AppNode, Blocker, Observed
from hub.core.rollup import SetRollup

H = HealthState
_SEEN = Observed(
    release=1, digest="t", sync=SyncState.SYNCED, health=H.HEALTHY, observed_at="2026-01-01T00:00:00Z"
)
_NODE = AppNode(key="n/a", cluster="eu1", plan=7, target="t", released="t", release=1, observed=_SEEN)
_WAITS = Blocker("Dependency", "n/b", "b@eu1 is Syncing", "b@eu1 is Syncing")


def status(node: AppNode, *blockers: Blocker, **more: Any) -> dict[str, Any]:
    found = application_status(node, blockers, generation=3, now="2026-02-02T00:00:00Z", **more)
    ApplicationStatus.model_validate(found)
    return found


def conditions(found: dict[str, Any]) -> tuple[str, str, str, str]:
    ready, moving, stalled = found["conditions"]
    assert (ready["type"], moving["type"], stalled["type"]) == ("Ready", "Reconciling", "Stalled")
    return ready["status"], moving["status"], stalled["status"], ready["reason"]


@pytest.mark.parametrize(
    ("node", "blockers", "expected"),
    [
        (_NODE, (), ("True", "False", "False", "Healthy")),
        (replace(_NODE, observed=None), (), ("False", "True", "False", "Syncing")),
        (replace(_NODE, release=2), (), ("False", "True", "False", "Syncing")),
        (replace(_NODE, target="u"), (_WAITS,), ("False", "True", "False", "Dependency")),
        (replace(_NODE, target="u"), (), ("False", "True", "False", "Blocked")),
        (
            replace(_NODE, observed=replace(_SEEN, health=H.PROGRESSING)),
            (),
            ("False", "True", "False", "Progressing"),
        ),
        (
            replace(_NODE, observed=replace(_SEEN, health=H.DEGRADED)),
            (),
            ("False", "False", "False", "Degraded"),
        ),
        (
            replace(_NODE, observed=replace(_SEEN, health=H.SUSPENDED)),
            (),
            ("False", "False", "False", "Suspended"),
        ),
        (
            replace(_NODE, observed=replace(_SEEN, sync=SyncState.OUT_OF_SYNC)),
            (),
            ("False", "False", "False", "OutOfSync"),
        ),
        (
            replace(_NODE, observed=replace(_SEEN, sync=SyncState.FAILED)),
            (),
            ("False", "False", "True", "ApplyFailed"),
        ),
        (
            replace(_NODE, target="u", mode=SyncMode.MANUAL),
            (Blocker("Manual", "n/a", "m"),),
            ("False", "False", "False", "Manual"),
        ),
        (
            replace(_NODE, target="u"),
            (Blocker("Cycle", "n/a", "a -> a"),),
            ("False", "False", "True", "DependencyCycle"),
        ),
        (
            replace(_NODE, target_problem="ManifestError: x.yaml:3: bad"),
            (Blocker("ManifestError", "n/a", "x.yaml:3: bad"),),
            ("False", "False", "True", "ManifestError"),
        ),
        (replace(_NODE, target_problem="odd"), (), ("False", "False", "True", "RenderFailed")),
        (replace(_NODE, deleting=True), (), ("False", "True", "False", "Deleting")),
    ],
)
def test_conditions_follow_kstatus(
    node: AppNode, blockers: tuple[Blocker, ...], expected: tuple[str, ...]
) -> None:
    assert conditions(status(node, *blockers)) == expected


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (replace(_NODE, observed=None), "the agent of eu1 has not taken it up yet"),
        (
            replace(
                _NODE, release=2, observed=replace(_SEEN, sync=SyncState.FAILED, message="of the old one")
            ),
            "the agent of eu1 has not taken it up yet",
        ),
        (replace(_NODE, observed=replace(_SEEN, sync=SyncState.SYNCING)), "its agent applies it"),
        (replace(_NODE, observed=replace(_SEEN, sync=SyncState.SYNCING, message="waits")), "waits"),
        (replace(_NODE, release=2, deleting=True, observed=replace(_SEEN, message="asks")), "asks"),
        (_NODE, ""),
    ],
)
def test_what_is_told_is_of_the_release_that_is_meant(node: AppNode, message: str) -> None:
    found = status(node)
    assert found["sync"]["message"] == message
    assert found["conditions"][0]["message"] == message


def test_a_problem_that_may_pass_is_not_stalled() -> None:
    node = replace(_NODE, target_problem="SourceUnreachable: timeout")
    found = status(node, Blocker("SourceUnreachable", "n/a", "timeout"), transient=True)
    assert conditions(found) == ("False", "True", "False", "SourceUnreachable")


def test_the_parts_of_an_applications_status() -> None:
    found = status(_NODE, revision="abc", target_blob="b")
    assert found["sync"] == {
        "state": "Synced",
        "message": "",
        "plan": 7,
        "target": "t",
        "targetBlob": "b",
        "released": "t",
        "release": 1,
        "live": "t",
        "revision": "abc",
    }
    assert found["health"] == {"state": "Healthy", "message": "", "observedAt": "2026-01-01T00:00:00Z"}
    assert "blockedBy" not in found
    never = status(replace(_NODE, observed=None))
    assert never["health"] == {"state": "Missing", "message": "never reported"}
    blocked = status(replace(_NODE, target="u"), *[_WAITS] * 20)
    assert (
        blocked["blockedBy"]
        == [{"edge": "Dependency", "on": "n/b", "message": "b@eu1 is Syncing", "root": "b@eu1 is Syncing"}]
        * 8
    )
    assert blocked["sync"]["message"] == "b@eu1 is Syncing"
    assert "prune" in status(replace(_NODE, observed=replace(_SEEN, held="EmptyBundle")))["sync"]["message"]


def test_long_messages_fit_the_schema() -> None:
    found = status(replace(_NODE, observed=replace(_SEEN, health=H.DEGRADED, health_message="x" * 9000)))
    assert len(found["health"]["message"]) == 4096


def test_a_transition_is_a_change_of_status_alone() -> None:
    first = status(_NODE)["conditions"]
    busy = replace(_NODE, observed=replace(_SEEN, health=H.DEGRADED, health_message="one"))
    again = application_status(busy, (), generation=4, conditions=first, now="later")["conditions"]
    assert [each["lastTransitionTime"] for each in again] == [
        "later",
        first[1]["lastTransitionTime"],
        first[2]["lastTransitionTime"],
    ]
    words = replace(busy, observed=replace(_SEEN, health=H.DEGRADED, health_message="two"))
    third = application_status(words, (), generation=4, conditions=again, now="latest")["conditions"]
    assert third[0]["message"] == "two"
    assert third[0]["lastTransitionTime"] == "later"
    (one,) = merge_conditions(
        [{"type": "A", "status": "True"}], [{"type": "A", "status": "True"}], generation=1, now="n"
    )
    assert one["lastTransitionTime"] == "n"


@pytest.mark.parametrize(
    ("nodes", "stale", "more", "expected"),
    [
        ([_NODE], (), {}, ("True", "False", "False", "Healthy")),
        ([replace(_NODE, target="u")], (), {}, ("False", "True", "False", "Progressing")),
        ([_NODE], ("eu1",), {}, ("False", "False", "False", "Unknown")),
        ([], (), {"planned": False}, ("False", "True", "False", "Planning")),
        (
            [_NODE],
            (),
            {"problem": Problem("TemplateError", "spec.x: bad")},
            ("False", "False", "True", "TemplateError"),
        ),
        (
            [_NODE],
            (),
            {"problem": Problem("SourceError", "timeout", terminal=False)},
            ("False", "True", "False", "SourceError"),
        ),
    ],
)
def test_a_sets_conditions(
    nodes: list[AppNode], stale: tuple[str, ...], more: dict[str, Any], expected: tuple[str, ...]
) -> None:
    result = SetRollup.of(nodes).result(stale=stale, policy=HealthPolicy())
    found = set_status(result, generation=2, now="2026-02-02T00:00:00Z", **({"planned": True} | more))
    ApplicationSetStatus.model_validate(found)
    assert conditions(found) == expected
    assert found["children"] == len(nodes)


def test_a_set_that_cannot_be_expanded_is_degraded_however_well_its_last_plan_runs() -> None:
    result = SetRollup.of([_NODE]).result()
    problem = Problem("TemplateError", "set n/s: spec.namespace: line 1")
    health = set_status(result, generation=2, planned=True, problem=problem, now="n")["health"]
    message = "TemplateError: set n/s: spec.namespace: line 1"
    assert (health["state"], health["message"], health["worst"][0]) == ("Degraded", message, message)
    away = Problem("SourceError", "timeout", terminal=False)
    assert (
        set_status(result, generation=2, planned=True, problem=away, now="n")["health"]
        == result.health.to_json()
    )


def test_held_deletions_are_told() -> None:
    found = set_status(SetRollup().result(), generation=2, planned=True, held=3, now="n")
    assert found["conditions"][0]["message"] == "3 deletions are Held"


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "Progressing"), ("Healthy", "Progressing"), ("Progressing", "Progressing"), ("Degraded", None)],
)
def test_a_plan_that_moves_something_is_not_healthy_from_its_first_moment(
    before: str, after: str | None
) -> None:
    current = {"health": {"state": before}} if before else {}
    found = begun_status(current, generation=2, now="2026-02-02T00:00:00Z")
    assert found.get("health", {}).get("state") == after
    if after is not None:
        assert conditions(found) == ("False", "True", "False", "Progressing")
