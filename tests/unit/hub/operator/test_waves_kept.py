"""What the operator keeps of waves between steps is what the graph and the fleet say."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.kube.selectors import Selector, parse_selector
from hub.api.rollout import Rollout
from hub.core.phases import phase_of
from hub.core.plan import parse_duration
from hub.core.templating import TemplateEngine
from tests.bench.world import APPS, NAMESPACE, World, set_spec

if TYPE_CHECKING:
    from hub.operator.releaser import Releaser

_CLUSTERS = 12


def _expected(world: World, releaser: Releaser, key: str) -> dict[str, dict[str, int]]:
    rollout = Rollout.model_validate(set_spec(0)["rollout"])
    selectors = [
        parse_selector(wave.selector.to_json()) if wave.selector is not None else Selector()
        for wave in rollout.waves
    ]
    fleet = world.hub.fleet()
    counts: dict[str, Counter[str]] = {wave.name: Counter() for wave in rollout.waves}
    for each in releaser.graph.of_set(key):
        node = releaser.graph.get(each)
        assert node is not None
        cluster = fleet.clusters.get(node.cluster)
        labels = cluster.labels if cluster is not None else {}
        wave = rollout.waves[next(at for at, one in enumerate(selectors) if one.matches(labels))]
        if not node.deleting:
            phase = phase_of(node, cluster, timeout=parse_duration(wave.timeout), now=world.now, stale="Wait")
            counts[wave.name][phase.value] += 1
    return {name: dict(found) for name, found in counts.items()}


async def test_after_any_event_the_kept_members_are_those_of_the_graph() -> None:
    world, chance = World(_CLUSTERS), random.Random(7)
    world.settle(world.expand(TemplateEngine()))
    releaser = world.releaser()
    await releaser.step(set(world.hub.caches.applications), set())
    for at in range(150):
        key = world.key(chance.randrange(APPS), chance.randrange(_CLUSTERS))
        keys, clusters = {key}, set()
        match chance.randrange(5):
            case 0:
                health = chance.choice(["Healthy", "Degraded", "Progressing"])
                node = releaser.graph.get(key)
                assert node is not None
                world.report(key, health=health, release=node.release, digest=node.released)
            case 1:
                world.aim(key, f"{key} {at}")
            case 2:
                role = chance.choice(["canary", "early", "main"])
                clusters.add(world.cluster(chance.randrange(_CLUSTERS), role=role))
            case 3:  # moved, and nobody says so
                world.cluster(chance.randrange(_CLUSTERS), role=chance.choice(["canary", "main"]))
            case 4:
                world.now += timedelta(minutes=chance.choice([1, 40]))
        await releaser.step(keys, clusters)
        owner = f"{NAMESPACE}/{key.partition('/')[2].partition('-')[0]}"
        status = releaser.waves.status(owner)
        assert status is not None
        found = {wave["name"]: wave.get("counts") or {} for wave in status["waves"]}
        assert found == _expected(world, releaser, owner), (at, owner)


async def test_a_set_whose_spec_does_not_read_lets_nothing_go_past_its_waves() -> None:
    """As after an upgrade that reads more strictly: no waves are not the waves that it has."""
    world = World(_CLUSTERS)
    world.settle(world.expand(TemplateEngine()))
    sets = world.hub.caches.sets
    before = {key: sets.get(key) for key in sets}
    for obj in before.values():
        assert obj is not None
        sets.observe(None, _told(obj, obj["spec"] | {"rollout": {"waves": "canary"}}))
    releaser = world.releaser()
    await releaser.step(set(world.hub.caches.applications), set())
    keys = {world.key(0, at) for at in range(_CLUSTERS)}
    for key in keys:
        world.aim(key, "next")
    await releaser.step(keys, set())
    assert not [key for key in keys if _released(releaser, key)]
    for key, obj in before.items():
        assert obj is not None
        current = sets.get(key)
        assert current is not None
        sets.observe(None, _told(current, obj["spec"]))
        releaser.waves.set_moved(key)
    await releaser.step(keys, set())
    assert [key for key in keys if _released(releaser, key)], "the first wave"


def _told(obj: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    metadata = obj["metadata"]
    later = {
        "generation": int(metadata.get("generation", 0)) + 1,
        "resourceVersion": str(int(metadata["resourceVersion"]) + 1_000_000_000),
    }
    return {**obj, "metadata": metadata | later, "spec": spec}


def _released(releaser: Releaser, key: str) -> bool:
    node = releaser.graph.get(key)
    assert node is not None
    return node.released == node.target
