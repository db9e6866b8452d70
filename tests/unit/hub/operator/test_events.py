"""What an event asks of the plan loop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from agent.contract.names import ANNOTATION_REFRESH
from hub.core.rollup import SetRollup
from hub.operator.clusterstatus import cluster_status
from hub.operator.controller import Controller
from tests.unit.hub.operator.plan_rig import NAMESPACE, REPOSITORY, Hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SPEC = {
    "generators": [{"list": {"elements": [{"n": "1"}]}}],
    "template": {
        "metadata": {"name": "web"},
        "spec": {
            "cluster": "c1",
            "namespace": "x",
            "sources": [{"repoURL": REPOSITORY, "revision": "main", "path": "web"}],
        },
    },
}


class Slow:
    """A repository whose host answers when it is let; notes how often it is asked anew."""

    def __init__(self, hub: Hub) -> None:
        self._git = hub.git
        self.asked = 0
        self.open = asyncio.Event()

    def seen_by(self, namespace: str) -> Self:
        del namespace
        return self

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        self.asked += fresh
        await self.open.wait()
        return await self._git.resolve(repo_url, revision, fresh=fresh)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._git, name)


@contextlib.asynccontextmanager
async def planning(hub: Hub) -> AsyncIterator[tuple[Controller, Slow]]:
    slow = Slow(hub)
    controller = Controller(replace(hub.context, source=cast("Any", slow)))
    controller.events.listen()
    running = asyncio.create_task(controller.plans.run())
    try:
        yield controller, slow
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not in 60 s: {what}") from None


def touch(hub: Hub, name: str, **metadata: Any) -> None:
    """Write a set's metadata as a person would, and let all hear of it."""
    held = hub.caches.sets.get(f"{NAMESPACE}/{name}")
    assert held is not None
    made = held["metadata"] | metadata | {"resourceVersion": hub.client.stamp()}
    hub.caches.sets.observe(held, held | {"metadata": made})


async def test_a_refresh_that_is_heard_of_again_while_it_is_served_asks_git_once() -> None:
    hub = Hub()
    hub.cluster("c1", labels={})
    async with planning(hub) as (controller, slow):
        hub.set("web", SPEC)
        slow.open.set()
        state = hub.context.state.set(f"{NAMESPACE}/web")
        await until(lambda: bool(state.plan) and controller.plans.waiting == 0, "the first plan")
        asked = slow.asked
        slow.open.clear()
        touch(hub, "web", annotations={ANNOTATION_REFRESH: "now"})
        await until(lambda: slow.asked > asked, "Git is asked")
        for at in range(3):
            touch(hub, "web", labels={"seen": str(at)})
        assert controller.plans.waiting == 0
        slow.open.set()
        await until(lambda: state.refresh == "now", "the refresh is served")
        assert slow.asked == asked + 1
        touch(hub, "web", annotations={ANNOTATION_REFRESH: "again"})
        await until(lambda: slow.asked == asked + 2, "another refresh asks again")


def say(hub: Hub, name: str, **status: Any) -> None:
    """Write a cluster's status, and let all hear of it."""
    held = hub.caches.clusters.get(name)
    assert held is not None
    made = held["metadata"] | {"resourceVersion": hub.client.stamp()}
    hub.caches.clusters.observe(held, held | {"metadata": made, "status": held["status"] | status})


async def test_what_the_hub_counts_for_a_cluster_wakes_nobody_and_what_its_gateway_says_does() -> None:
    hub = Hub()
    hub.cluster("c1", labels={})
    async with planning(hub) as (controller, _):
        written = cluster_status(
            cast("Any", hub.caches.clusters.get("c1")),
            hub.context.fleet().clusters["c1"],
            SetRollup().result(),
            lease=None,
            conditions=(),
            now="2026-05-01T12:00:00Z",
        )
        say(hub, "c1", **written)
        assert controller.releaser.waiting == 0
        say(hub, "c1", clone={"since": "2026-05-01T12:00:00Z", "message": "two of them"})
        assert controller.releaser.waiting == 1
        assert controller.plans.waiting == 0
        say(hub, "c1", agent={"kubernetesVersion": "1.36"})
        await until(lambda: controller.plans.waiting == 0, "what renders by that is planned")
