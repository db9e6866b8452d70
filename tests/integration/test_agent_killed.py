"""A real agent process, killed at any moment: what is wanted comes about, and nothing is left over."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.inventory import from_secret
from agent.contract.names import APPLYSET_PART_OF, applyset_id, inventory_name
from agent.link.identity import IdentityStore
from agent.link.secrets import SecretWriter
from tests.integration.agent_rig import SECONDS, AgentRig, config_map, eventually, until
from tests.integration.gateway_rig import client_of, new_name, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

KILLS = 5


class Process:
    """`axle-agent run` as a person would start it."""

    def __init__(
        self,
        rig: AgentRig,
        config: Path,
        *,
        log: Path | None = None,
        options: tuple[str, ...] = (),
        inside: tuple[str, ...] = (),
    ) -> None:
        self.inside = inside
        self.rig = rig
        self.options = options
        self.config = config
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = (
            *(*self.inside, sys.executable, "-m", "agent.main", "run"),
            *("--config", str(self.config), *self.options),
        )
        if self.log is None:
            self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            return
        with self.log.open("ab") as stream:
            self.process = await asyncio.create_subprocess_exec(*command, stderr=stream)

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()

    async def identity(self) -> Any:
        uid = (await self.rig.client.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"]
        store = IdentityStore(SecretWriter(self.rig.client), self.rig.cluster)
        async with asyncio.timeout(SECONDS):
            while (identity := await store.load(uid)) is None or not identity.joined:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return identity


@pytest.fixture
async def process(api_server: ControlPlane, tmp_path: Path) -> AsyncIterator[Process]:
    async with running(api_server) as rig, client_of(api_server) as client:
        made = AgentRig(rig, api_server, client, new_name())
        config = tmp_path / "agent.json"
        settings = {
            "cluster": made.cluster,
            "hubUrl": rig.gateway.url,
            "token": await rig.token(made.cluster, auto_accept=True),
            "kubeconfig": str(api_server.kubeconfig_path),
        }
        config.write_text(json.dumps(settings))
        process = Process(made, config, log=tmp_path / "agent.log")
        await process.start()
        try:
            made.sealing_public = (await process.identity()).sealing_public
            yield process
        finally:
            await process.end(signal.SIGKILL)


async def test_f18_to_f22_killed_at_any_moment_desired_equals_live(process: Process) -> None:
    rig = process.rig
    chance = random.Random(7)
    generation = 0
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await rig.client.apply("/api/v1/namespaces/shop", shop, field_manager="tests")
    await rig.rig.application("shop/web", rig.cluster)

    async def converged() -> None:
        wanted = {f"cm-{index}": str(generation) for index in range(generation % 3, 12)}
        path = f"/api/v1/namespaces/{rig.namespace}/configmaps"

        async def live() -> dict[str, str]:
            listing = await rig.client.list(path, label_selector=APPLYSET_PART_OF)
            return {item["metadata"]["name"]: item["data"]["v"] for item in listing.items}

        await eventually(live, wanted)

    async def deploy() -> str:
        objects = [config_map(f"cm-{index}", v=str(generation)) for index in range(generation % 3, 12)]
        return await rig.deploy("web", *objects)

    for generation in range(1, KILLS + 1):  # noqa: B007 - read by the functions above
        await deploy()
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        await process.end(signal.SIGKILL)
        await process.start()
        await converged()
    generation += 1
    digest = await deploy()
    await converged()
    # Its round is over, and not only its last write: what one that is cut off had still to keep, the next one keeps.
    await rig.rig.observed_when("shop/web", sync="Synced", digest=digest)
    assert await process.end(signal.SIGTERM) == 0
    identity = await process.identity()
    names = (identity.hub_id, rig.cluster, "shop/web")
    secret = await rig.live(f"/api/v1/namespaces/axletree-agent/secrets/{inventory_name(*names)}")
    assert secret is not None
    inventoried = {ref.name for ref in from_secret(secret).entries}
    labelled = await rig.client.list(
        f"/api/v1/namespaces/{rig.namespace}/configmaps",
        label_selector=f"{APPLYSET_PART_OF}={applyset_id(*names)}",
    )
    assert {item["metadata"]["name"] for item in labelled.items} == inventoried


async def test_a_running_agent_takes_little_memory_and_stops_when_asked(process: Process) -> None:
    rig = process.rig
    for index in range(10):
        await rig.deploy(f"app-{index}", config_map(f"cm-{index}", v="1"), assign=False)
    await rig.assign()
    for index in range(10):
        await rig.live_when(rig.path("configmaps", f"cm-{index}"), lambda obj: obj is not None)
    assert process.process is not None
    pid = process.process.pid
    assert _resident_mb(pid) < 70
    assert await process.end(signal.SIGTERM) == 0
    await until(lambda: process.process is not None and process.process.returncode == 0, "stopped")


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
