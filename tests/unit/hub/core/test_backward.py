"""Releases go back in the reverse order of the graph, whoever sends them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.contract.health import HealthState, SyncState
from hub.api.dependency import Dependency
from hub.api.rollout import Rollout
from hub.core.gates import WaveGate
from hub.core.pins import BY_PERSON, BY_WAVE
from hub.core.rollout import after_of
from tests.unit.hub.core.rollout_sim import OWNER, Sim

CHAIN = {"db": (), "api": ("db",), "web": ("api", "db")}


def edges(names: tuple[str, ...]) -> tuple[Dependency, ...]:
    return tuple(Dependency.model_validate({"name": name}) for name in names)


def well(sim: Sim, *children: str) -> None:
    for child in children:
        sim.report(child, HealthState.HEALTHY)
        sim.step()


@pytest.fixture
def sim() -> Sim:
    """The chain in one wave, at its second release, all of it well."""
    sim = Sim(Rollout.model_validate({"waves": [{"name": "all"}], "onFailure": "Rollback"}))
    sim.cluster("eu1")
    for name, needs in CHAIN.items():
        sim.join(name, "eu1", "one", depends_on=edges(needs))
    for target in ("one", "two"):
        sim.commit(target)
        sim.step()
        well(sim, *CHAIN)
    assert sim.let_go == ["db", "api", "web"] * 2
    sim.let_go.clear()
    return sim


def test_i6_what_a_failed_wave_takes_back_goes_dependents_first(sim: Sim) -> None:
    sim.commit("three")
    sim.step()
    well(sim, "db", "api")
    sim.let_go.clear()
    sim.report("web", HealthState.DEGRADED)
    sim.step()
    assert sim.let_go == ["web"]
    assert sim.held("api").startswith("Dependency: web@eu1 is Syncing, and goes back first")
    assert sim.held("db").startswith("Dependency: api@eu1 is not released to its target yet")
    sim.report("web", HealthState.DEGRADED)  # still bad: what it needs is
    sim.step()
    assert sim.let_go == ["web", "api"], "it does not wait for what waits for it"
    sim.report("api", HealthState.PROGRESSING, SyncState.SYNCING)
    sim.step()
    assert sim.let_go == ["web", "api"]
    well(sim, "api", "db", "web")
    assert sim.let_go == ["web", "api", "db"]
    assert [sim.node(name).released for name in CHAIN] == ["two", "two", "two"]


def test_nobody_goes_back_before_what_depends_on_it_is_pinned(sim: Sim) -> None:
    node = replace(sim.node("db"), target="one", pinned=BY_WAVE)
    sim.gate()
    behind: dict[str, Any] = {"pinning": ["shop/web"], "dependents": sim.graph.dependents}
    held = WaveGate(OWNER, sim.judged, inverted={}, **behind)(node)
    assert held is not None
    assert held.message == "what depends on it goes back first, and is not pinned yet"
    other = WaveGate(OWNER, sim.judged, inverted={}, **(behind | {"pinning": ["shop/db"]}))
    assert other(node) is None


def test_a_persons_pins_go_back_in_that_order_and_past_the_waves(sim: Sim) -> None:
    for name in reversed(CHAIN):
        sim.graph.upsert(replace(sim.node(name), target="one", pinned=BY_PERSON))
    sim.step()
    assert sim.let_go == ["web"]
    sim.report("web", HealthState.HEALTHY, SyncState.FAILED)
    sim.step()
    assert sim.let_go == ["web", "api"], (
        "one that cannot be applied must not keep the others at a bad release"
    )
    well(sim, "api", "db")
    assert sim.let_go == ["web", "api", "db"]


def test_what_is_not_pinned_or_not_heard_holds_nobody_back(sim: Sim) -> None:
    sim.graph.upsert(replace(sim.node("db"), target="one", pinned=BY_PERSON))
    sim.step()
    assert sim.let_go == ["db"]
    sim.cluster("us1", stale=True)
    sim.graph.upsert(replace(sim.node("web"), target="one", pinned=BY_PERSON, cluster="us1"))
    sim.graph.upsert(replace(sim.node("api"), target="one", pinned=BY_PERSON))
    sim.step()
    assert sim.let_go == ["db", "api"]


@pytest.mark.parametrize("how", [{"pinned": BY_WAVE}, {"forced": "ann"}])
def test_its_agent_does_not_hold_it_either_until_it_has_answered(sim: Sim, how: dict[str, str]) -> None:
    assert after_of("shop/web", sim.graph) == ("shop/api", "shop/db")
    sim.graph.upsert(replace(sim.node("web"), target="one", **how))  # type: ignore[arg-type]
    assert after_of("shop/web", sim.graph) == ()
    sim.step()
    assert sim.let_go == ["web"]
    assert after_of("shop/web", sim.graph) == (), "an agent would hold it by what is bad"
    well(sim, "web")
    assert after_of("shop/web", sim.graph) == ("shop/api", "shop/db"), "a rebuilt cluster keeps the order"
