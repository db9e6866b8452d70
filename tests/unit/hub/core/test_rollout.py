from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.contract.health import HealthState, SyncState
from agent.contract.names import ANNOTATION_PAUSED
from hub.api.application import SyncMode
from hub.api.dependency import At, Dependency, OnStale, Ready, Scope
from hub.api.project import ProjectSpec
from hub.core.graph import AppGraph
from hub.core.model import AppNode, Blocker, ClusterView, Fleet, Observed
from hub.core.rollout import Release, after_of, blockers, decide, why_root
from tests.effort import effort

_TRUSTED = ProjectSpec(trusted=True)


def dep(**fields: Any) -> Dependency:
    return Dependency.model_validate(fields)


def on(app: str, **fields: Any) -> Dependency:
    return dep(**{"selector": {"matchLabels": {"app": app}}, **fields})


def app(name: str, cluster: str, *depends_on: Dependency, **fields: Any) -> AppNode:
    fields.setdefault("target", "new")
    key = fields.pop("key", f"shop/{name}-{cluster}")
    return AppNode(key=key, cluster=cluster, labels={"app": name}, depends_on=depends_on, **fields)


def seen(node: AppNode, health: HealthState = HealthState.HEALTHY, **fields: Any) -> AppNode:
    """Released to its target and reported there."""
    released = replace(node, released=node.target, release=node.release + 1)
    fields.setdefault("sync", SyncState.SYNCED)
    return replace(
        released,
        observed=Observed(release=released.release, digest=node.target, health=health, **fields),
    )


def fleet(*clusters: ClusterView, **projects: ProjectSpec) -> Fleet:
    named = clusters or (ClusterView("eu1"), ClusterView("eu2"))
    return Fleet(clusters={each.name: each for each in named}, projects={"shop": _TRUSTED, **projects})


def graph_of(*nodes: AppNode) -> AppGraph:
    graph = AppGraph()
    for node in nodes:
        graph.upsert(node)
    return graph


def held(graph: AppGraph, key: str, where: Fleet | None = None) -> list[tuple[str, str]]:
    where = where or fleet()
    found = [(each.edge, each.message) for each in blockers(key, graph, where)]
    node = graph.get(key)
    assert node is not None
    if node.target and node.target != node.released and not node.deleting:
        assert bool(decide([key], graph, where)) == (not found)
    return found


def test_f48_a_dependency_that_is_deleted_holds_what_comes_and_nothing_that_runs() -> None:
    db, web = seen(app("db", "eu1")), seen(app("web", "eu1", on("db")))
    graph = graph_of(db, web)
    for gone in (False, True):
        if gone:
            assert web.key in graph.remove(db.key)
        else:
            assert web.key in graph.upsert(replace(db, deleting=True))
        graph.upsert(web)
        assert held(graph, web.key) == []
        graph.upsert(replace(web, target="newer"))
        assert held(graph, web.key) == [("NoMatch", "nothing matches applications app=db in shop")]
    graph.upsert(db)
    assert held(graph, web.key) == []


def test_a_free_node_is_released_once() -> None:
    graph = graph_of(app("db", "eu1", release=4))
    assert decide(["shop/db-eu1", "shop/gone"], graph, fleet()) == (Release("shop/db-eu1", "eu1", "new", 5),)
    graph.upsert(app("db", "eu1", released="new", release=5))
    assert decide(["shop/db-eu1"], graph, fleet()) == ()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (app("db", "eu1"), "db@eu1 is not released to its target yet"),
        (app("db", "eu1", target=""), "db@eu1 has no target yet"),
        (replace(app("db", "eu1"), released="new", release=1), "db@eu1 is Syncing"),
        (seen(app("db", "eu1"), HealthState.PROGRESSING), "db@eu1 is Progressing"),
        (seen(app("db", "eu1"), HealthState.SUSPENDED), "db@eu1 is Suspended"),
        (
            seen(app("db", "eu1"), HealthState.DEGRADED, health_message="no image"),
            "db@eu1 is Degraded: no image",
        ),
        (seen(app("db", "eu1"), sync=SyncState.OUT_OF_SYNC, message="drift"), "db@eu1 is OutOfSync: drift"),
        (replace(seen(app("db", "eu1")), target="newer"), "db@eu1 is not released to its target yet"),
        (replace(seen(app("db", "eu1")), target_problem="Render: bad"), "db@eu1: Render: bad"),
    ],
)
def test_i6_an_edge_waits_for_healthy_at_the_target(state: AppNode, words: str) -> None:
    graph = graph_of(state, app("web", "eu1", on("db")))
    assert held(graph, "shop/web-eu1") == [("Dependency", words)]


