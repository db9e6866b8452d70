"""What a plan holds: by the breaker over all sets of a pass, and which answer of a person it takes."""

from __future__ import annotations

from typing import Any

from agent.contract.names import ANNOTATION_APPROVE
from hub.operator.clusterremoval import ClusterRemovals
from hub.operator.decisions import Decisions
from hub.operator.deletion import Deletions
from hub.operator.finalizers import Finalizers
from tests.unit.hub.operator.plan_rig import NAMESPACE, REPOSITORY, Hub


def spec(ring: str, prefix: str) -> dict[str, Any]:
    source = {"repoURL": REPOSITORY, "path": "apps/web"}
    return {
        "generators": [{"clusters": {"selector": {"matchLabels": {"ring": ring}}}}],
        "template": {
            "metadata": {"name": f"{prefix}-{{{{ name }}}}"},
            "spec": {"cluster": "{{ name }}", "namespace": "x", "sources": [source]},
        },
    }


def removals(hub: Hub) -> ClusterRemovals:
    apps = Deletions(hub.context, hub.loop, Decisions(hub.context, list), on_held=lambda _key: None)
    finalizers = Finalizers(hub.context.writer)
    return ClusterRemovals(hub.context, finalizers, apps, again=lambda _name: None, on_gone=lambda: None)


def plan_of(hub: Hub, name: str) -> dict[str, Any]:
    obj = hub.caches.sets.get(f"{NAMESPACE}/{name}")
    assert obj is not None
    found: dict[str, Any] = obj["status"]["plan"]
    return found


def answer(hub: Hub, name: str, value: str) -> None:
    key = f"{NAMESPACE}/{name}"
    obj = hub.caches.sets.get(key)
    assert obj is not None
    version = hub.client.stamp()
    metadata = obj["metadata"] | {"annotations": {ANNOTATION_APPROVE: value}, "resourceVersion": version}
    hub.caches.sets.observe(None, obj | {"metadata": metadata})


def decided(hub: Hub) -> set[str]:
    found = hub.caches.applications.view().items()
    return {key for key, obj in found if (obj.get("status") or {}).get("deletion")}


async def test_i1_a_label_taken_from_every_cluster_empties_no_fleet_of_small_sets() -> None:
    """Forty sets of two clusters each are all within their own budgets: the hub as a whole is not."""
    hub = Hub()
    for at in range(2):
        hub.cluster(f"k{at}", labels={"ring": "0"})
    for at in range(40):
        hub.set(f"s{at}", spec("0", f"s{at}"))
    await hub.plan_all()
    assert len(hub.caches.applications) == 80
    for at in range(2):
        hub.cluster(f"k{at}", labels={})
    await hub.plan_clusters("k0", "k1")
    assert decided(hub) == set()
    held = [each for at in range(40) for each in plan_of(hub, f"s{at}")["held"]]
    assert (len(held), {each["reason"] for each in held}) == (80, {"Breaker"})
    answer(hub, "s3", f"deletions/{plan_of(hub, 's3')['id']}")
    await hub.plan_all()
    assert decided(hub) == {f"{NAMESPACE}/s3-k{at}" for at in range(2)}, "what is approved goes by name"


async def test_a40_an_approval_is_of_the_plan_that_was_seen() -> None:
    """More is Held between the look and the answer: the answer is not about that."""
    hub = Hub()
    for at in range(8):
        hub.cluster(f"k{at}", labels={"ring": "0"})
    hub.set("s", spec("0", "s"))
    await hub.plan_all()
    for at in range(3):
        hub.cluster(f"k{at}", labels={})
    await hub.plan_clusters("k0", "k1", "k2")
    seen = plan_of(hub, "s")
    assert len(seen["held"]) == 3
    for at in range(3, 7):
        hub.cluster(f"k{at}", labels={})
    await hub.plan_clusters("k3", "k4", "k5", "k6")
    answer(hub, "s", f"deletions/{seen['id']}")
    await hub.plan_all()
    assert decided(hub) == set()
    assert len(plan_of(hub, "s")["held"]) == 7
    answer(hub, "s", f"deletions/{plan_of(hub, 's')['id']}")
    await hub.plan_all()
    assert len(decided(hub)) == 7


async def test_f3_an_old_answer_on_a_set_restored_without_its_status_approves_nothing() -> None:
    hub = Hub()
    for at in range(8):
        hub.cluster(f"k{at}", labels={"ring": "0"})
    hub.set("s", spec("0", "s"))
    answer(hub, "s", "deletions/2")
    await hub.plan_all()
    for at in range(5):
        hub.cluster(f"k{at}", labels={})
    for _ in range(3):
        await hub.plan_all()
    assert decided(hub) == set()
    assert len(plan_of(hub, "s")["held"]) == 5


async def test_the_hubs_breaker_holds_what_a_person_named_too() -> None:
    """A cluster with most of the hub's apps is removed: its sets' plans are no way round the breaker."""
    hub = Hub()
    hub.cluster("k0", labels={"ring": "0"})
    elements = {"list": {"elements": [{"n": str(at)} for at in range(60)]}}
    clusters = {"clusters": {"selector": {"matchLabels": {"ring": "0"}}}}
    one = spec("0", "s-{{ n }}") | {"generators": [{"matrix": {"generators": [clusters, elements]}}]}
    hub.set("s", one)
    await hub.plan_all()
    hub.cluster("k0", labels={"ring": "0"}, removing=True)
    await hub.plan_all()
    assert decided(hub) == set(), "the plan leaves that to who removes the cluster"
    await removals(hub).serve("k0")
    found = [obj["status"]["deletion"] for obj in hub.caches.applications.values()]
    assert {(each["reason"], each["held"]) for each in found} == {("ClusterRemoved", "Breaker")}
    await hub.plan_all()
    assert found == [obj["status"]["deletion"] for obj in hub.caches.applications.values()]
