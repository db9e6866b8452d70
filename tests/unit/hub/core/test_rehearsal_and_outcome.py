"""The order that a plan shows is the order in which children then go, where all goes well and people answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState
from hub.api.dependency import Dependency
from hub.api.rollout import WaveState
from hub.core.pins import rolled_back
from hub.core.rehearsal import Rehearsal, rehearse
from hub.core.rollout import decide
from tests.effort import effort
from tests.unit.hub.core.rollout_sim import OWNER, Sim
from tests.unit.hub.core.test_rollout_machine import rollouts

if TYPE_CHECKING:
    from hub.api.rollout import Rollout

CLUSTERS = [f"k{number}" for number in range(5)]
APPS = ["db", "api", "web"]
EDGES = st.lists(
    st.tuples(
        st.sampled_from(APPS),
        st.sampled_from(["db", "api", "web", "none"]),
        st.sampled_from(
            [
                {"scope": "Same"},
                {"scope": "Any"},
                {"scope": "All"},
                {"names": ["k0"]},
                {"selector": {"matchLabels": {"ring": "1"}}},
            ]
        ),
        st.sampled_from([{}, {"optional": True}, {"ready": "Released"}, {"at": "Any"}]),
    ),
    max_size=4,
)
STATES = st.fixed_dictionaries(
    {
        "rings": st.lists(st.integers(0, 3), min_size=5, max_size=5),
        "edges": EDGES,
        "new": st.sets(st.tuples(st.sampled_from(APPS), st.sampled_from(CLUSTERS)), max_size=4),
        "changed": st.sets(st.tuples(st.sampled_from(APPS), st.sampled_from(CLUSTERS))),
        "bad": st.sets(st.tuples(st.sampled_from(APPS), st.sampled_from(CLUSTERS)), max_size=1),
        "stale": st.sets(st.sampled_from(CLUSTERS), max_size=1),
        "policy": st.sampled_from(["Wait", "Ignore", "Fail"]),
        "paused": st.sampled_from([False, False, False, True]),
    }
)


def world(rollout: Rollout, state: dict[str, Any]) -> Sim:
    """A fleet that ran well, in the moment in which a commit was planned."""
    sim = Sim(rollout, stale_policy=state["policy"])
    for cluster, ring in zip(CLUSTERS, state["rings"], strict=True):
        sim.cluster(cluster, labels={"ring": str(ring)})
    edges: dict[str, list[Dependency]] = {}
    for app, on, clusters, more in state["edges"]:
        spec = {"selector": {"matchLabels": {"app": on}}, "clusters": clusters, **more}
        edges.setdefault(app, []).append(Dependency.model_validate(spec))
    for app in APPS:
        for cluster in CLUSTERS:
            there = (app, cluster) not in state["new"]
            sim.join(
                f"{app}-{cluster}",
                cluster,
                "t0",
                labels={"app": app},
                depends_on=tuple(edges.get(app, ())),
                **({"released": "t0", "release": 1} if there else {}),
            )
            if there:
                sim.report(f"{app}-{cluster}", HealthState.HEALTHY)
    sim.commit("t1", [f"{app}-{cluster}" for app, cluster in sorted(state["changed"] - state["new"])])
    for app, cluster in state["bad"]:
        sim.refuse(f"{app}-{cluster}", "Render: bad")
    for cluster in state["stale"]:
        sim.cluster(cluster, stale=True)
    sim.paused = state["paused"]
    return sim


def decided(sim: Sim) -> set[str]:
    """What one decision lets go."""
    gate = sim.gate()
    keys = [node.key for node in sim.graph]
    found = decide(keys, sim.graph, sim.fleet, gates=(gate,), taken=gate.take)
    for each in found:
        node = sim.node(each.key.partition("/")[2])
        gone = replace(node, released=each.digest, release=each.release, released_at=sim.now)
        sim.graph.upsert(gone)
    return {each.key for each in found}


def played(sim: Sim) -> list[set[str]]:
    """Children in the order in which they go, each lot being well before the next."""
    found: list[set[str]] = []
    for _ in range(200):
        going = decided(sim)
        if going:
            found.append(going)
            for key in going:
                sim.report(key.partition("/")[2], HealthState.HEALTHY)
            continue
        asking = [wave for wave in sim.judged.waves if wave.status.state is WaveState.AWAITING_APPROVAL]
        soaking = [wave for wave in sim.judged.waves if wave.status.state is WaveState.SOAKING]
        if asking and not sim.paused:
            sim.approve(asking[0].status.name)
        elif soaking:
            sim.wait(timedelta(minutes=10))
        else:
            return found
    raise AssertionError("it never ends")


@given(rollouts(), STATES)
@effort(30)
def test_the_order_of_a_plan_is_the_order_in_which_children_go(
    rollout: Rollout, state: dict[str, Any]
) -> None:
    sim = world(rollout, state)
    told: Rehearsal = rehearse(
        world(rollout, state).graph,
        rollouts={OWNER: (rollout, state["policy"])},
        fleet=sim.fleet,
        now=sim.now,
        paused={OWNER} if state["paused"] else (),
    )
    assert [set(step.apps) for step in told.steps] == played(sim)
    left = {node.key for node in sim.graph if node.released != node.target or node.target_problem}
    assert told.held.keys() == left
    back = rolled_back(rollout, sim.judged, list(sim.graph))
    assert told.back.keys() == {node.key for node in back}, "what a wave takes back is told, too"
    assert all(told.held.values()), "what is held says why"
