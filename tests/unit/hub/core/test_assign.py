from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState, SyncState
from agent.contract.wire import Tombstone
from hub.api.assignment import AssignmentSpec
from hub.api.dependency import Dependency
from hub.core.assign import assignment_spec
from hub.core.graph import AppGraph
from hub.core.model import AppNode, ClusterView, Drop, Fleet, Observed

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_A, _B = "a" * 64, "b" * 64
_BLOBS = {f"n/{name}": _B for name in ("db", "web", "api")}
_FLEET = Fleet(clusters={name: ClusterView(name) for name in ("eu1", "eu2")})


def node(name: str, *after: str, cluster: str = "eu1", **fields: Any) -> AppNode:
    edges = tuple(
        Dependency.model_validate({"name": each, "clusters": {"scope": "All"}, "optional": True})
        for each in after
    )
    defaults: dict[str, Any] = {"target": _A, "released": _A, "release": 1}
    return AppNode(key=f"n/{name}", cluster=cluster, depends_on=edges, **(defaults | fields))


def graph_of(*nodes: AppNode) -> AppGraph:
    graph = AppGraph()
    for each in nodes:
        graph.upsert(each)
    return graph


def drop(name: str, held: str = "") -> Drop:
    return Drop(f"n/{name}", "Dropped", _NOW, held)


def spec(
    graph: AppGraph, previous: Any = None, *drops: Drop, epoch: int = 1, **more: Any
) -> dict[str, Any] | None:
    found = assignment_spec(
        "eu1",
        graph,
        blobs=more.pop("blobs", _BLOBS),
        tombstones=drops,
        previous=previous,
        epoch=epoch,
        **more,
    )
    if found is not None:
        AssignmentSpec.model_validate(found)
        for entry in found["tombstones"]:
            Tombstone.model_validate(entry)
    return found


def entry(name: str, *after: str) -> dict[str, Any]:
    found: dict[str, Any] = {"app": f"n/{name}", "digest": _A, "blob": _B, "release": 1}
    return found | ({"after": [f"n/{each}" for each in after]} if after else {})


def test_what_is_released_is_assigned_in_order() -> None:
    graph = graph_of(
        node("web", "db"), node("db"), node("other", cluster="eu2"), node("new", released="", release=0)
    )
    found = spec(graph)
    assert found == {"epoch": 1, "seq": 1, "apps": [entry("db"), entry("web", "db")], "tombstones": []}
    assert spec(graph, found) is None
    assert spec(AppGraph()) is None


def test_what_was_observed_and_lost_is_asked_for_once_more() -> None:
    graph = graph_of(node("db"))
    first = spec(graph)
    assert first is not None
    asked = spec(graph, first, resend=True)
    assert asked == first | {"seq": 2, "resend": 1}
    assert spec(graph, asked) is None, "it stays said, and is no news"
    again = spec(graph, asked, resend=True)
    assert again is not None
    assert (again["seq"], again["resend"]) == (3, 2)


def test_equal_content_is_no_new_document() -> None:
    graph = graph_of(node("db"))
    first = spec(graph)
    assert spec(graph, first, blobs={}) is None
    moved = spec(graph, first, epoch=2)
    assert moved is not None
    assert (moved["epoch"], moved["seq"]) == (2, 2)
    graph.upsert(node("db", released=_B, target=_B, release=2))
    assert spec(graph, first, blobs={}) is None, "without stored bytes the earlier release stays"
    second = spec(graph, first)
    assert second is not None
    assert (second["seq"], second["apps"][0]["release"]) == (2, 2)


def test_f15_a_cluster_that_joins_again_gets_the_same_release_as_bytes_that_it_can_open() -> None:
    graph = graph_of(node("db"))
    first = spec(graph)
    resealed = {"n/db": "c" * 64}
    second = spec(graph, first, blobs=resealed)
    assert second is not None
    assert second["apps"] == [entry("db") | {"blob": "c" * 64}]
    assert spec(graph, second, blobs=resealed) is None
    assert spec(graph, second, blobs={}) is None, "what is not known to be stored changes nothing"


