"""What a fleet goes through, and what a plan pass makes of it: nothing goes without a decision within its budget."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.hub.operator.plan_rig import NAMESPACE, REPOSITORY, Hub

GIT = {"git": {"repoURL": REPOSITORY, "revision": "main", "directories": [{"path": "apps/*"}]}}


def fleet_of(*generators: dict[str, Any], clusters: int = 8, **fields: Any) -> Hub:
    """A set with a child for each of its parameter sets, on clusters `k0`, `k1`...; all planned."""
    hub = Hub()
    for at in range(clusters):
        hub.cluster(f"k{at}", labels={"env": "prod"})
    app = "{{ (path | default({})).basename | default('web') }}"
    template = {
        "metadata": {"name": f"{app}-{{{{ name }}}}"},
        "spec": {
            "cluster": "{{ name }}",
            "sources": [{"repoURL": REPOSITORY, "revision": "main", "path": app}],
        },
    }
    hub.set("s", {"generators": list(generators), "template": template} | fields)
    return hub


def decided(hub: Hub) -> dict[str, str]:
    """Children with a recorded decision to go, and why."""
    found = {name: each["deletion"] for name, each in children(hub).items()}
    return {name: each["reason"] for name, each in found.items() if each}


def children(hub: Hub) -> dict[str, Any]:
    return {key.partition("/")[2]: each for key, each in hub.snapshot()["children"].items()}


def held(hub: Hub) -> list[str]:
    return [each["app"].partition("/")[2] for each in hub.snapshot()["plans"]["shop/s"]["held"]]


async def test_f14_a_renamed_cluster_has_its_children_under_its_new_name_and_the_old_go_within_the_budget() -> (
    None
):
    hub = fleet_of({"clusters": {}})
    await hub.plan_all()
    hub.remove_cluster("k0")
    hub.cluster("n0", labels={"env": "prod"})
    await hub.plan_clusters("k0", "n0")
    assert "web-n0" in children(hub)
    assert (decided(hub), held(hub)) == ({"web-k0": "Dropped"}, [])


async def test_f14_a_fleet_that_is_renamed_at_once_loses_nothing_unasked() -> None:
    hub = fleet_of({"clusters": {}})
    await hub.plan_all()
    for at in range(8):
        hub.remove_cluster(f"k{at}")
        hub.cluster(f"n{at}", labels={"env": "prod"})
    await hub.plan_clusters(*(f"{letter}{at}" for letter in "kn" for at in range(8)))
    assert {f"web-n{at}" for at in range(8)} <= children(hub).keys()
    assert (decided(hub), held(hub)) == ({}, [f"web-k{at}" for at in range(8)])


async def test_f16_a_renamed_app_is_there_under_its_new_name_and_the_old_is_held_beyond_the_budget() -> None:
    """Each name on every cluster: what Git renamed is more than a budget lets go in an hour."""
    hub = fleet_of({"matrix": {"generators": [GIT, {"clusters": {}}]}})
    await hub.plan_all()
    hub.git.commit, hub.git.dirs = "c2", ("apps/api", "apps/site")
    await hub.plan_all()
    assert {f"site-k{at}" for at in range(8)} <= children(hub).keys()
    assert (decided(hub), held(hub)) == ({}, [f"web-k{at}" for at in range(8)])


async def test_f16_a_name_that_comes_back_before_it_is_gone_is_kept() -> None:
    hub = fleet_of({"matrix": {"generators": [GIT, {"clusters": {}}]}}, clusters=1)
    await hub.plan_all()
    hub.git.commit, hub.git.dirs = "c2", ("apps/api", "apps/site")
    await hub.plan_all()
    assert decided(hub) == {"web-k0": "Dropped"}
    hub.git.commit, hub.git.dirs = "c3", ("apps/api", "apps/web")
    await hub.plan_all()
    assert decided(hub) == {"site-k0": "Dropped"}


async def test_f17_without_its_project_a_set_stays_as_it_is() -> None:
    """Neither a child nor a target moves, whatever is committed or relabelled meanwhile."""
    hub = fleet_of(
        {"matrix": {"generators": [GIT, {"clusters": {"selector": {"matchLabels": {"env": "prod"}}}}]}}
    )
    await hub.plan_all()
    before = hub.snapshot()
    hub.caches.projects.observe(hub.caches.projects.get(f"{NAMESPACE}/project"), None)
    hub.git.commit, hub.git.dirs = "c2", ()
    hub.cluster("k0", labels={"env": "lab"})
    await hub.plan_clusters("k0")
    await hub.plan_all()
    after = hub.snapshot()
    assert after["problems"]["shop/s"][0] == "NoProject"
    for part in ("children", "plans", "targets"):
        assert after[part] == before[part], part


async def test_f17_a_hand_written_application_without_its_project_has_no_new_target() -> None:
    hub = fleet_of({"clusters": {}}, clusters=1)
    hub.app("byhand", "k0")
    await hub.plan_all()
    before = hub.context.state.targets["shop/byhand"]
    hub.caches.projects.observe(hub.caches.projects.get(f"{NAMESPACE}/project"), None)
    hub.cluster("k0", labels={"env": "lab"})
    await hub.plan_clusters("k0")
    after = hub.context.state.targets["shop/byhand"]
    assert before.digest
    assert (after.digest, after.problem.partition(":")[0]) == ("", "Project")


def restrict(hub: Hub, **rules: Any) -> None:
    """Another Project in place of the one that allows everything."""
    obj = hub.caches.projects.get(f"{NAMESPACE}/project")
    assert obj is not None
    metadata = {**obj["metadata"], "resourceVersion": hub.client.stamp()}
    hub.caches.projects.observe(None, {**obj, "metadata": metadata, "spec": obj["spec"] | rules})


def in_prod(hub: Hub) -> None:
    """The project may go to the clusters of `prod` alone, which are those of that label."""
    selector = {"matchLabels": {"env": "prod"}}
    metadata = {"name": "prod", "uid": "prod", "resourceVersion": hub.client.stamp()}
    hub.caches.cluster_sets.observe(None, {"metadata": metadata, "spec": {"selector": selector}})
    restrict(hub, destinations=[{"clusterSet": "prod", "namespaces": ["*"]}])


@pytest.mark.parametrize(
    "generator",
    [{"clusters": {}}, {"list": {"elements": [{"name": "k0"}]}}],
    ids=["clusters", "list"],
)
async def test_s11_a_cluster_that_leaves_the_projects_set_gets_nothing_new(generator: dict[str, Any]) -> None:
    """Whichever way the child came there; what runs stays, since leaving is no decision to delete."""
    hub = fleet_of(generator, clusters=2)
    in_prod(hub)
    await hub.plan_all()
    assert hub.context.state.targets["shop/web-k0"].digest
    hub.cluster("k0", labels={"env": "lab"})
    await hub.plan_clusters("k0")
    assert hub.context.state.targets["shop/web-k0"].problem.startswith("Project: ")
    assert decided(hub) == {}


async def test_s11_a_child_that_a_template_sends_elsewhere_gets_no_target() -> None:
    hub = fleet_of({"list": {"elements": [{"name": "k0"}, {"name": "k1"}]}}, clusters=2)
    hub.cluster("k1", labels={"env": "lab"})
    in_prod(hub)
    await hub.plan_all()
    targets = hub.context.state.targets
    assert targets["shop/web-k0"].digest
    assert (targets["shop/web-k1"].digest, targets["shop/web-k1"].problem[:8]) == ("", "Project:")


async def test_s11_a_generator_reads_no_repository_that_the_project_does_not_list() -> None:
    hub = fleet_of({"matrix": {"generators": [GIT, {"clusters": {}}]}}, clusters=1)
    restrict(hub, sourceRepos=["https://git.example.com/other/*"])
    await hub.plan_all()
    assert hub.snapshot()["problems"]["shop/s"][0] == "RepositoryNotAllowed"
    assert children(hub) == {}


async def test_s11_a_hand_written_application_cannot_go_where_the_project_does_not() -> None:
    hub = fleet_of({"clusters": {}}, clusters=2)
    hub.cluster("k1", labels={"env": "lab"})
    in_prod(hub)
    hub.app("byhand", "k1")
    await hub.plan_all()
    found = hub.context.state.targets["shop/byhand"]
    assert (found.digest, found.problem[:8]) == ("", "Project:")
    assert "shop/byhand" not in hub.renders.calls, "nothing of it is even read"