def test_i6_an_update_keeps_the_order_as_well() -> None:
    old = seen(app("db", "eu1", target="old"))
    graph = graph_of(old, app("web", "eu1", on("db"), released="old", release=1))
    assert held(graph, "shop/web-eu1") == []
    graph.upsert(replace(old, target="new"))
    assert held(graph, "shop/web-eu1") == [("Dependency", "db@eu1 is not released to its target yet")]
    graph.upsert(seen(replace(old, target="new")))
    assert held(graph, "shop/web-eu1") == []


@pytest.mark.parametrize(
    ("fields", "state", "opens"),
    [
        ({"ready": "Synced"}, seen(app("db", "eu1"), HealthState.DEGRADED), True),
        ({"ready": "Synced"}, replace(app("db", "eu1"), released="new", release=1), False),
        ({"ready": "Released"}, replace(app("db", "eu1"), released="new", release=1), True),
        ({"ready": "Released"}, app("db", "eu1"), False),
        ({"at": "Any"}, replace(seen(app("db", "eu1")), target="newer"), True),
        ({"at": "Any"}, replace(seen(app("db", "eu1")), target="newer", target_problem="Render: x"), True),
        ({"at": "Any"}, replace(seen(app("db", "eu1"), HealthState.DEGRADED), target="newer"), False),
        ({"at": "Any"}, replace(seen(app("db", "eu1")), released="newer", release=2), False),
        ({"at": "Any"}, app("db", "eu1"), False),
    ],
)
def test_what_an_edge_may_ask_for(fields: dict[str, str], state: AppNode, opens: bool) -> None:  # noqa: FBT001
    graph = graph_of(state, app("web", "eu1", on("db", **fields)))
    assert (held(graph, "shop/web-eu1") == []) is opens


def test_scopes() -> None:
    one, other = seen(app("db", "eu1")), app("db", "eu2")
    for scope, expected in ((Scope.SAME, []), (Scope.ANY, []), (Scope.ALL, ["Dependency"])):
        graph = graph_of(one, other, app("web", "eu1", on("db", clusters={"scope": scope})))
        assert [edge for edge, _ in held(graph, "shop/web-eu1")] == expected
    graph = graph_of(app("db", "eu1"), other, app("web", "eu1", on("db", clusters={"scope": "Any"})))
    assert held(graph, "shop/web-eu1") == [
        ("Dependency", "db@eu1 is not released to its target yet (and 1 more)")
    ]


def test_nothing_matches() -> None:
    graph = graph_of(
        app("web", "eu1", on("db"), dep(name="cache-eu1"), dep(applicationSet="x", optional=True))
    )
    assert held(graph, "shop/web-eu1") == [
        ("NoMatch", "nothing matches applications app=db in shop"),
        ("NoMatch", "nothing matches shop/cache-eu1"),
    ]
    graph.upsert(replace(seen(app("db", "eu1")), deleting=True))
    assert ("NoMatch", "nothing matches applications app=db in shop") in held(graph, "shop/web-eu1")


def test_every_named_cluster_must_have_a_match() -> None:
    graph = graph_of(seen(app("db", "eu1")), app("web", "eu1", on("db", clusters={"names": ["eu1", "eu2"]})))
    assert held(graph, "shop/web-eu1") == [("NoMatch", "nothing matches applications app=db in shop on eu2")]
    graph.upsert(seen(app("db", "eu2")))
    assert held(graph, "shop/web-eu1") == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (OnStale.WAIT, [("Stale", "db@eu2 is on eu2, which is Stale")]),
        (OnStale.IGNORE, []),
        (OnStale.FAIL, [("Failed", "db@eu2 is on eu2, which is Stale: the edge fails on that")]),
    ],
)
def test_a_stale_dependency(policy: OnStale, expected: list[tuple[str, str]]) -> None:
    edge = on("db", clusters={"names": ["eu2"]}, onStale=policy)
    graph = graph_of(seen(app("db", "eu2")), app("web", "eu1", edge))
    where = fleet(ClusterView("eu1"), ClusterView("eu2", stale=True))
    assert held(graph, "shop/web-eu1", where) == expected


