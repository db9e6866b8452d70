from __future__ import annotations

from typing import Any

import pytest

from agent.sync.alarms import ALERT
from hub.api.notification import Trigger
from hub.notify.standing import DRIFT_ALERT, Standing, Verdict, standing_of
from hub.notify.topics import Topic, steps

BAD, WELL, MOVING = Verdict.BAD, Verdict.WELL, Verdict.MOVING


def told(*standings: Standing) -> list[str]:
    """What is told over time, each step remembered as an outbox would."""
    known: dict[Topic, str] = {}
    said = []
    for standing in standings:
        for step in list(steps(standing, known)):
            known[step.topic] = step.word
            if step.trigger is not None:
                said.append(f"{step.topic} {step.trigger}")
    return said


def at(verdict: Verdict, token: str = "1", **more: Any) -> Standing:
    return Standing(verdict=verdict, token=token, **more)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ([at(WELL)], ["deployment Deployed"]),
        ([at(MOVING), at(WELL), at(WELL)], ["deployment Progressing", "deployment Deployed"]),
        (
            [at(WELL), at(BAD), at(BAD), at(MOVING), at(BAD), at(WELL)],
            ["deployment Deployed", "health Degraded", "health Recovered"],
        ),
        (
            [at(WELL), at(BAD), at(MOVING, "2"), at(BAD, "2"), at(WELL, "3")],
            [
                "deployment Deployed",
                "health Degraded",
                "deployment Progressing",
                "health Degraded",
                "health Recovered",
                "deployment Deployed",
            ],
        ),
        ([at(BAD, ""), at(BAD, ""), at(MOVING, "")], ["health Degraded"]),
        ([at(BAD, "1"), at(BAD, "")], ["health Degraded", "deployment Progressing"]),
        (
            [at(WELL, drift=""), at(MOVING, drift="x"), at(MOVING, drift=None), at(WELL, drift="")],
            ["deployment Deployed", "drift Drifted", "drift Recovered"],
        ),
        (
            [at(MOVING, "", held="5 are"), at(MOVING, "", held="4 are"), at(MOVING, "")],
            ["held Held", "held Recovered"],
        ),
        ([at(MOVING, "", approval="w"), at(MOVING, "")], ["approval AwaitingApproval"]),
    ],
)
def test_each_matter_is_told_once_and_its_end_once(standings: list[Standing], expected: list[str]) -> None:
    assert told(*standings) == expected


def app(**status: Any) -> dict[str, Any]:
    return {
        "kind": "Application",
        "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "generation": 3},
        "spec": {"cluster": "eu1", "sources": [{"repoURL": "https://git.example.com/shop/apps.git"}]},
        "status": {"observedGeneration": 3} | status,
    }


def ready(status: str, reason: str = "", message: str = "") -> list[dict[str, str]]:
    condition = {
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-05-01T00:00:00Z",
    }
    return [{"type": "Ready", **condition}]


def test_an_application_as_its_status_says() -> None:
    commit = "c" * 40
    well = standing_of(
        app(
            conditions=ready("True", "Healthy"),
            sync={"state": "Synced", "target": "d" * 64, "revision": commit},
        )
    )
    assert (well.verdict, well.token, well.drift) == (WELL, "d" * 16, "")
    assert well.commits == (("https://git.example.com/shop/apps.git", commit),)
    broken = app(conditions=ready("False", "Degraded", "CrashLoopBackOff"), health={"state": "Degraded"})
    assert standing_of(broken).verdict is BAD
    assert standing_of(broken).message == "CrashLoopBackOff"
    going = broken["status"] | {"deletion": {"reason": "Dropped"}}
    assert standing_of(app(**going)).verdict is MOVING, "on its way out by a decision"
    held = standing_of(app(deletion={"reason": "Dropped", "held": "Budget"}))
    assert held.held == "its deletion (Dropped) is held: Budget"
    assert standing_of(app(observed={"held": "EmptyBundle"})).held == "its agent holds a prune: EmptyBundle"
    older = app(conditions=ready("True"), observedGeneration=2)
    assert standing_of(older).verdict is MOVING, "its status is of an older spec"


def test_drift_is_told_when_the_agent_calls_it_an_alert_and_not_before() -> None:
    assert f"{ALERT}:" == DRIFT_ALERT
    early = app(sync={"state": "OutOfSync", "message": "apps/Deployment web: spec.replicas is changed"})
    assert standing_of(early).drift is None
    late = app(
        sync={
            "state": "OutOfSync",
            "message": "DriftAlert: web spec.replicas is changed, for longer than 600 s",
        }
    )
    assert standing_of(late).drift
    assert standing_of(app(sync={"state": "Syncing"})).drift is None
    assert standing_of(app(sync={"state": "Synced"})).drift == ""


def test_a_set_as_its_status_says() -> None:
    obj: dict[str, Any] = {
        "kind": "ApplicationSet",
        "metadata": {"namespace": "shop", "name": "shop", "generation": 1},
        "spec": {},
        "status": {
            "observedGeneration": 1,
            "conditions": [*ready("False", "GitError", "not found"), {"type": "Stalled", "status": "True"}],
            "plan": {
                "id": 7,
                "revisions": {"https://git.example.com/a@main": "a" * 40, "chart@1.x": "1.2.3"},
                "held": [{"app": "shop/old"}, {"app": "shop/older"}],
            },
            "rollout": {"state": "AwaitingApproval", "message": "wave fleet waits"},
        },
    }
    found = standing_of(obj)
    assert (found.verdict, found.token, found.message) == (BAD, "7", "not found")
    assert found.commits == (("https://git.example.com/a", "a" * 40),)
    assert found.held == "2 deletions are Held, shop/old first"
    assert found.approval == "wave fleet waits"
    assert [step.trigger for step in steps(found, {})] == [
        Trigger.DEGRADED,
        Trigger.HELD,
        Trigger.APPROVAL,
        Trigger.PROGRESSING,
    ]
