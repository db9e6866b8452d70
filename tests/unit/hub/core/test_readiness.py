"""Edges that ask by an expression, and edges that have to soak."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from agent.contract.health import HealthState, SyncState
from hub.api.dependency import Dependency
from hub.api.project import ProjectSpec
from hub.core.graph import AppGraph
from hub.core.model import AppNode, ClusterView, Fleet, Observed
from hub.core.outputs import Exported
from hub.core.readiness import ConditionInvalid, check_ready
from hub.core.rehearsal import rehearse
from hub.core.rollout import blockers
from hub.core.soaks import Soaks

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SET = {"applicationSet": "apps"}
FLEET = Fleet(
    clusters={"eu1": ClusterView("eu1"), "eu2": ClusterView("eu2")},
    projects={
        "shop": ProjectSpec(trusted=True),
        "data": ProjectSpec(trusted=True, allow_edges_from=["shop"]),
    },
)


def edge(**fields: Any) -> Dependency:
    return Dependency.model_validate({"name": "db"} | fields)


def db(health: HealthState = HealthState.HEALTHY, *, cluster: str = "eu1", **fields: Any) -> AppNode:
    """Released to its target and observed there."""
    release = fields.pop("release", 1)
    seen = Observed(release, "one", sync=SyncState.SYNCED, health=health)
    fields = {"target": "one", "released": "one", "observed": seen} | fields
    return AppNode(fields.pop("key", "shop/db"), cluster, release=release, **fields)


def web(*edges: Dependency, **fields: Any) -> AppNode:
    return AppNode("shop/web", "eu1", depends_on=edges, target="new", labels={"tier": "gold"}, **fields)


def graph_of(*nodes: AppNode) -> AppGraph:
    graph = AppGraph()
    for node in nodes:
        graph.upsert(node)
    return graph


def held(*nodes: AppNode) -> list[str]:
    found = blockers("shop/web", graph_of(*nodes), FLEET)
    return [f"{each.edge}: {each.message}" for each in found]


def output(name: str, value: Any, digest: str = "one") -> Exported:
    return Exported(name, text=json.dumps(value), digest=digest)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("dep.health == 'Healthy'", ""),
        ("dep.health in ['Healthy', 'Suspended'] && dep.cluster == self.cluster", ""),
        ("self.labels.tier == 'gold'", ""),
        ("dep.outputs.replicas >= 3", ""),
        ("dep.health == 'Suspended'", "Condition: of db@eu1 `dep.health == 'Suspended'` is not true"),
        (
            "dep.outputs.other == 1",
            "Condition: of db@eu1 `dep.outputs.other == 1` reads what is not there yet",
        ),
        ("dep.release", "Condition: of db@eu1 `dep.release` gives int, not a boolean"),
        (
            "dep.outputs.replicas + 'x' == ''",
            "Condition: of db@eu1 `dep.outputs.replicas + 'x' == ''` cannot be told",
        ),
        ("dep.health ==", "Invalid: the edge to db@eu1 does not read"),
    ],
)
def test_an_edge_may_ask_by_an_expression(source: str, words: str) -> None:
    node = db(outputs=(output("replicas", 3),), exports={"replicas": ()})
    found = held(node, web(edge(ready=source)))
    assert (not found) if not words else (len(found) == 1 and found[0].startswith(words)), found


def test_an_expression_is_asked_only_of_what_was_observed_at_the_target() -> None:
    always = web(edge(ready="dep.health != ''"))
    assert held(db(target="two"), always) == ["Dependency: db@eu1 is not released to its target yet"]
    assert held(db(observed=None), always) == ["Dependency: db@eu1 is Syncing"]
    assert held(db(target="two"), web(edge(ready="dep.health != ''", at="Any"))) == []


def test_outputs_of_an_older_release_are_not_there() -> None:
    node = db(outputs=(output("replicas", 3, digest="zero"),), exports={"replicas": ()})
    assert len(held(node, web(edge(ready="dep.outputs.replicas >= 3")))) == 1


def test_s11_an_expression_sees_no_output_that_another_project_does_not_export() -> None:
    ask = web(edge(namespace="data", ready="dep.outputs.secret == 'x'"))
    node = db(key="data/db", outputs=(output("secret", "x"),), exports={"secret": ()})
    assert "reads what is not there yet" in held(node, ask)[0]
    assert held(replace(node, exports={"secret": ("shop",)}), ask) == []


def test_a_change_of_what_an_expression_reads_is_seen() -> None:
    node = db(labels={"color": "blue"})
    graph = graph_of(node, web(edge(ready="dep.labels.color == 'green'")))
    assert "shop/web" in graph.upsert(replace(node, labels={"color": "green"}))
    assert blockers("shop/web", graph, FLEET) == ()


@pytest.mark.parametrize("bad", ["healthy", "Ready", "", "x" * 1100])
def test_what_is_neither_a_word_nor_an_expression_is_refused_by_the_schema(bad: str) -> None:
    with pytest.raises(ValidationError):
        edge(ready=bad)


@pytest.mark.parametrize(
    "bad", ["dep.health ==", "dep.items.map(x, x)", "dep.a.all(x, x.all(y, y.all(z, z == self)))"]
)
def test_what_does_not_read_or_is_unbounded_is_refused(bad: str) -> None:
    with pytest.raises(ConditionInvalid, match=r"dependsOn\[1\]\.ready: "):
        check_ready(["Healthy", bad])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("dep.helth == 'Healthy'", 'dep has no helth; did you mean "health"?'),
        ("self.health == 'Healthy'", "self has no health"),
        ("dep.output.url != ''", 'did you mean "outputs"?'),
    ],
)
def test_a_field_that_there_is_not_is_refused_with_the_nearest(source: str, said: str) -> None:
    with pytest.raises(ConditionInvalid, match=re.escape(said)):
        check_ready([source])


def test_texts_and_what_is_below_a_field_are_no_fields() -> None:
    check_ready(["dep.labels.dep == 'self.x' && dep.outputs['a.b'] == \"dep.nope\" && has(dep.labels.any)"])


class Kept:
    """One app with an edge that has to soak, judged as the hub does."""

    def __init__(self, *nodes: AppNode) -> None:
        self.graph, self.now = graph_of(*nodes), NOW
        self.soaks = Soaks(self.graph)

    def held(self, minutes: int = 0, *nodes: AppNode) -> str:
        """What holds it after so many minutes and these changes."""
        self.now += timedelta(minutes=minutes)
        for node in nodes:
            self.graph.upsert(node)
        node = self.graph.get("shop/web")
        assert node is not None
        self.soaks.look(node, FLEET, self.now)
        found = blockers(
            "shop/web", self.graph, FLEET, gates=(lambda each: self.soaks.blocker(each, self.now),)
        )
        return f"{found[0].edge}: {found[0].message}" if found else ""

    def restart(self) -> None:
        kept = self.soaks.to_json("shop/web") or []
        self.soaks = Soaks(self.graph)
        self.soaks.restore("shop/web", json.loads(json.dumps(kept)))


def test_an_edge_opens_once_it_has_soaked() -> None:
    one = Kept(db(), web(edge(soak="10m")))
    assert one.held() == "Soak: shop/db is ready, and soaks until 2030-01-01T00:10:00Z"
    assert one.held(9).startswith("Soak")
    assert one.held(1) == ""


def test_a_restart_goes_on_counting() -> None:
    one = Kept(db(), web(edge(soak="10m")))
    one.held()
    one.now += timedelta(minutes=9)
    one.restart()
    assert one.held(0).startswith("Soak")
    assert one.held(1) == ""


def test_a_break_begins_anew_and_so_does_another_release() -> None:
    one = Kept(db(), web(edge(soak="10m")))
    one.held()
    assert one.held(9, db(HealthState.DEGRADED)).startswith("Dependency")
    assert one.held(5, db()).startswith("Soak")
    assert one.held(5).startswith("Soak")
    assert one.held(0, db(release=2)).startswith("Soak"), "nobody saw that it was not ready between"
    assert one.held(9).startswith("Soak")
    assert one.held(1) == ""


def test_what_was_healthy_long_before_need_not_soak_again() -> None:
    long_ago = NOW - timedelta(days=1)
    assert Kept(db(healthy_since=long_ago), web(edge(soak="10m"))).held() == ""
    assert Kept(db(healthy_since=long_ago), web(edge(soak="10m", ready="Synced"))).held().startswith("Soak")


def test_of_several_alternatives_one_is_enough() -> None:
    own = {"applicationSet": "dbs", "name": None, "clusters": {"scope": "Any"}, "soak": "10m"}
    first, second = db(owner="shop/dbs"), db(key="shop/db2", owner="shop/dbs", cluster="eu2")
    one = Kept(first, second, web(edge(**own)))
    one.held()
    assert one.held(9, replace(first, deleting=True)).startswith("Soak")
    assert one.held(1) == ""


def test_a_soak_with_an_expression_counts_while_it_is_true() -> None:
    blue, green = db(labels={"color": "blue"}), db(labels={"color": "green"})
    one = Kept(blue, web(edge(soak="10m", ready="dep.labels.color == 'green'")))
    assert one.held().startswith("Condition")
    assert one.held(20, green).startswith("Soak")
    assert one.held(9, blue).startswith("Condition")
    assert one.held(1, green).startswith("Soak")
    assert one.held(10) == ""


def test_a_plan_shows_what_would_have_to_soak() -> None:
    before = AppNode("shop/db", "eu1", target="two", released="one", release=1)
    played = rehearse(graph_of(before, web(edge(soak="10m"))), rollouts={}, fleet=FLEET, now=NOW)
    assert [(step.apps, step.after) for step in played.steps] == [
        (("shop/db",), ()),
        (("shop/web",), ("soak of what shop/web waits for",)),
    ]
    unchanged = rehearse(
        graph_of(db(healthy_since=NOW - timedelta(days=1)), web(edge(soak="10m"))),
        rollouts={},
        fleet=FLEET,
        now=NOW,
    )
    assert [(step.apps, step.after) for step in unchanged.steps] == [(("shop/web",), ())]
