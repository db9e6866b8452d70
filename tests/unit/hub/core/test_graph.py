from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState, SyncState
from hub.api.dependency import Dependency, Scope
from hub.core.graph import AppGraph, title
from hub.core.model import AppNode, ClusterView, Observed
from tests.effort import effort


def dep(**fields: Any) -> Dependency:
    return Dependency.model_validate(fields)


def node(key: str, *depends_on: Dependency, **fields: Any) -> AppNode:
    fields.setdefault("cluster", key.rpartition("-")[2])
    return AppNode(key=key, depends_on=depends_on, **fields)


def on(app: str, scope: str = "Same") -> Dependency:
    return dep(selector={"matchLabels": {"app": app}}, clusters={"scope": scope})


def app(name: str, cluster: str, *depends_on: Dependency, **fields: Any) -> AppNode:
    return node(f"shop/{name}-{cluster}", *depends_on, labels={"app": name}, cluster=cluster, **fields)


def targets(graph: AppGraph, key: str) -> list[tuple[str, ...]]:
    return [edge.targets for edge in graph.edges_of(key)]


def test_a_new_node_finds_the_edges_that_mean_it() -> None:
    graph = AppGraph()
    graph.upsert(app("web", "eu1", on("db")))
    assert targets(graph, "shop/web-eu1") == [()]
    assert graph.upsert(app("db", "eu1")) == {"shop/db-eu1", "shop/web-eu1"}
    assert targets(graph, "shop/web-eu1") == [("shop/db-eu1",)]
    assert graph.upsert(app("db", "eu2")) == {"shop/db-eu2"}


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ({"scope": "Same"}, ["eu1"]),
        ({"scope": "Any"}, ["eu1", "eu2", "us1"]),
        ({"scope": "All"}, ["eu1", "eu2", "us1"]),
        ({"names": ["eu2", "us1"]}, ["eu2", "us1"]),
        ({"selector": {"matchLabels": {"region": "eu"}}}, ["eu1", "eu2"]),
        ({"selector": {}}, ["eu1", "eu2", "us1"]),
    ],
)
def test_clusters_of_an_edge(clusters: dict[str, Any], expected: list[str]) -> None:
    graph = AppGraph()
    for name in ("eu1", "eu2", "us1"):
        graph.upsert_cluster(ClusterView(name, labels={"region": name[:2]}))
        graph.upsert(app("db", name, owner="shop/db"))
    for edge in ({"selector": {"matchLabels": {"app": "db"}}}, {"applicationSet": "db"}):
        graph.upsert(app("web", "eu1", dep(**edge, clusters=clusters)))
        assert targets(graph, "shop/web-eu1") == [tuple(f"shop/db-{name}" for name in expected)]


def test_named_clusters_without_a_match_are_told() -> None:
    graph = AppGraph()
    graph.upsert(app("db", "eu1"))
    graph.upsert(app("web", "eu1", dep(selector={}, clusters={"names": ["eu2", "lab"]})))
    assert graph.edges_of("shop/web-eu1")[0].missing == ("eu2", "lab")
    graph.upsert(app("db", "eu2"))
    assert graph.edges_of("shop/web-eu1")[0].missing == ("lab",)
    graph.upsert(app("db", "eu2", deleting=True))
    assert graph.edges_of("shop/web-eu1")[0].missing == ("eu2", "lab")


def test_a_clusters_labels_move_edges() -> None:
    graph = AppGraph()
    graph.upsert(app("db", "eu2"))
    graph.upsert(app("web", "eu1", dep(name="db-eu2", clusters={"selector": {"matchLabels": {"ring": "0"}}})))
    assert targets(graph, "shop/web-eu1") == [()]
    assert graph.upsert_cluster(ClusterView("eu2", labels={"ring": "0"})) == {"shop/web-eu1"}
    assert targets(graph, "shop/web-eu1") == [("shop/db-eu2",)]
    assert graph.remove_cluster("eu2") == {"shop/web-eu1"}
    assert targets(graph, "shop/web-eu1") == [()]


def test_a_report_without_news_for_others_concerns_only_itself() -> None:
    graph = AppGraph()
    db = app("db", "eu1", target="t", released="t", release=1)
    graph.upsert(db)
    graph.upsert(app("web", "eu1", on("db"), target="t", released="t", release=1))
    seen = Observed(release=1, digest="t", sync=SyncState.SYNCED, health=HealthState.PROGRESSING)
    assert graph.upsert(replace(db, observed=seen)) == {"shop/db-eu1", "shop/web-eu1"}
    again = replace(seen, observed_at="later", health_message="2 of 3", seq=9)
    assert graph.upsert(replace(db, observed=again)) == {"shop/db-eu1"}


