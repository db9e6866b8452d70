"""`kill -9` at every place where the agent writes, before and after the write: what is wanted comes about all the same.

The places are not listed by hand: a first run through the API server's eyes names every write, and then each of them
is a crash point.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from agent.apply.hooks import HOOK_RUN
from agent.apply.inventory import from_secret
from agent.contract.names import APPLYSET_PART_OF, applyset_id, inventory_name
from tests.effort import FACTOR
from tests.integration.agent_rig import SECONDS, AgentRig, config_map, eventually, until
from tests.integration.fault_proxy import FaultProxy, Trap
from tests.integration.gateway_rig import client_of, new_name, running
from tests.integration.hookjobs import complete_jobs, hook
from tests.integration.test_agent_killed import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.gateway_rig import Rig

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(600)]
WALKS = 4
"""Agents side by side: they mostly wait."""
STEPS = ("install", "change", "remove")
KUBECTL = "kubectl.kubernetes.io/last-applied-configuration"
Points: TypeAlias = "dict[str, list[tuple[str, str]]]"
"""By step: the writes, and whether before or after them."""


class Walk:
    """One agent process behind a proxy; each app is taken through its life, with a kill in each of its steps."""

    def __init__(self, process: Process, proxy: FaultProxy) -> None:
        self.hub = ""
        self.process, self.proxy, self.rig = process, proxy, process.rig
        self.names: dict[str, list[str]] = {step: [] for step in STEPS}
        self._count = 0

    async def life(self, traps: dict[str, Trap]) -> None:
        """One app from its first release to its end; `traps` by step."""
        self._count += 1
        self.app = f"web-{self._count}"
        self.rig.namespace = f"{self.rig.cluster}-{self._count}"
        for step, act in zip(STEPS, (self.install, self.change, self.remove), strict=True):
            before = len(self.proxy.writes)
            trap = self.proxy.trap = traps.get(step)
            async with asyncio.timeout(2 * SECONDS):
                await act()
            if trap is not None and not trap.sprung.is_set():
                self.proxy.trap = None  # another way led to the end, without this write
            made = [write.name for write in self.proxy.writes[before:]]
            self.names[step] += [name for name in dict.fromkeys(made) if name not in self.names[step]]
        self.hooks_ran_once()

    async def install(self) -> None:
        await self.rig.client.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{self.rig.namespace}-theirs"}},
        )
        taken = config_map("taken", a="kubectl")
        taken["metadata"] |= {"namespace": f"{self.rig.namespace}-theirs", "annotations": {KUBECTL: "{}"}}
        path = f"/api/v1/namespaces/{self.rig.namespace}-theirs/configmaps"
        await self.rig.client.create(path, taken, field_manager="kubectl-client-side-apply")
        await self.deploy("1", "a", "b")
        await self.converged("1", "a", "b")

    async def change(self) -> None:
        await self.deploy("2", "a", "c")
        await self.converged("2", "a", "c")

    async def remove(self) -> None:
        await self.rig.drop(self.app)
        await eventually(self.left, ([], None), every=0.1)

    async def deploy(self, generation: str, *names: str) -> None:
        theirs = config_map("taken", a=generation)
        theirs["metadata"]["namespace"] = f"{self.rig.namespace}-theirs"
        fixed = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "fixed", "annotations": {"axletree.dev/sync-options": "Recreate"}},
            "immutable": True,
            "stringData": {"v": generation},
        }
        maps = [config_map(name, v=generation) for name in names]
        await self.rig.deploy(self.app, hook("before", "PreSync"), *maps, theirs, fixed)

    async def converged(self, generation: str, *names: str) -> None:
        """The objects are as wanted, the inventory has them all (I2, I3), and the hook ran for this release."""
        wanted = dict.fromkeys(names, generation) | {"taken": generation}

        async def found() -> tuple[dict[str, str], set[str]]:
            live = {
                each["metadata"]["name"]: each["data"].get("v", each["data"].get("a"))
                for each in await self.live()
            }
            return live, (set(wanted) | {"fixed"}) - (await self.inventory() or set())

        await eventually(found, (wanted, set()), every=0.1)

    async def left(self) -> tuple[list[dict[str, Any]], set[str] | None]:
        return await self.live(), await self.inventory()

    async def live(self) -> list[dict[str, Any]]:
        found = []
        for namespace in (self.rig.namespace, f"{self.rig.namespace}-theirs"):
            listing = await self.rig.client.list(
                f"/api/v1/namespaces/{namespace}/configmaps",
                label_selector=f"{APPLYSET_PART_OF}={self.applyset}",
            )
            found += listing.items
        return found

    async def inventory(self) -> set[str] | None:
        secret = await self.rig.live(
            f"/api/v1/namespaces/axletree-agent/secrets/{inventory_name(*self.scope)}"
        )
        return None if secret is None else {ref.name for ref in from_secret(secret).entries}

    def hooks_ran_once(self) -> None:
        """I8: for one release, one run."""
        runs = [
            (write.path, write.body["metadata"]["annotations"][HOOK_RUN])
            for write in self.proxy.writes
            if write.name == "create jobs"
        ]
        assert len(runs) == len(set(runs)), runs

    @property
    def scope(self) -> tuple[str, str, str]:
        return self.hub, self.rig.cluster, f"shop/{self.app}"

    @property
    def applyset(self) -> str:
        return applyset_id(*self.scope)


@asynccontextmanager
async def walking(hub: Rig, server: ControlPlane, folder: Path) -> AsyncIterator[Walk]:
    """An agent that was killed before and after it wrote who it is, and has joined all the same."""
    async with client_of(server) as client, FaultProxy(server).running() as proxy:
        rig = AgentRig(hub, server, client, new_name())
        settings = {
            "cluster": rig.cluster,
            "hubUrl": hub.gateway.url,
            "token": await hub.token(rig.cluster, auto_accept=True),
            "kubeconfig": str(proxy.kubeconfig(folder)),
        }
        config = folder / "agent.json"
        config.write_text(json.dumps(settings))
        log = folder / "agent.log"
        process = Process(rig, config, log=log)
        made = Walk(process, proxy)

        async def kill_and_start() -> None:
            await process.end(signal.SIGKILL)
            await process.start()

        proxy.kill = kill_and_start
        jobs = asyncio.create_task(complete_jobs(rig))
        try:
            for when in ("before", "after"):
                trap = proxy.trap = Trap("state identity create", when)
                if process.process is None:
                    await process.start()
                await until(trap.sprung.is_set, "it wrote who it is")
            identity = await process.identity()
            rig.sealing_public, made.hub = identity.sealing_public, identity.hub_id
            yield made
        except BaseException as error:
            error.add_note(f"{rig.cluster}:\n{log.read_text(encoding='utf-8')[-10_000:]}")
            raise
        finally:
            await process.end(signal.SIGKILL)
            jobs.cancel()
            await asyncio.gather(jobs, return_exceptions=True)


async def test_f18_to_f22_a_kill_at_every_write_before_and_after_it(
    api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = tmp_path_factory.mktemp
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(api_server))
        async with asyncio.TaskGroup() as group:
            begun = [
                group.create_task(
                    stack.enter_async_context(walking(hub, api_server, folders(f"walk-{number}")))
                )
                for number in range(WALKS)
            ]
        walks = [each.result() for each in begun]
        await walks[0].life({})
        names = walks[0].names
        assert {"state inventory create", "state app create", "create jobs"} <= set(names["install"])
        assert {"delete configmaps", "delete secrets", "apply secrets"} <= set(names["change"])
        assert {"delete configmaps", "state delete"} <= set(names["remove"])
        points = {
            step: [(name, when) for at, name in enumerate(names[step]) for when in _moments(at)]
            for step in STEPS
        }
        missed = await killed_at(walks, points)
        missed = await killed_at(walks, missed)  # where another way led to the end: once more
        assert sum(map(len, missed.values())) <= 0.1 * sum(map(len, points.values())), missed


async def killed_at(walks: list[Walk], points: Points) -> Points:
    """Lives with a kill at each of the points; gives those that no life came by."""
    lives = [
        {step: Trap(*found[number]) for step, found in points.items() if number < len(found)}
        for number in range(max(map(len, points.values())))
    ]
    left = iter(lives)

    async def take(walk: Walk) -> None:
        for traps in left:
            await walk.life(traps)

    async with asyncio.TaskGroup() as group:
        for walk in walks:
            group.create_task(take(walk))
    missed = [(step, trap) for traps in lives for step, trap in traps.items() if not trap.sprung.is_set()]
    return {step: [(trap.name, trap.when) for of, trap in missed if of == step] for step in points}


def _moments(at: int) -> tuple[str, ...]:
    """Every write is a place to die at: before and after in turn in the suite, both in `make soak`."""
    return ("before", "after") if FACTOR > 1 else (("before", "after")[at % 2],)
