"""What the operator keeps of waves between steps is what the graph and the fleet say."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

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
