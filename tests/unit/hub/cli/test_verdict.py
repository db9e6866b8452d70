from __future__ import annotations

from typing import Any

import pytest

from hub.cli.follow import absent, summary, well, worst
from hub.cli.verdict import InvalidDuration, Wanted, at_last, reached, seconds_of, state


def app(
    sync: str = "Synced", health: str = "Healthy", *, seen: int = 2, key: str = "shop/web", **status: Any
) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    return {
        "kind": "Application",
        "metadata": {"namespace": namespace, "name": name, "generation": 2},
        "spec": {"cluster": "eu1"},
        "status": {
            "observedGeneration": seen,
            "sync": {"state": sync},
            "health": {"state": health},
            **status,
        },
    }


def app_set(synced: int, children: int, health: str = "Healthy", *, plan: int = 1) -> dict[str, Any]:
    return {
        "kind": "ApplicationSet",
        "metadata": {"namespace": "shop", "name": "shop", "generation": 1},
        "status": {
            "observedGeneration": 1,
            "plan": {"id": plan} if plan else {},
            "health": {"state": health},
            "sync": {"Synced": synced},
            "children": children,
        },
    }


@pytest.mark.parametrize(
    ("obj", "wanted", "expected"),
    [
        (app(), Wanted.HEALTHY, True),
        (app("Syncing"), Wanted.HEALTHY, False),  # old health is not health at the target
        (app("Blocked"), Wanted.HEALTHY, False),
        (app(health="Progressing"), Wanted.HEALTHY, False),
        (app(seen=1), Wanted.HEALTHY, False),  # the controller has not seen this generation
        (app(health="Progressing"), Wanted.SYNCED, True),
        (app(health="Degraded"), Wanted.DEGRADED, True),
        (app(), Wanted.DEGRADED, False),
        (app(), Wanted.DELETED, False),
        (None, Wanted.DELETED, True),
        (None, Wanted.HEALTHY, False),
        ({"kind": "Application", "metadata": {"name": "x", "generation": 1}}, Wanted.HEALTHY, False),
        (app_set(2, 2), Wanted.HEALTHY, True),
        (app_set(1, 2), Wanted.HEALTHY, False),
        (app_set(0, 0), Wanted.SYNCED, True),
        (app_set(0, 0, plan=0), Wanted.SYNCED, False),
    ],
)
def test_reached(obj: Any, wanted: Wanted, *, expected: bool) -> None:
    assert reached(obj, wanted) is expected


def test_the_state_says_what_it_waits_for_and_its_root() -> None:
    blocked = app(
        "Blocked",
        "Missing",
        blockedBy=[{"edge": "Dependency", "on": "shop/db", "message": "db is Degraded", "root": "db@eu1"}],
    )
    assert state(blocked) == "Blocked, Missing: db is Degraded (root: db@eu1)"
    assert state(None) == "is not there"
    assert state(app_set(1, 2, "Progressing")) == "1/2 Synced, Progressing"


def test_the_last_word_on_a_set_names_what_is_worst_in_it() -> None:
    stuck = app_set(2, 2, "Progressing")
    assert at_last(stuck) == "2/2 Synced, Progressing"
    stuck["status"]["health"]["worst"] = ["db@eu1: 0 of 1 available", "db@us1: Missing"]
    assert at_last(stuck) == "2/2 Synced, Progressing: db@eu1: 0 of 1 available; db@us1: Missing"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("0.5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "m", "-3s", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        seconds_of(text)


def test_progress_counts_what_is_healthy_at_its_target() -> None:
    root = app(key="axletree-system/root", health="Progressing")
    clusters = [
        {"metadata": {"name": "eu1"}, "status": {"fingerprint": "ab"}},
        {"metadata": {"name": "lab1"}, "status": {}},
    ]
    apps = [root, app(), app("Blocked", "Missing", key="shop/late")]
    text = summary("axletree-system/root", apps, [app_set(1, 2)], clusters)
    assert text == "1/2 clusters joined, 1/3 apps Healthy (1 Blocked)"
    assert absent(clusters) == ["cluster lab1: its agent has not joined"]


def test_a_root_is_well_only_with_everything_under_it() -> None:
    root = app(key="axletree-system/root")
    assert well("axletree-system/root", [root, app()], [app_set(1, 1)])
    assert not well("axletree-system/root", [root, app("Syncing")], [app_set(1, 1)])
    assert not well("axletree-system/root", [root], [app_set(0, 1)])
    assert not well("axletree-system/root", [], [])


def test_the_worst_children_are_named_before_what_sums_them_up() -> None:
    root = app(key="axletree-system/root", health="Degraded")
    bad = app("Synced", "Degraded", key="shop/bad")
    bad["status"]["health"]["message"] = "web: ImagePullBackOff"
    slow = app("Syncing", "Progressing", key="shop/slow")
    lines = worst("axletree-system/root", [root, slow, bad, app()], [])
    assert lines[0] == "app shop/bad on eu1: Synced, Degraded: web: ImagePullBackOff"
    assert lines[1].startswith("app shop/slow on eu1: Syncing, Progressing")
    assert lines[2].startswith("app axletree-system/root")
    assert worst("axletree-system/root", [], []) == ["application axletree-system/root is not there"]