def test_i1_absence_is_never_a_deletion() -> None:
    first = spec(graph_of(node("db"), node("web", "db")))
    assert spec(AppGraph(), first) is None
    assert spec(AppGraph(), first, drop("db", held="Budget")) is None
    empty = {**(first or {}), "apps": []}
    assert spec(graph_of(node("db", deleting=True)), first) is None, "deleting, but nothing is recorded"
    assert (spec(graph_of(node("db")), empty) or {})["apps"] == [entry("db")]


def test_a_recorded_decision_becomes_a_tombstone_and_stays_one() -> None:
    graph = graph_of(node("db"), node("web", "db"))
    first = spec(graph)
    graph.upsert(node("web", "db", deleting=True))
    second = spec(graph, first, drop("web"), orphan={"n/web"})
    assert second is not None
    assert second["apps"] == [entry("db")]
    assert second["tombstones"] == [
        {"app": "n/web", "reason": "Dropped", "decidedAt": "2026-05-01T00:00:00Z", "orphan": True}
    ]
    assert spec(graph, second, drop("web"), orphan={"n/web"}) is None
    graph.remove("n/web")
    assert spec(graph, second, drop("web"), orphan={"n/web"}) is None
    third = spec(graph, second)
    assert third is not None
    assert (third["seq"], third["tombstones"]) == (3, [])


def test_a41_a_renamed_app_goes_only_when_its_new_name_is_assigned() -> None:
    old = node("web", owner="n/shop", deleting=True)
    before = spec(graph_of(replace(old, deleting=False)))
    new = node("api", owner="n/shop", released="", release=0)
    assert spec(graph_of(old, new), before, drop("web")) is None
    released = spec(graph_of(old, replace(new, released=_A, release=2)), before, drop("web"))
    assert released is not None
    assert [each["app"] for each in released["apps"]] == ["n/api"]
    assert [each["app"] for each in released["tombstones"]] == ["n/web"]


def test_what_another_set_has_not_released_holds_nothing_up() -> None:
    old = node("web", owner="n/shop", deleting=True)
    before = spec(graph_of(replace(old, deleting=False)))
    found = spec(graph_of(old, node("api", owner="n/other", released="", release=0)), before, drop("web"))
    assert found is not None
    assert found["apps"] == []


def test_a37_deletion_runs_the_edges_in_reverse() -> None:
    graph = graph_of(
        node("db", deleting=True), node("api", "db", deleting=True), node("web", "api", "db", deleting=True)
    )
    found = spec(graph, None, drop("db"), drop("api"), drop("web"))
    assert found is not None
    before = {each["app"]: each.get("before") for each in found["tombstones"]}
    assert before == {"n/db": ["n/api", "n/web"], "n/api": ["n/web"], "n/web": None}


def test_members_of_a_cycle_do_not_wait_for_each_other_to_go() -> None:
    graph = graph_of(node("db", "web", deleting=True), node("web", "db", deleting=True))
    found = spec(graph, None, drop("db"), drop("web"))
    assert found is not None
    assert [each.get("before") for each in found["tombstones"]] == [None, None]


def test_i6_a_deletion_waits_for_dependents_on_other_clusters() -> None:
    graph = graph_of(node("db"), node("web", "db", cluster="eu2"))
    first = spec(graph, fleet=_FLEET)
    web = node("web", "db", cluster="eu2", deleting=True)
    graph.upsert(node("db", deleting=True))
    graph.upsert(web)
    assert spec(graph, first, drop("db"), fleet=_FLEET) is None
    seen = Observed(release=1, digest="", sync=SyncState.DELETING, health=HealthState.MISSING, deleted=True)
    graph.upsert(replace(web, observed=seen))
    second = spec(graph, first, drop("db"), fleet=_FLEET)
    assert second is not None
    graph.upsert(web)
    assert spec(graph, second, drop("db"), fleet=_FLEET) is None, "a tombstone that was written stays"
    away = Fleet(clusters={"eu1": ClusterView("eu1"), "eu2": ClusterView("eu2", removing=True)})
    assert (spec(graph, first, drop("db"), fleet=away) or {})["tombstones"], (
        "a cluster that goes holds nothing up"
    )


_names = st.sampled_from(("db", "web", "api"))


