"""A life at random, by a recorded seed: releases, hands, kills, broken servers, a hub out of reach; then quiet.

The rules of safety must hold all the time, and what is wanted must have come about in the end.

`AXLETREE_SEED` repeats a run; `AXLETREE_EFFORT` makes it longer (`make soak`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from agent.apply.hooks import HOOK_RUN
from agent.apply.inventory import from_secret
from agent.contract.errors import ApiError
from agent.contract.names import APPLYSET_PART_OF, applyset_id, inventory_name
from hub.gateway import paths
from tests.effort import FACTOR
from tests.integration.agent_rig import AgentRig, config_map
from tests.integration.fault_proxy import FaultProxy, Weather
from tests.integration.gateway_rig import client_of, new_name, running
from tests.integration.hookjobs import complete_jobs, hook
from tests.integration.test_agent_killed import Process
from tests.integration.wire import Wire
from tests.integration.witness import Forward, Order, Witness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(0 if FACTOR > 1 else 900)]
STEPS = 25
QUIET = 180.0
"""An app that failed, and an object that is fought for, wait up to a minute each, and a watch half of one."""
APPS = ("one", "two", "three")
ANCHORS = tuple(f"anchor-{number}" for number in range(6))
CHAIN = ("first", "second")
OTHERS = tuple(f"other-{number}" for number in range(6))
SECRET = "hunter2-of-the-random-life"


@dataclass
class Life:
    """What is wanted now. Anchors are always wanted, by one app or another; nobody ever decides to delete them."""

    rig: AgentRig
    proxy: FaultProxy
    process: Process
    wire: Wire
    chance: random.Random
    wanted: dict[str, dict[str, str]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)
    turn: int = 0

    async def release(self) -> None:
        """New content for every app that changes; anchors move between apps, and other objects come and go."""
        self.turn += 1
        owners = {name: self.chance.choice(APPS) for name in ANCHORS}
        for app in APPS:
            names = [name for name in ANCHORS if owners[name] == app]
            names += [name for name in OTHERS if self.chance.random() < 0.4 and self._free(name, app)]
            self.wanted[app] = dict.fromkeys(names, f"{app}-{self.turn}")
        # The chain is never touched by hand: what is written of it is the agent's doing alone.
        before = hook("migrate", "PreSync")
        await self.rig.deploy("first", before, config_map("first", v=str(self.turn)), assign=False)
        await self.rig.deploy(
            "second", config_map("second", v=str(self.turn)), after=("first",), assign=False
        )
        for app in APPS:
            objects = [config_map(name, v=value) for name, value in self.wanted[app].items()]
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": app},
                "stringData": {"v": SECRET},
            }
            await self.rig.deploy(app, secret, *objects, assign=False)
        await self.rig.assign()

    def _free(self, name: str, app: str) -> bool:
        return all(name not in wanted for other, wanted in self.wanted.items() if other != app)

    async def edit(self) -> None:
        with suppress(ApiError):
            name = self.chance.choice(ANCHORS + OTHERS)
            patch = {"data": {"v": "by hand"}}
            await self.rig.client.merge_patch(self.rig.path("configmaps", name), patch, field_manager="hand")

    async def delete(self) -> None:
        name = self.chance.choice(ANCHORS + OTHERS)
        self.uids.pop(name, None)
        with suppress(ApiError):
            await self.rig.client.delete(self.rig.path("configmaps", name))

    async def relabel(self) -> None:
        """Somebody takes our label off, or copies it."""
        with suppress(ApiError):
            name = self.chance.choice(ANCHORS)
            patch = {"metadata": {"labels": {APPLYSET_PART_OF: None}}}
            await self.rig.client.merge_patch(self.rig.path("configmaps", name), patch)

    async def kill(self) -> None:
        await self.process.end(signal.SIGKILL)
        await self.process.start()

    async def storm(self) -> None:
        self.proxy.fault = Weather(self.chance, share=self.chance.choice([0.1, 0.3, 0.6]))

    async def calm(self) -> None:
        self.proxy.fault = None

    async def cut(self) -> None:
        self.proxy.cut_watches()

    async def away(self) -> None:
        """The hub is out of reach: what it decides meanwhile comes later."""
        self.wire.cut()

    async def back(self) -> None:
        self.wire.mend()

    async def step(self) -> None:
        acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (4, self.release),
            (4, self.edit),
            (2, self.delete),
            (1, self.relabel),
            (3, self.kill),
            (2, self.storm),
            (2, self.calm),
            (1, self.cut),
            (1, self.away),
            (2, self.back),
        ]
        act = self.chance.choices([each for _, each in acts], [weight for weight, _ in acts])[0]
        self.told.append(act.__name__)
        await act()
        await asyncio.sleep(self.chance.choice([0.0, 0.05, 0.3]))
        await self.look()

    async def look(self) -> None:
        """I1: an anchor that is there stays the same object, whatever happens, unless a hand took it."""
        live = await self.live()
        for name in ANCHORS:
            uid = live[name]["metadata"]["uid"] if name in live else None
            if name in self.uids:
                assert uid == self.uids[name], f"{name} was deleted, and nobody decided it"
            elif uid is not None:
                self.uids[name] = uid

    async def live(self) -> dict[str, dict[str, Any]]:
        listing = await self.rig.client.list(f"/api/v1/namespaces/{self.rig.namespace}/configmaps")
        return {
            item["metadata"]["name"]: item
            for item in listing.items
            if item["metadata"]["name"] in ANCHORS + OTHERS
        }

    async def settled(self, hub: str) -> None:
        """I2, I3: when the faults stop, desired equals live, and the inventories name all that carries our label."""
        wanted = {name: value for objects in self.wanted.values() for name, value in objects.items()}
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(QUIET):
                while found.get("wrong", True):
                    found = await self._differs(hub, wanted)
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            raise AssertionError(f"not in {QUIET} s: {wanted}; {found}") from error

    async def _differs(self, hub: str, wanted: dict[str, str]) -> dict[str, Any]:
        """What there is, and in `wrong` what of it is not as it should be."""
        live = {name: item["data"]["v"] for name, item in (await self.live()).items()}
        inventories = {app: await self._inventory(hub, app) for app in APPS}
        labelled = {app: await self._labelled(hub, app) for app in APPS}
        found = [await self.rig.live(self.rig.path("configmaps", name)) for name in CHAIN]
        chain = [each["data"]["v"] if each else None for each in found]
        holds = {
            "live": live == wanted,
            "inventories": all(labelled[app] <= inventories[app] for app in APPS),
            "labels": all(set(self.wanted[app]) | {app} == labelled[app] for app in APPS),
            "chain": chain == [str(self.turn)] * len(CHAIN),
        }
        wrong = [name for name, well in holds.items() if not well]
        return {
            "wrong": wrong,
            "live": live,
            "inventories": inventories,
            "labels": labelled,
            "chain": chain,
        }

    async def gone(self) -> None:
        """Both apps of the chain go by one decision: the second before the first."""
        await self.rig.drop("second", assign=False)
        await self.rig.drop("first", before=["shop/second"])
        for name in CHAIN:
            await self.rig.live_when(self.rig.path("configmaps", name), lambda found: found is None)

    def hooks_ran_once(self) -> None:
        """I8: for one release, one run, whatever was killed or lost meanwhile."""
        runs = [
            write.body["metadata"]["annotations"][HOOK_RUN]
            for write in self.proxy.writes
            if write.name == "create jobs"
        ]
        assert runs, "no hook ran"
        assert len(runs) == len(set(runs)), runs

    async def at_rest(self) -> None:
        """I4: from then on nothing is written to any object."""
        before = await self.live()
        await asyncio.sleep(1.0)
        after = await self.live()
        assert {n: o["metadata"]["resourceVersion"] for n, o in before.items()} == {
            n: o["metadata"]["resourceVersion"] for n, o in after.items()
        }

    async def _inventory(self, hub: str, app: str) -> set[str]:
        name = inventory_name(hub, self.rig.cluster, f"shop/{app}")
        secret = await self.rig.live(f"/api/v1/namespaces/axletree-agent/secrets/{name}")
        return set() if secret is None else {ref.name for ref in from_secret(secret).entries}

    async def _labelled(self, hub: str, app: str) -> set[str]:
        selector = f"{APPLYSET_PART_OF}={applyset_id(hub, self.rig.cluster, f'shop/{app}')}"
        found: set[str] = set()
        for plural in ("configmaps", "secrets"):
            path = f"/api/v1/namespaces/{self.rig.namespace}/{plural}"
            found |= {
                item["metadata"]["name"]
                for item in (await self.rig.client.list(path, label_selector=selector)).items
            }
        return found


@pytest.mark.parametrize("run", range(FACTOR))
async def test_i1_to_i8_a_life_at_random_ends_as_it_should(
    api_server: ControlPlane, tmp_path: Path, run: int
) -> None:
    seed = int(os.environ.get("AXLETREE_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    log = tmp_path / "agent.log"
    async with (
        running(api_server) as hub,
        client_of(api_server) as client,
        FaultProxy(api_server).running() as proxy,
        Wire(urlsplit(hub.gateway.url).port or 0).running() as wire,
    ):
        rig = AgentRig(hub, api_server, client, new_name())
        config = tmp_path / "agent.json"
        settings = {
            "cluster": rig.cluster,
            "hubUrl": wire.url,
            "token": await hub.token(rig.cluster, auto_accept=True),
            "kubeconfig": str(proxy.kubeconfig(tmp_path)),
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        process = Process(rig, config, log=log)
        await process.start()
        life = Life(rig, proxy, process, wire, random.Random(seed))
        witness = Witness(client)
        maps = f"/api/v1/namespaces/{rig.namespace}/configmaps"
        applications = paths.application("shop/x").rpartition("/")[0]
        jobs = asyncio.create_task(complete_jobs(rig))
        try:
            identity = await process.identity()
            rig.sealing_public = identity.sealing_public
            shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
            await client.apply("/api/v1/namespaces/shop", shop, field_manager="tests")
            for app in (*APPS, *CHAIN):
                await hub.application(f"shop/{app}", rig.cluster)
            order, forward = Order(*CHAIN), Forward()
            async with witness.following((maps, order), (applications, forward)):
                await life.release()
                for _ in range(STEPS):
                    await life.step()
                await life.calm()
                await life.back()
                await life.settled(identity.hub_id)
                await life.look()
                await life.at_rest()
                await life.gone()
                async with asyncio.timeout(QUIET):  # a witness who saw nothing has nothing to say
                    while not (order.seen >= set(CHAIN) and forward.seen >= set(APPS)):  # noqa: ASYNC110 - watches fill them
                        await asyncio.sleep(0.1)
            assert not witness.broken, "\n".join(witness.broken)
            life.hooks_ran_once()
        except BaseException as error:
            error.add_note(f"run {run}, AXLETREE_SEED={seed}: {', '.join(life.told)}")
            error.add_note(log.read_text(encoding="utf-8")[-20_000:])
            raise
        finally:
            await process.end(signal.SIGKILL)
            jobs.cancel()
            await asyncio.gather(jobs, return_exceptions=True)
            for app in (*APPS, *CHAIN):
                with suppress(ApiError):  # the next life's cluster is another one
                    await client.delete(paths.application(f"shop/{app}"))
    assert SECRET not in log.read_text(encoding="utf-8"), "I5"
