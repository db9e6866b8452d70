"""Soaks through the release loop: begun by a report, told in status, counted on by another process."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hub.core.templating import TemplateEngine
from tests.bench.world import NAMESPACE, World, set_spec

if TYPE_CHECKING:
    from hub.operator.releaser import Releaser


def world_with_a_soak() -> World:
    world = World(3)
    spec = set_spec(1)
    spec["template"]["spec"]["dependsOn"][0]["soak"] = "10m"
    metadata = world.meta("app1", NAMESPACE, generation=2)
    world.hub.caches.sets.observe(None, {"metadata": metadata, "spec": spec})
    world.settle(world.expand(TemplateEngine()))
    return world


def blocked_by(world: World, key: str) -> list[str]:
    obj = world.hub.caches.applications.get(key)
    assert obj is not None
    return [each["edge"] for each in obj["status"].get("blockedBy") or ()]


async def step(world: World, releaser: Releaser) -> None:
    await releaser.step(set(world.hub.caches.applications), set())


async def test_a_soak_survives_the_process_that_began_it() -> None:
    world = world_with_a_soak()
    releaser = world.releaser()
    await step(world, releaser)
    below, above = world.key(0, 0), world.key(1, 0)
    for key in (below, above):
        world.aim(key, f"{key} anew")
    await step(world, releaser)
    assert blocked_by(world, above) == ["Dependency"]
    node = releaser.graph.get(below)
    assert node is not None
    world.report(below, release=node.release, digest=node.released, health="Healthy")
    await step(world, releaser)
    assert blocked_by(world, above) == ["Soak"]
    world.now += timedelta(minutes=9)
    later = world.releaser()
    await step(world, later)
    assert blocked_by(world, above) == ["Soak"]
    world.now += timedelta(minutes=1)
    await step(world, later)
    assert blocked_by(world, above) == []
    node = later.graph.get(above)
    assert node is not None
    assert node.released == node.target
