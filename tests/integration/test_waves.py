"""Waves on a real hub with two real agents: a bad commit stops in the canary, a good one soaks and goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import ANNOTATION_APPROVE_WAVE, ANNOTATION_PAUSED, ANNOTATION_REFRESH
from hub.api.registry import APPLICATION_SET, CLUSTER, PROJECT
from hub.api.rollout import RolloutStatus, WaveStatus
from hub.core.waves import approval_of
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster
BAD = "x" * 300  # no name of anything
SOAK = "2s"


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


class Ring:
    """One app on two clusters, the first of which is the canary."""

    def __init__(self, shop: Fleet) -> None:
        self.shop = shop
        self.canary = shop.cluster
        self.other = f"{shop.cluster}-b"
        self.first: Any = None

    async def start(self, port: int) -> None:
        shop = self.shop
        await shop.join(port)
        self.first, first_run = shop.agent, shop.running
        shop.cluster = self.other
        await shop.join(port)
        self._first_run = first_run
        for name, ring in ((self.canary, "0"), (self.other, "1")):
            await shop.until(f"{name} is there", lambda name=name: self._there(name))
            patch = {"metadata": {"labels": {"ring": ring}}}
            await shop.client.merge_patch(CLUSTER.path(name=name), patch)
        destination = {"clusters": [f"{self.canary}*"], "namespaces": [f"{shop.namespace}-*"]}
        spec = {"sourceRepos": [shop.repo], "destinations": [destination], "serviceAccount": "deployer"}
        await shop.put(PROJECT, "project", spec)

    async def stop(self) -> None:
        if self.first is not None:
            await self.first.stop()
            await self._first_run

    async def _there(self, name: str) -> bool:
        try:
            return bool(
                (await self.shop.client.get(CLUSTER.path(name=name))).get("status", {}).get("sealingKey")
            )
        except Exception:  # noqa: BLE001 - not yet
            return False

    async def declare(self, *, soak: str | None = SOAK, **rollout: str) -> None:
        """A soak of an hour is there for as long as somebody looks at it, and over once there is none."""
        shop = self.shop
        spec = {
            "cluster": "{{ cluster }}",
            "namespace": shop.namespace + "-{{ cluster }}",
            "sources": [{"repoURL": shop.repo, "revision": "main", "path": "apps/web"}],
            "sync": {"createNamespace": True},
        }
        elements = [{"cluster": self.canary}, {"cluster": self.other}]
        await shop.put(
            APPLICATION_SET,
            "shop",
            {
                "generators": [{"list": {"elements": elements}}],
                "template": {"metadata": {"name": "web-{{ cluster }}"}, "spec": spec},
                "rollout": rollout
                | {
                    "waves": [
                        {"name": "canary", "selector": {"matchLabels": {"ring": "0"}}}
                        | ({"soak": soak} if soak else {}),
                        {"name": "fleet", "approval": "Manual"},
                    ]
                },
            },
        )

    async def push(self, value: str, *, name: str = "web") -> None:
        text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n"
        await self.shop.author.commit({"apps/web/it.yaml": text})
        await self.note(ANNOTATION_REFRESH, datetime.now(UTC).isoformat())

    async def note(self, key: str, value: str | None) -> None:
        patch = {"metadata": {"annotations": {key: value}}}
        await self.shop.client.merge_patch(APPLICATION_SET.path(self.shop.namespace, "shop"), patch)

    async def states(self) -> dict[str, str]:
        return {each.name: each.state.value for each in (await self.rollout()).waves}

    async def rollout(self) -> RolloutStatus:
        try:
            obj = await self.shop.set()
        except Exception:  # noqa: BLE001 - not yet
            return RolloutStatus()
        return RolloutStatus.model_validate((obj.get("status") or {}).get("rollout") or {})

    async def wave(self, name: str) -> WaveStatus:
        return next(each for each in (await self.rollout()).waves if each.name == name)

    async def until(self, canary: str, other: str) -> None:
        async def holds() -> bool:
            return await self.states() == {"canary": canary, "fleet": other}

        try:
            await self.shop.until(f"canary is {canary}, fleet is {other}", holds)
        except AssertionError as error:
            raise AssertionError(f"{await self.rollout()}\n{error}") from error

    async def value(self, cluster: str) -> str:
        path = f"/api/v1/namespaces/{self.shop.namespace}-{cluster}/configmaps/web"
        found = await self.shop._get(path)
        return str((found or {}).get("data", {}).get("value", ""))

    async def blocked(self, cluster: str) -> str:
        app = await self.shop.app(f"web-{cluster}")
        return " ".join(each["message"] for each in (app.get("status") or {}).get("blockedBy") or ())

    async def held(self, cluster: str, words: str) -> None:
        """Wait until the app says so: its set does at another time."""

        async def holds() -> bool:
            return words in await self.blocked(cluster)

        await self.shop.until(f"web-{cluster} says {words!r}", holds)


async def test_i6_a_bad_commit_halts_in_the_canary_and_a_revert_heals(shop: Fleet) -> None:
    port = free_port()
    hub = await shop.hub("first", port)
    ring = Ring(shop)
    try:
        await ring.start(port)
        await shop.commit(web="1")
        await ring.declare(soak="1h")
        await ring.until("Soaking", "Waiting")
        assert await ring.value(ring.other) == ""
        await ring.held(ring.other, "soaks until")
        await ring.declare(soak=None)
        await ring.until("Done", "AwaitingApproval")
        await ring.note(ANNOTATION_APPROVE_WAVE, approval_of(await ring.wave("fleet")))
        await ring.until("Done", "Done")
        assert await ring.value(ring.other) == "1"

        await ring.push("2", name=BAD)
        await ring.until("Halted", "Waiting")
        await ring.held(ring.other, "held by wave canary: 1 of its 1 children failed")
        assert await ring.value(ring.other) == "1"
        await hub.kill()  # and it is still Halted in the next process
        await shop.hub("second", port)
        await shop.led_by("second")
        await asyncio.sleep(1)
        assert await ring.states() == {"canary": "Halted", "fleet": "Waiting"}

        await ring.push("1")
        await ring.until("Done", "Done")
        assert await ring.value(ring.other) == "1"

        await ring.note(ANNOTATION_PAUSED, "true")
        await ring.push("3")

        await ring.held(ring.canary, "is paused")
        await ring.note(ANNOTATION_PAUSED, None)
        await ring.until("Done", "AwaitingApproval")
        assert (await ring.value(ring.canary), await ring.value(ring.other)) == ("3", "1")
    finally:
        await ring.stop()


async def test_a_failed_wave_takes_its_children_back_until_a_new_commit(shop: Fleet) -> None:
    port = free_port()
    await shop.hub("first", port)
    ring = Ring(shop)
    try:
        await ring.start(port)
        await shop.commit(web="1")
        await ring.declare(onFailure="Rollback")
        await ring.until("Done", "AwaitingApproval")  # the soak ends by itself

        await ring.declare(onFailure="Rollback", soak="1h")
        await ring.push("2")
        await ring.until("Soaking", "Waiting")
        await ring.push("3", name=BAD)

        async def back() -> bool:
            sync = (await shop.app(f"web-{ring.canary}"))["status"]["sync"]
            return (sync["state"], sync.get("pinned")) == ("Synced", "wave")

        await shop.until("the canary is back at its last good release", back)
        assert await ring.value(ring.canary) == "2"

        async def told() -> bool:
            return "was rolled back" in (await ring.rollout()).message

        await shop.until("the set says so", told)
        assert await ring.value(ring.other) == ""

        await ring.declare(onFailure="Rollback")
        await ring.push("4")
        await ring.until("Done", "AwaitingApproval")
        assert await ring.value(ring.canary) == "4"
        assert not (await shop.app(f"web-{ring.canary}"))["status"]["sync"].get("pinned")
    finally:
        await ring.stop()
