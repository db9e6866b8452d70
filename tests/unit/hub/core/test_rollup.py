from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState, SyncState
from hub.api.applicationset import HealthPolicy, SetHealth
from hub.core.model import AppNode, Observed
from hub.core.rollup import SetRollup, child_health, root_health
from tests.effort import effort

H = HealthState


def child(
    name: str,
    cluster: str = "eu1",
    health: HealthState | None = H.HEALTHY,
    *,
    sync: SyncState = SyncState.SYNCED,
    message: str = "",
    **fields: Any,
) -> AppNode:
    seen = None
    if health is not None:
        seen = Observed(
            release=1, digest="t", sync=sync, health=health, message=message, health_message=message
        )
    defaults: dict[str, Any] = {"target": "t", "released": "t", "release": 1, "observed": seen}
    return AppNode(key=f"shop/{name}-{cluster}", cluster=cluster, **(defaults | fields))


def policy(**fields: Any) -> HealthPolicy:
    return HealthPolicy.model_validate(fields)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (child("a"), H.HEALTHY),
        (child("a", health=H.SUSPENDED), H.SUSPENDED),
        (child("a", health=None), H.PROGRESSING),
        (child("a", target="newer"), H.PROGRESSING),
        (child("a", release=2), H.PROGRESSING),
        (child("a", target="newer", health=H.DEGRADED), H.DEGRADED),
        (child("a", release=2, health=H.DEGRADED), H.PROGRESSING),
        (child("a", sync=SyncState.SYNCING, health=H.MISSING), H.PROGRESSING),
        (child("a", sync=SyncState.FAILED), H.DEGRADED),
        (child("a", target_problem="Render: bad"), H.DEGRADED),
    ],
)
def test_what_a_child_counts_as(node: AppNode, expected: HealthState) -> None:
    assert child_health(node)[0] is expected


@pytest.mark.parametrize(
    ("nodes", "calm", "done"),
    [
        ([], True, True),
        ([child("a")], True, True),
        ([child("a"), child("b", target="newer")], True, False),
        ([child("a"), child("b", sync=SyncState.FAILED)], False, False),
        ([child("a"), child("b", health=H.MISSING)], False, False),
    ],
)
def test_what_only_moves_on_is_told_apart_from_what_is_wrong(
    nodes: list[AppNode], *, calm: bool, done: bool
) -> None:
    rollup = SetRollup.of(nodes)
    assert (rollup.calm, rollup.done) == (calm, done)


def test_the_worst_children_are_named() -> None:
    nodes = [child(f"ok{n}") for n in range(4)]
    nodes += [child(f"p{n}", health=H.PROGRESSING, message="1 of 2") for n in range(5)]
    nodes += [child("bad", "us1", health=H.DEGRADED, message="no image"), child("gone", deleting=True)]
    found = SetRollup.of(nodes).result()
    assert found.health.state == "Degraded"
    assert found.health.message == "4 of 10 Healthy (1 Degraded, 5 Progressing, 4 Healthy)"
    assert found.health.counts == {"Healthy": 4, "Progressing": 5, "Degraded": 1}
    assert found.health.worst[:2] == ["bad@us1: no image", "p0@eu1: 1 of 2"]
    assert len(found.health.worst) == 5
    assert found.children == 11
    assert found.sync == {"Synced": 10, "Deleting": 1}


@pytest.mark.parametrize(
    ("stale", "state", "message"),
    [
        ("Wait", "Unknown", "1 cluster is Stale"),
        ("Ignore", "Healthy", "1 cluster is Stale"),
        ("Fail", "Degraded", "1 cluster is Stale"),
    ],
)
def test_a_stale_cluster_is_not_green(stale: str, state: str, message: str) -> None:
    rollup = SetRollup.of([child("a"), child("a", "eu2"), child("b", "eu2", health=H.DEGRADED)])
    found = rollup.result(stale={"eu2", "unknown"}, policy=policy(stale=stale))
    assert (found.health.state, found.health.message) == (state, message)
    assert found.health.counts == {"Healthy": 1, "Stale": 2}
    assert found.health.worst == []
    assert rollup.result().health.state == "Degraded"


@pytest.mark.parametrize(
    ("least", "state"),
    [("100%", "Degraded"), ("76%", "Degraded"), ("75%", "Healthy"), (3, "Healthy"), (9, "Degraded")],
)
def test_min_healthy(least: int | str, state: str) -> None:
    rollup = SetRollup.of([child("a"), child("b"), child("c"), child("d", health=H.DEGRADED)])
    assert rollup.result(policy=policy(minHealthy=least)).health.state == state