@pytest.mark.parametrize(
    ("cluster", "edge", "word"),
    [
        (ClusterView("eu1", joined=False), "Join", "not joined"),
        (ClusterView("eu1", accepted=False), "Join", "not accepted"),
        (ClusterView("eu1", removing=True), "Join", "removed"),
        (ClusterView("eu2"), "Join", "does not exist"),
        (ClusterView("eu1", stale=True), "Stale", "Stale"),
    ],
)
def test_its_own_cluster(cluster: ClusterView, edge: str, word: str) -> None:
    ((found, message),) = held(graph_of(app("web", "eu1")), "shop/web-eu1", fleet(cluster))
    assert (found, word in message) == (edge, True)


def test_other_conditions_of_its_own() -> None:
    graph = graph_of(app("a", "eu1", mode=SyncMode.MANUAL), app("b", "eu1", target=""))
    assert [edge for edge, _ in held(graph, "shop/a-eu1")] == ["Manual"]
    assert held(graph, "shop/b-eu1") == [("Render", "not rendered yet")]
    assert [edge for edge, _ in held(graph, "shop/a-eu1", Fleet(clusters=fleet().clusters))] == [
        "Project",
        "Manual",
    ]
    graph.upsert(app("a", "eu1", target_problem="Project: kind Role is not allowed", released="old"))
    assert held(graph, "shop/a-eu1") == [("Project", "kind Role is not allowed")]
    graph.upsert(app("a", "eu1", deleting=True))
    assert held(graph, "shop/a-eu1") == []
    assert decide(["shop/a-eu1"], graph, fleet()) == ()


def test_s11_an_edge_into_another_project_needs_its_leave() -> None:
    db = seen(app("db", "eu1", key="data/db"))
    graph = graph_of(db, app("web", "eu1", dep(name="db", namespace="data")))
    assert held(graph, "shop/web-eu1", fleet(data=_TRUSTED)) == [
        ("Project", "the Project of data does not allow edges from shop")
    ]
    assert held(graph, "shop/web-eu1")[0][0] == "Project"
    allowing = ProjectSpec(trusted=True, allow_edges_from=["shop"])
    assert held(graph, "shop/web-eu1", fleet(data=allowing)) == []


def test_every_member_of_a_cycle_names_the_whole_path() -> None:
    graph = graph_of(app("a", "eu1", on("b")), app("b", "eu1", on("a")), app("c", "eu1", on("a")))
    assert held(graph, "shop/a-eu1") == [("Cycle", "dependency cycle: a@eu1 -> b@eu1 -> a@eu1")]
    assert held(graph, "shop/b-eu1") == [("Cycle", "dependency cycle: b@eu1 -> a@eu1 -> b@eu1")]
    assert why_root("shop/c-eu1", graph, fleet()) == "a@eu1: dependency cycle: a@eu1 -> b@eu1 -> a@eu1"


def test_the_root_of_a_wait_is_at_the_end_of_its_chain() -> None:
    backend = seen(
        app("backend", "eu1"), HealthState.DEGRADED, health_message="Deployment backend: ImagePullBackOff"
    )
    root = "backend@eu1 is Degraded: Deployment backend: ImagePullBackOff"
    graph = graph_of(
        backend,
        app("api", "eu1", on("backend")),
        app("web", "eu1", on("api")),
        app("docs", "eu1", on("none")),
    )
    assert why_root("shop/web-eu1", graph, fleet()) == root
    assert blockers("shop/web-eu1", graph, fleet()) == (
        Blocker("Dependency", "shop/api-eu1", "api@eu1 is not released to its target yet", root),
    )
    assert (
        why_root("shop/docs-eu1", graph, fleet()) == "docs@eu1: nothing matches applications app=none in shop"
    )
    assert why_root("shop/backend-eu1", graph, fleet()) == root
    assert why_root("shop/x", graph, fleet()) == "shop/x does not exist"