@given(
    st.lists(
        st.tuples(
            st.sets(_names),
            st.sets(_names),
            st.dictionaries(_names, st.sampled_from(("", "Budget"))),
        ),
        max_size=6,
    )
)
def test_i1_only_a_recorded_decision_takes_an_app_away(steps: list[Any]) -> None:
    """Whatever the hub knows or forgets, an app leaves the list for a tombstone in force and for nothing else."""
    previous: dict[str, Any] | None = None
    for known, released, decisions in steps:
        graph = graph_of(*(node(name, release=1 if name in released else 0) for name in known))
        drops = [drop(name, held) for name, held in decisions.items()]
        found = spec(graph, previous, *drops)
        if found is None:
            continue
        apps = {each["app"] for each in found["apps"]}
        stones = {each["app"] for each in found["tombstones"]}
        before = {each["app"] for each in (previous or {}).get("apps", ())}
        assert stones == {each.key for each in drops if not each.held}
        assert before - apps <= stones
        assert apps.isdisjoint(stones)
        assert found["seq"] == (previous or {"seq": 0})["seq"] + 1
        assert spec(graph, found, *drops) is None
        previous = found


def test_i1_a_purge_is_about_orphans_alone() -> None:
    decided = {"app": "n/old", "decidedAt": "2026-01-01T00:00:00Z", "serviceAccount": "deployer"}
    found = spec(graph_of(node("web")), purges=[decided, decided | {"app": "n/web"}])
    assert found is not None
    (stone,) = found["tombstones"]
    assert stone == {**decided, "reason": "Deleted", "purge": True}
    assert [entry["app"] for entry in found["apps"]] == ["n/web"]
    assert spec(graph_of(node("web")), found, purges=[decided]) is None
    again = spec(graph_of(node("web")), found)
    assert again is not None
    assert again["tombstones"] == []


def test_what_a_former_hub_left_is_purged_apart_from_apps_of_that_name() -> None:
    decided = {"app": "n/web", "hub": "9f86d081aa", "decidedAt": "2026-01-01T00:00:00Z"}
    known = decided | {"serviceAccount": "deployer"}
    found = spec(graph_of(node("web")), purges=[known, decided | {"app": "n/nobody"}])
    assert found is not None
    assert found["tombstones"] == []
    assert found["purges"] == [known]
    assert spec(graph_of(node("web")), found, purges=[known]) is None


def test_one_object_is_asked_for_of_what_is_assigned_and_of_no_other_release() -> None:
    asked = {"app": "n/web", "object": "configmap/a", "request": "r1"}
    first = spec(graph_of(node("web")))
    assert first is not None
    runs = {**asked, "digest": first["apps"][0]["digest"]}
    other = {**asked, "digest": "0" * 64}
    found = spec(graph_of(node("web")), first, object_syncs=[runs])
    assert found is not None
    assert found["objectSyncs"] == [runs]
    assert spec(graph_of(node("web")), first, object_syncs=[other]) is None
    assert spec(graph_of(node("web")), found, object_syncs=[runs]) is None
    after = spec(graph_of(node("web")), found)
    assert after is not None
    assert "objectSyncs" not in after


def test_a_cluster_that_leaves_is_told_so_in_one_document_more() -> None:
    graph = graph_of(node("db"))
    first = spec(graph)
    told = spec(graph, first, leaving=True)
    assert first is not None
    assert told is not None
    assert "leaving" not in first
    assert (told["leaving"], told["seq"], told["apps"]) == (True, first["seq"] + 1, first["apps"])
    assert spec(graph, told, leaving=True) is None
    emptied = spec(graph_of(), {**told, "apps": []}, leaving=True)
    assert emptied is None, "and stays told when nothing is left"


def test_questions_about_other_tools_come_and_go() -> None:
    asked = {"app": "n/web", "digest": _A, "blob": _B, "request": "r1"}
    first = spec(graph_of(node("web")))
    found = spec(graph_of(node("web")), first, adoptions=[asked])
    assert found is not None
    assert found["adoptions"] == [asked]
    assert spec(graph_of(node("web")), found, adoptions=[asked]) is None
    after = spec(graph_of(node("web")), found)
    assert after is not None
    assert "adoptions" not in after
