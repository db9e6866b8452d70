"""What people ask of agents, from annotations and specs to the Assignment."""

from __future__ import annotations

from typing import Any

import pytest

from hub.operator.requests import adoptions, object_syncs, purges
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


def again(annotation: str, **said: str) -> list[dict[str, str]]:
    app: dict[str, Any] = {"metadata": {"annotations": {"axletree.dev/sync-object": annotation}}}
    if said:
        app["status"] = {"objectSync": said}
    return object_syncs(["shop/web", "shop/gone"], {"shop/web": app}.get)


def test_one_object_is_asked_for_until_it_is_answered() -> None:
    word = f"{DIGEST}/r1/configmap/shop/a"
    entry = {"app": "shop/web", "digest": DIGEST, "object": "configmap/shop/a", "request": "r1"}
    assert again(word) == [entry]
    assert again(word, request="r0", state="Applied") == [entry]
    assert again(word, request="r1", state="Waiting") == [entry]
    assert again(word, request="r1", state="Applied") == []
    assert again(word, request="r1", state="Failed") == []


@pytest.mark.parametrize(
    "annotation",
    [
        "",
        "a/b",
        f"{DIGEST}/r1",
        f"{DIGEST}//configmap/a",
        "short/r1/configmap/a",
        f"{DIGEST}/r1/" + "x" * 601,
    ],
)
def test_what_names_no_object_is_not_asked(annotation: str) -> None:
    assert again(annotation) == []


def test_a_purge_carries_what_was_decided() -> None:
    decided = {"app": "shop/web", "decidedAt": "2026-01-01T00:00:00Z", "serviceAccount": "deployer"}
    assert purges({"spec": {"purges": [decided | {"serviceAccount": ""}, decided]}}) == [
        {"app": "shop/web", "decidedAt": "2026-01-01T00:00:00Z"},
        decided,
    ]
    assert purges(None) == purges({}) == []