def test_after_names_what_a_rebuilt_cluster_starts_first() -> None:
    web = app(
        "web",
        "eu1",
        on("db"),
        on("cache", ready="Synced"),
        on("queue", clusters={"scope": "All"}),
        on("any", clusters={"scope": "Any"}),
    )
    names = ("db", "cache", "queue", "any")
    graph = graph_of(web, *(app(name, cluster) for name in names for cluster in ("eu1", "eu2")))
    assert after_of("shop/web-eu1", graph) == ("shop/db-eu1", "shop/queue-eu1")
    graph.upsert(app("db", "eu1", deleting=True))
    assert after_of("shop/web-eu1", graph) == ("shop/queue-eu1",)


def test_a_further_gate_holds_too() -> None:
    graph = graph_of(app("web", "eu1"))
    wave = (lambda node: Blocker("Wave", "fleet", "the wave is closed") if node.cluster == "eu1" else None,)
    assert decide(["shop/web-eu1"], graph, fleet(), gates=wave) == ()
    assert [each.edge for each in blockers("shop/web-eu1", graph, fleet(), gates=wave)] == ["Wave"]


def test_a_decision_costs_little_in_a_large_fleet() -> None:
    clusters = [ClusterView(f"c{number}") for number in range(2000)]
    graph = AppGraph()
    for each in clusters:
        for name, edges in (("db", []), ("api", [on("db")]), ("web", [on("api")]), ("x", []), ("y", [])):
            graph.upsert(seen(app(name, each.name, *edges)))
    where, spent = fleet(*clusters), []
    for each in clusters[:200]:
        changed = graph.upsert(replace(seen(app("db", each.name)), target="newer"))
        started = time.perf_counter()
        assert len(decide(changed, graph, where)) == 1
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[100] < 0.001


_NAMES = ("a", "b", "c")
_CLUSTERS = ("eu1", "eu2")
_KEYS = st.builds(
    lambda name, cluster: f"shop/{name}-{cluster}", st.sampled_from(_NAMES), st.sampled_from(_CLUSTERS)
)
_EDGES = st.one_of(
    st.builds(on, st.sampled_from(_NAMES)),
    st.builds(
        lambda name, fields: on(name, **fields),
        st.sampled_from(_NAMES),
        st.fixed_dictionaries(
            {},
            optional={
                "clusters": st.sampled_from([{"scope": scope} for scope in Scope]),
                "ready": st.sampled_from(Ready),
                "at": st.sampled_from(At),
                "onStale": st.sampled_from(OnStale),
                "optional": st.booleans(),
            },
        ),
    ),
)