def test_those_that_wait_hear_of_the_end_of_their_chain() -> None:
    graph = AppGraph()
    for name, before in (("a", None), ("b", "a"), ("c", "b"), ("d", "c")):
        graph.upsert(app(name, "eu1", *([on(before)] if before else []), target="t"))
    graph.upsert(app("c", "eu1", on("b"), target="t", released="t"))
    found = graph.upsert(app("a", "eu1", target="t", released="t"))
    assert found == {"shop/a-eu1", "shop/b-eu1", "shop/c-eu1"}


def test_a_deletion_that_is_carried_out_concerns_what_goes_after_it() -> None:
    graph = AppGraph()
    graph.upsert(app("db", "eu1", deleting=True))
    web = app("web", "eu2", on("db", "All"), deleting=True)
    graph.upsert(web)
    seen = Observed(release=0, digest="", sync=SyncState.DELETING, health=HealthState.MISSING, deleted=True)
    assert graph.upsert(replace(web, observed=seen)) == {"shop/web-eu2", "shop/db-eu1"}
    assert graph.remove("shop/web-eu2") == {"shop/web-eu2", "shop/db-eu1"}


def test_f48_a_cycle_that_comes_in_by_an_edit_is_found_with_its_whole_path() -> None:
    graph = AppGraph()
    graph.upsert(app("a", "eu1", on("b")))
    graph.upsert(app("b", "eu1", on("c")))
    graph.upsert(app("c", "eu1"))
    graph.upsert(app("d", "eu1", on("a")))
    assert graph.cycles() == ()
    changed = graph.upsert(app("c", "eu1", on("a")))
    assert changed >= {"shop/a-eu1", "shop/b-eu1", "shop/c-eu1"}
    assert graph.cycle_text("shop/a-eu1") == "a@eu1 -> b@eu1 -> c@eu1 -> a@eu1"
    assert graph.cycle_text("shop/c-eu1") == "c@eu1 -> a@eu1 -> b@eu1 -> c@eu1"
    assert graph.cycle_of("shop/d-eu1") == ()
    assert graph.order() == [["shop/a-eu1", "shop/b-eu1", "shop/c-eu1"], ["shop/d-eu1"]]
    assert graph.upsert(app("c", "eu1")) >= {"shop/a-eu1", "shop/b-eu1", "shop/c-eu1"}
    assert graph.cycles() == ()
    assert graph.order() == [["shop/c-eu1"], ["shop/b-eu1"], ["shop/a-eu1"], ["shop/d-eu1"]]


def test_an_edge_to_itself_is_a_cycle() -> None:
    graph = AppGraph()
    graph.upsert(app("a", "eu1", dep(name="a-eu1")))
    assert graph.cycle_text("shop/a-eu1") == "a@eu1 -> a@eu1"
    graph.upsert(app("a", "eu1"))
    assert graph.cycle_of("shop/a-eu1") == ()


def test_a_selector_that_does_not_read_means_nothing() -> None:
    graph = AppGraph()
    graph.upsert(app("a", "eu1"))
    graph.upsert(app("b", "eu1", dep(selector={"matchLabels": {"not a key": "x"}})))
    (edge,) = graph.edges_of("shop/b-eu1")
    assert edge.targets == ()
    assert "not a key" in edge.problem


def test_closure_parts_and_indexes() -> None:
    graph = AppGraph()
    graph.upsert(app("a", "eu1", part_of="sys/root", owner="shop/a"))
    graph.upsert(app("b", "eu1", on("a"), part_of="sys/root"))
    graph.upsert(app("c", "eu1", on("b")))
    assert graph.links.reverse_closure(["shop/b-eu1", "gone/x"]) == {"shop/b-eu1", "shop/c-eu1"}
    assert graph.parts_of("sys/root") == {"shop/a-eu1", "shop/b-eu1"}
    assert graph.of_set("shop/a") == {"shop/a-eu1"}
    assert graph.on_cluster("eu1") == {"shop/a-eu1", "shop/b-eu1", "shop/c-eu1"}
    graph.remove("shop/a-eu1")
    assert graph.parts_of("sys/root") == {"shop/b-eu1"}
    assert graph.of_set("shop/a") == frozenset()
    assert targets(graph, "shop/b-eu1") == [()]
    assert graph.remove("shop/a-eu1") == set()


def test_titles() -> None:
    assert title(node("shop/web-eu1")) == "web@eu1"
    assert title(node("shop/web", cluster="eu1")) == "web@eu1"


