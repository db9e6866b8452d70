"""A release by force passes what a person may pass, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.contract.health import HealthState
from hub.api.application import SyncMode
from hub.api.dependency import Dependency
from hub.api.rollout import Rollout
from hub.core.model import AppNode, ClusterView, Fleet
from hub.core.rollout import blockers, decide, passed
from tests.unit.hub.core.rollout_sim import Sim


@pytest.fixture
def sim() -> Sim:
    """`web` waits for `db`, which is Degraded, and for its wave."""
    waves = {"waves": [{"name": "first", "selector": {"matchLabels": {"ring": "0"}}}, {"name": "second"}]}
    sim = Sim(Rollout.model_validate(waves))
    sim.cluster("eu1", labels={"ring": "0"})
    sim.cluster("us1", labels={"ring": "1"})
    sim.join("db", "eu1", "one")
    needs = Dependency.model_validate({"name": "db", "clusters": {"scope": "Any"}})
    sim.join("web", "us1", "one", depends_on=(needs,))
    sim.step()
    sim.report("db", HealthState.DEGRADED)
    sim.step()
    return sim


def forced(sim: Sim, **changes: object) -> AppNode:
    node = replace(sim.node("web"), forced="admin", **changes)  # type: ignore[arg-type]
    sim.graph.upsert(node)
    return node


def may_go(sim: Sim, fleet: Fleet | None = None) -> bool:
    return bool(decide(["shop/web"], sim.graph, fleet or sim.fleet, gates=(sim.gate(),)))


def test_edges_waves_pauses_and_modes_are_passed_and_named(sim: Sim) -> None:
    assert not may_go(sim)
    node = forced(sim, paused=True, mode=SyncMode.MANUAL)
    assert may_go(sim)
    past = passed(node, sim.graph, sim.fleet, gates=(sim.gate(),))
    assert [each.edge for each in past] == ["Paused", "Manual", "Wave", "Dependency"]
    silent = replace(sim.fleet, clusters={**sim.fleet.clusters, "us1": ClusterView("us1", stale=True)})
    assert may_go(sim, silent)


@pytest.mark.parametrize(
    ("cluster", "edge"),
    [
        (ClusterView("us1", accepted=False), "Join"),
        (ClusterView("us1", joined=False), "Join"),
        (ClusterView("us1", removing=True), "Join"),
        (ClusterView("us1", behind=True), "Behind"),
    ],
)
def test_a_cluster_that_cannot_take_it_is_not_passed(sim: Sim, cluster: ClusterView, edge: str) -> None:
    forced(sim)
    fleet = replace(sim.fleet, clusters={**sim.fleet.clusters, "us1": cluster})
    assert not may_go(sim, fleet)
    assert [each.edge for each in blockers("shop/web", sim.graph, fleet)] == [edge]


def test_what_has_no_target_no_project_or_is_in_a_cycle_stays(sim: Sim) -> None:
    forced(sim)
    assert not may_go(sim, replace(sim.fleet, projects={}))
    forced(sim, target="", target_problem="Render: bad")
    assert not may_go(sim)
    itself = Dependency.model_validate({"name": "web"})
    forced(sim, target="one", target_problem="", depends_on=(itself,))
    assert not may_go(sim)
