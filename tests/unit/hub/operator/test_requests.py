"""What people ask of agents, from annotations and specs to the Assignment."""

from __future__ import annotations

from typing import Any

import pytest

from hub.operator.requests import adoptions, purges
from hub.operator.state import Target

DIGEST, OTHER, BLOB = "a" * 64, "c" * 64, "b" * 64


def asked(annotation: str, digest: str = DIGEST) -> list[dict[str, Any]]:
    apps = {"shop/web": {"metadata": {"annotations": {"axletree.dev/adopt": annotation}}}}
    return adoptions(
        ["shop/web", "shop/gone"], apps.get, {"shop/web": Target(plan=1, digest=digest, blob=BLOB)}
    )


def test_a_plan_is_about_the_target_of_now() -> None:
    entry = {"app": "shop/web", "digest": DIGEST, "blob": BLOB, "request": "r1"}
    assert asked("plan/r1") == [entry]


def test_a_handover_is_about_the_digest_that_was_planned_and_no_other() -> None:
    (entry,) = asked(f"take/{DIGEST}/r2")
    assert entry["take"] is True
    assert asked(f"take/{OTHER}/r2") == []


@pytest.mark.parametrize(
    "annotation", ["", "plan", "plan/", "take/r1", f"plan/{DIGEST}/r1", "give/r1", "plan/" + "r" * 65]
)
def test_what_is_no_question_is_not_asked(annotation: str) -> None:
    assert asked(annotation) == []


def test_nothing_is_asked_about_an_app_that_is_not_rendered() -> None:
    assert asked("plan/r1", digest="") == []


def test_a_purge_carries_what_was_decided() -> None:
    decided = {"app": "shop/web", "decidedAt": "2026-01-01T00:00:00Z", "serviceAccount": "deployer"}
    assert purges({"spec": {"purges": [decided | {"serviceAccount": ""}, decided]}}) == [
        {"app": "shop/web", "decidedAt": "2026-01-01T00:00:00Z"},
        decided,
    ]
    assert purges(None) == purges({}) == []