def test_min_healthy_counts_stale_ones_by_policy() -> None:
    rollup = SetRollup.of([child("a"), child("b", "eu2"), child("c", health=H.PROGRESSING)])
    assert (
        rollup.result(stale={"eu2"}, policy=policy(minHealthy="50%", stale="Ignore")).health.state
        == "Healthy"
    )
    assert (
        rollup.result(stale={"eu2"}, policy=policy(minHealthy="50%", stale="Fail")).health.state == "Degraded"
    )


def test_an_empty_parent_is_healthy() -> None:
    rollup = SetRollup()
    assert rollup.empty
    assert rollup.result().health == SetHealth(state="Healthy")


_children = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(("eu1", "eu2", "eu3"))),
    st.fixed_dictionaries(
        {"health": st.one_of(st.none(), st.sampled_from(H)), "sync": st.sampled_from(SyncState)},
        optional={
            "target": st.sampled_from(("t", "newer")),
            "release": st.integers(0, 2),
            "deleting": st.booleans(),
            "target_problem": st.sampled_from(("", "Render: x")),
            "message": st.sampled_from(("", "m")),
        },
    ),
    max_size=9,
)


@effort(100)
@given(
    st.lists(_children, min_size=1, max_size=6),
    st.sets(st.sampled_from(("eu1", "eu2"))),
    st.sampled_from(("Wait", "Ignore", "Fail")),
    st.sampled_from((1, "50%", "100%")),
)
def test_a_rollup_equals_its_recomputation(
    steps: list[Any], stale: set[str], what: str, least: int | str
) -> None:
    rollup = SetRollup()
    nodes: dict[Any, AppNode] = {}
    how = policy(stale=what, minHealthy=least)
    for step in steps:
        wanted = {key: child(*key, **fields) for key, fields in step.items()}
        for key in nodes.keys() | wanted.keys():
            rollup.apply(nodes.get(key), wanted.get(key))
        nodes = wanted
        found = rollup.result(stale=stale, policy=how)
        assert found == SetRollup.of(nodes.values()).result(stale=stale, policy=how)
        there = [node for node in nodes.values() if not node.deleting]
        fresh = Counter(child_health(node)[0].value for node in there if node.cluster not in stale)
        silent = sum(node.cluster in stale for node in there)
        assert found.health.counts == dict(fresh) | ({"Stale": silent} if silent else {})
        assert found.children == len(nodes) == sum(found.sync.values())
        if found.health.state == "Healthy" and least == "100%":
            assert all(node.cluster in stale or child_health(node)[0] is H.HEALTHY for node in there)
    assert rollup.empty == (not nodes)


def test_one_childs_change_costs_little_in_a_large_set() -> None:
    nodes = [child("a", f"c{n}", health=H.PROGRESSING) for n in range(10_000)]
    rollup, spent = SetRollup.of(nodes), []
    for node in nodes[:200]:
        started = time.perf_counter()
        rollup.apply(node, replace(node, observed=replace(node.observed, health=H.HEALTHY)))  # type: ignore[type-var]
        rollup.result()
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[100] < 0.001


def test_the_root_is_as_healthy_as_what_it_holds() -> None:
    own = Observed(release=1, digest="t", sync=SyncState.SYNCED, health=H.HEALTHY)
    well, bad = (
        SetHealth(state="Healthy", counts={"Healthy": 3}),
        SetHealth(state="Degraded", counts={"Healthy": 1, "Degraded": 1}, worst=["web@eu1: no image"]),
    )
    assert root_health(own, sets=[well], apps=[child("x")]) == SetHealth(
        state="Healthy", counts={"Healthy": 4}
    )
    found = root_health(own, sets=[well, bad], apps=[child("x", health=H.PROGRESSING)])
    assert (found.state, found.message) == ("Degraded", "web@eu1: no image")
    assert found.worst == ["web@eu1: no image", "x@eu1: Progressing"]
    assert found.counts == {"Healthy": 4, "Degraded": 1, "Progressing": 1}
    told = replace(own, health=H.DEGRADED, health_message="ApplicationSet n/s: 1 of 2 Healthy")
    assert root_health(told, sets=[bad]).worst == ["web@eu1: no image", "ApplicationSet n/s: 1 of 2 Healthy"]
    assert root_health(None).state == "Missing"
    assert root_health(own, sets=[SetHealth()]).state == "Progressing"
    assert root_health(replace(own, health=H.DEGRADED, health_message="quota")).message == "quota"
