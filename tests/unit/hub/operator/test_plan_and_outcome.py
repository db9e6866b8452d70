"""What a plan says beforehand is what the controller then does: the same children, deletions and what is Held."""

from __future__ import annotations

import asyncio
import copy
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.api.applicationset import ApplicationSetSpec
from hub.cli.sides import side_of_hub
from hub.cli.snapshot import Snapshot
from hub.core.ignore import kept
from hub.core.preview import Preview, Side, preview
from hub.operator import views
from hub.render.expansion import expand_set
from tests.effort import effort
from tests.unit.hub.operator.plan_rig import NAMESPACE, REPOSITORY, Hub
from tests.unit.hub.operator.test_partial_plans import GIT, RING_1


async def said(hub: Hub, sets: dict[str, Any]) -> Preview:
    """`axle plan` of these sets against the hub, at the commit and with the clusters that there are now."""
    fleet = hub.context.fleet()
    live = hub.caches.applications.view()
    specs_ = {f"{NAMESPACE}/{name}": ApplicationSetSpec.model_validate(spec) for name, spec in sets.items()}
    apps = {key: obj for key, obj in live.items() if views.owner_of(obj) is None}
    for name, spec in sets.items():
        found = await expand_set(
            NAMESPACE, name, spec, fleet=fleet, source=hub.git, runner=hub.runner, asker=None
        )
        rules = specs_[f"{NAMESPACE}/{name}"].ignore_differences
        children = {f"{NAMESPACE}/{child.name}": child.manifest for child in found.children}
        apps |= {key: kept(each, live.get(key), rules) for key, each in children.items()}
    after = Side(apps, specs_)
    there = Snapshot(apps=dict(live), sets=dict(hub.caches.sets.view()), fleet=fleet)
    kitchen: Any = None  # nothing is rendered: the commits that were released are not there
    before = await side_of_hub(there, after, kitchen=kitchen, sources={}, now=hub.now)
    return preview(before, after, fleet=fleet, now=hub.now)


def outcome(hub: Hub, before: dict[str, Any]) -> dict[str, set[str]]:
    children = hub.snapshot()["children"]
    plans = [plan or {} for plan in hub.snapshot()["plans"].values()]
    return {
        "Added": children.keys() - before.keys(),
        "Changed": {
            key
            for key in children.keys() & before.keys()
            if {**children[key], "deletion": None} != {**before[key], "deletion": None}
        },
        "Held": {each["app"] for plan in plans for each in plan.get("held") or ()},
        "Removed": {key for key in children if children[key]["deletion"]},
    }


def foretold(found: Preview) -> dict[str, set[str]]:
    held = {each.app for each in found.held if each.rule in ("Budget", "Breaker")}
    actions = {
        name: {each.app for each in found.changes if each.action == name} for name in ("Added", "Changed")
    }
    gone = {each.app for each in found.changes if each.action == "Removed"}
    return actions | {"Held": held, "Removed": gone - held}


GENERATORS: list[dict[str, Any]] = [
    {"clusters": {}},
    {"clusters": {"selector": RING_1}},
    {"clusters": {"selector": {"matchExpressions": [{"key": "ring", "operator": "NotIn", "values": ["1"]}]}}},
    {"clusters": {"names": ["k1", "k0"]}},
    {"matrix": {"generators": [GIT, {"clusters": {"selector": RING_1}}]}},
    {"matrix": {"generators": [GIT, {"clusters": {}}]}},
    {"list": {"elements": [{"name": "k0"}, {"name": "k1", "note": "x"}]}},
]
CLUSTER = st.fixed_dictionaries(
    {
        "labels": st.fixed_dictionaries(
            {"ring": st.sampled_from(["0", "1"])}, optional={"app": st.just("api")}
        ),
        "values": st.sampled_from([{}, {"replicas": 2}]),
    }
)
FLEET = st.tuples(CLUSTER, CLUSTER, *(st.one_of(CLUSTER, CLUSTER, st.none()) for _ in range(4)))
SET = st.fixed_dictionaries(
    {
        "generator": st.sampled_from(GENERATORS),
        "label": st.sampled_from(
            ["a", "{{ cluster.labels.ring | default('0') if cluster is defined else 'n' }}"]
        ),
        "note": st.sampled_from(["", "one", "two"]),
        "namespace": st.sampled_from(["x", "y"]),
        "ignored": st.sampled_from([[], [], [{"jsonPointers": ["/spec/sync"]}]]),
        "mode": st.sampled_from(["Auto", "Manual"]),
        "budget": st.sampled_from([{"max": "50%", "min": 1}, {"max": "20%", "min": 2}, {"max": 0, "min": 0}]),
    }
)
FLEETS = st.tuples(FLEET, st.tuples(SET, SET), st.sampled_from(["c1", "c2"]))


def spec_of(at: int, one: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"s{at}-{{{{ path.basename if path is defined else 'p' }}}}-{{{{ name }}}}",
        "labels": {"at": one["label"]},
    }
    if one["note"]:
        metadata["annotations"] = {"note": one["note"]}
    spec = {
        "cluster": "{{ name }}",
        "namespace": one["namespace"],
        "sources": [{"repoURL": REPOSITORY, "path": "apps/web"}],
        "sync": {"mode": one["mode"]},
    }
    return {
        "generators": [one["generator"]],
        "template": {"metadata": metadata, "spec": spec},
        "deletion": {"budget": one["budget"]},
        "ignoreDifferences": one["ignored"],
    }


def become(hub: Hub, state: Any) -> dict[str, dict[str, Any]]:
    """The clusters and the commit as they are to be; gives the sets, which nobody has written yet."""
    clusters, sets, commit = state
    for at, one in enumerate(clusters):
        if one is not None:
            hub.cluster(f"k{at}", **copy.deepcopy(one))
        elif f"k{at}" in hub.caches.clusters:
            hub.remove_cluster(f"k{at}")
    hub.git.commit = commit
    hub.git.dirs = ("apps/api", "apps/web") if commit == "c1" else ("apps/api", "apps/new", "apps/old")
    return {f"s{at}": spec_of(at, one) for at, one in enumerate(sets)}


@given(st.lists(FLEETS, min_size=2, max_size=5))
@effort(40)
def test_a_plan_tells_which_children_appear_change_go_and_are_held(states: list[Any]) -> None:
    asyncio.run(_walk(states))


async def _walk(states: list[Any]) -> None:
    hub = Hub()
    for state in states:
        hub.now += timedelta(minutes=17)
        sets = become(hub, state)
        told = foretold(await said(hub, sets))
        before = hub.snapshot()["children"]
        for name, one in sets.items():
            hub.set(name, one)
        await hub.plan_all()
        assert not [each for each in hub.snapshot()["problems"].values() if each]
        done = outcome(hub, before)
        for what, apps in told.items():
            assert apps == done[what], f"{what}: foretold {sorted(apps)}, but {sorted(done[what])}"