class Releases(RuleBasedStateMachine):
    """Random apps, targets, reports and liveness. Only what the graph calls affected is ever decided."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = AppGraph()
        self.nodes: dict[str, AppNode] = {}
        self.stale: set[str] = set()
        self.digest = 0

    @property
    def where(self) -> Fleet:
        return fleet(*(ClusterView(name, stale=name in self.stale) for name in _CLUSTERS))

    def put(self, node: AppNode) -> None:
        self.nodes[node.key] = node
        self.settle(self.graph.upsert(node))

    def settle(self, keys: set[str]) -> None:
        while keys:
            releases = decide(keys, self.graph, self.where)
            keys = set()
            for each in releases:
                node = self.nodes[each.key]
                assert self.may(node), f"{each.key} was released before its dependencies"
                self.nodes[each.key] = replace(node, released=each.digest, release=each.release)
                keys |= self.graph.upsert(self.nodes[each.key])

    def may(self, node: AppNode) -> bool:
        """The release rule, said naively over all nodes."""
        return node.cluster not in self.stale and all(self.opens(node, edge) for edge in node.depends_on)

    def opens(self, node: AppNode, edge: Dependency) -> bool:
        assert edge.selector is not None
        scope = edge.clusters.scope
        meant = [
            each
            for each in self.nodes.values()
            if each.labels["app"] == edge.selector.match_labels["app"]
            and not each.deleting
            and (scope is not Scope.SAME or each.cluster == node.cluster)
        ]
        if not meant:
            return edge.optional
        passes = [self.passes(each, edge) for each in meant]
        return any(passes) if scope is Scope.ANY else all(passes)

    def passes(self, other: AppNode, edge: Dependency) -> bool:
        if edge.ready != Ready.RELEASED and other.cluster in self.stale:
            return edge.on_stale is OnStale.IGNORE
        current = other.target if edge.at is At.TARGET else other.released
        if not current or other.released != current or (edge.at is At.TARGET and other.target_problem):
            return False
        if edge.ready == Ready.RELEASED:
            return True
        told = other.observed
        if told is None or told.release != other.release or told.digest != current:
            return False
        return told.sync is SyncState.SYNCED and (
            edge.ready == Ready.SYNCED or told.health is HealthState.HEALTHY
        )

    @initialize()
    def a_chain(self) -> None:
        for cluster in _CLUSTERS:
            for name, before in (("a", None), ("b", "a"), ("c", "b")):
                self.declare(f"shop/{name}-{cluster}", [on(before)] if before else [])

    @rule(key=_KEYS, edges=st.lists(_EDGES, max_size=2))
    def declare(self, key: str, edges: list[Dependency]) -> None:
        name, _, cluster = key.removeprefix("shop/").partition("-")
        known = self.nodes.get(key) or app(name, cluster, target="")
        self.put(replace(known, depends_on=tuple(edges)))

    @rule(key=_KEYS, problem=st.sampled_from(("", "", "", "Render: bad")))
    def plan(self, key: str, problem: str) -> None:
        if key in self.nodes:
            self.digest += 1
            node = self.nodes[key]
            target = node.target if problem else f"d{self.digest}"
            self.put(replace(node, target=target, target_problem=problem))

    @rule(keys=st.lists(_KEYS, min_size=1))
    def plan_all(self, keys: list[str]) -> None:
        for key in keys:
            self.plan(key, "")

    @rule(keys=st.lists(_KEYS, min_size=1))
    def report_all_well(self, keys: list[str]) -> None:
        for key in keys:
            self.report(key, HealthState.HEALTHY, SyncState.SYNCED)

    @rule(
        key=_KEYS,
        health=st.sampled_from(HealthState),
        sync=st.sampled_from((SyncState.SYNCED, SyncState.SYNCING)),
    )
    def report(self, key: str, health: HealthState, sync: SyncState) -> None:
        node = self.nodes.get(key)
        if node is not None and node.release:
            told = Observed(release=node.release, digest=node.released, sync=sync, health=health)
            self.put(replace(node, observed=told))

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        if key in self.nodes:
            self.put(replace(self.nodes[key], deleting=True))

    @rule(key=_KEYS)
    def gone(self, key: str) -> None:
        self.nodes.pop(key, None)
        self.settle(self.graph.remove(key))

    @rule(cluster=st.sampled_from(_CLUSTERS))
    def flip(self, cluster: str) -> None:
        self.stale ^= {cluster}
        self.settle(self.graph.touching_cluster(cluster))

    @invariant()
    def nothing_that_may_go_was_forgotten(self) -> None:
        assert decide(list(self.nodes), self.graph, self.where) == ()
        for node in self.nodes.values():
            if node.target and node.target != node.released and not node.deleting:
                assert blockers(node.key, self.graph, self.where)


TestI6NoEdgeIsEverViolated = Releases.TestCase
TestI6NoEdgeIsEverViolated.settings = effort(100, steps=40)


def test_a45_a_paused_app_keeps_its_release_so_that_its_agent_has_nothing_to_prune() -> None:
    """An agent prunes by the release it has: what a commit dropped goes only with the release that drops it."""
    running = seen(app("web", "eu1"))
    newer = replace(running, target="without an object", paused=True)
    graph = graph_of(newer)
    assert not decide([newer.key], graph, fleet())
    assert held(graph, newer.key) == [("Paused", "it is paused")]
    own = graph_of(replace(newer, paused=False))
    paused = ClusterView("eu1", annotations={ANNOTATION_PAUSED: "true"})
    assert not decide([newer.key], own, fleet(paused)), "a paused cluster holds all of its apps"
    assert [each.digest for each in decide([newer.key], own, fleet())] == ["without an object"]