_APPS = ("a", "b", "c")
_CLUSTERS = ("x", "y")
_edges = st.one_of(
    st.builds(
        lambda label, where: dep(selector={"matchLabels": {"app": label}}, clusters=where),
        st.sampled_from(_APPS),
        st.sampled_from(
            [
                {"scope": "Same"},
                {"scope": "All"},
                {"names": ["x"]},
                {"selector": {"matchLabels": {"ring": "0"}}},
            ]
        ),
    ),
    st.builds(lambda name: dep(name=f"{name}-x", clusters={"scope": "Any"}), st.sampled_from(_APPS)),
    st.builds(lambda name: dep(applicationSet=name), st.sampled_from(_APPS)),
    st.just(dep(selector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]})),
)
_nodes = st.builds(
    lambda name, cluster, label, edges, owner, deleting: node(
        f"n/{name}-{cluster}",
        *edges,
        labels={"app": label},
        owner=f"n/{owner}" if owner else None,
        deleting=deleting,
    ),
    st.sampled_from(_APPS),
    st.sampled_from(_CLUSTERS),
    st.sampled_from(_APPS),
    st.lists(_edges, max_size=2),
    st.sampled_from((None, *_APPS)),
    st.booleans(),
)
_changes = st.lists(
    st.one_of(
        _nodes,
        st.builds(lambda name, c: f"n/{name}-{c}", st.sampled_from(_APPS), st.sampled_from(_CLUSTERS)),
        st.builds(
            lambda name, ring: ClusterView(name, labels={"ring": ring}),
            st.sampled_from(_CLUSTERS),
            st.sampled_from("01"),
        ),
    ),
    max_size=25,
)


def _means(edge: Dependency, one: AppNode, other: AppNode, rings: dict[str, str]) -> bool:  # noqa: PLR0911
    """What an edge means, said naively."""
    where = edge.clusters
    if where.scope is Scope.SAME and one.cluster != other.cluster:
        return False
    if where.names and other.cluster not in where.names:
        return False
    if where.selector is not None and rings.get(other.cluster) != "0":
        return False
    if edge.name:
        return other.name == edge.name
    if edge.application_set:
        return other.owner == f"n/{edge.application_set}"
    assert edge.selector is not None
    if edge.selector.match_labels:
        return other.labels["app"] == edge.selector.match_labels["app"]
    return other.labels["app"] != "a"


@effort(150)
@given(_changes)
def test_however_it_came_about_the_graph_is_what_its_nodes_say(changes: list[Any]) -> None:
    graph = AppGraph()
    nodes: dict[str, AppNode] = {}
    rings: dict[str, str] = {}
    for change in changes:
        before = {key: (graph.edges_of(key), graph.cycle_of(key)) for key in nodes}
        if isinstance(change, str):
            nodes.pop(change, None)
            changed = graph.remove(change)
        elif isinstance(change, ClusterView):
            rings[change.name] = change.labels["ring"]
            changed = graph.upsert_cluster(change)
        else:
            nodes[change.key] = change
            changed = graph.upsert(change)
        expected = {
            key: [
                tuple(sorted(other.key for other in nodes.values() if _means(edge, one, other, rings)))
                for edge in one.depends_on
            ]
            for key, one in nodes.items()
        }
        assert {key: targets(graph, key) for key in nodes} == expected
        whole: nx.DiGraph[Any] = nx.DiGraph()
        whole.add_nodes_from(nodes)
        whole.add_edges_from((t, key) for key, edges in expected.items() for edge in edges for t in edge)
        parts: Any = whole
        cycles = {
            frozenset(part)
            for part in nx.strongly_connected_components(parts)
            if len(part) > 1 or any(whole.has_edge(key, key) for key in part)
        }
        assert set(graph.cycles()) == cycles
        for key in nodes:
            path = graph.cycle_of(key)
            assert bool(path) == any(key in part for part in cycles)
            assert all(whole.has_edge(b, a) for a, b in itertools.pairwise(path))
            if before.get(key) not in (None, (graph.edges_of(key), path)):
                assert key in changed or before[key][1] != path


def test_small_events_in_a_large_graph_cost_little() -> None:
    """A bound with a wide margin: what must not happen is a cost that grows with the fleet."""
    graph = AppGraph()
    names = ["db", "backend", "frontend", "jobs", "docs"]
    waits = {
        "backend": [on("db")],
        "frontend": [on("backend"), dep(name="platform-hub", clusters={"scope": "Any"})],
    }
    graph.upsert(app("platform", "hub"))
    for number in range(2000):
        for name in names:
            graph.upsert(app(name, f"c{number}", *waits.get(name, []), owner=f"shop/{name}", target="t"))
    assert len(graph) == 10_001
    assert len(graph.order()) == 3
    spent = []
    for number in range(200):
        one = app(
            "backend", f"c{number}", on("db"), owner="shop/backend", target="t", released="t", release=1
        )
        started = time.perf_counter()
        changed = graph.upsert(one)
        spent.append(time.perf_counter() - started)
        assert len(changed) == 2
        started = time.perf_counter()
        graph.upsert(app("extra", f"c{number}", on("backend")))
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[len(spent) // 2] < 0.001
