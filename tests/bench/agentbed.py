"""One agent process, its hub's gateway and its API server: what the rows about one agent stand on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from hub.operator import paths
from tests.bench.marks import BenchFailed
from tests.integration.agent_rig import AgentRig, config_map
from tests.integration.gateway_rig import new_name
from tests.integration.test_agent_killed import Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.gateway_rig import Rig

APPS, EACH = 10, 50
COUNT = APPS * EACH
WAIT = 60.0
NAMESPACE = "bench"


@dataclass(slots=True)
class AgentBed:
    """One agent's life, from its first start to its end."""

    hub: Rig
    plane: ControlPlane
    client: RestClient
    folder: Path
    rig: AgentRig = field(init=False)
    process: Process = field(init=False)
    there: int = 0

    def __post_init__(self) -> None:
        self.rig = AgentRig(self.hub, self.plane, self.client, new_name())
        self.rig.namespace = f"{NAMESPACE}-{self.rig.cluster}"
        self.process = Process(self.rig, self.folder / "agent.json", log=self.folder / "agent.log")

    @property
    def pid(self) -> int:
        if self.process.process is None:
            raise BenchFailed("there is no agent process")
        return self.process.process.pid

    async def end(self) -> None:
        await self.process.end(signal.SIGKILL)
        await self.drop_namespaces(self.rig.namespace)
        for app in ("broken", *(f"app-{number}" for number in range(APPS))):
            with contextlib.suppress(ApiError):  # the next run's cluster is another one
                await self.client.delete(paths.application(f"shop/{app}"))

    async def drop_namespaces(self, *names: str) -> None:
        """Until they are gone: what deletes their objects would take the API server from what is measured next."""
        for name in names:
            await self.client.delete(f"/api/v1/namespaces/{name}")

        async def gone() -> bool:
            listing = await self.client.list("/api/v1/namespaces")
            return not {item["metadata"]["name"] for item in listing.items} & set(names)

        await self.until(f"the namespaces {', '.join(names)} are gone", gone, pause=lambda: 0.2)

    async def configure(self, kubeconfig: Path) -> None:
        path = self.folder / "agent.json"
        settings = json.loads(path.read_text()) if path.exists() else {}
        if not settings:
            settings = {
                "cluster": self.rig.cluster,
                "hubUrl": self.hub.gateway.url,
                "token": await self.hub.token(self.rig.cluster, auto_accept=True),
            }
        path.write_text(json.dumps(settings | {"kubeconfig": str(kubeconfig)}))

    async def warm(self) -> None:
        """One app with one object: discovery, connections and watches are there, as on any spoke at work."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        await self.client.apply("/api/v1/namespaces/shop", body, field_manager="bench")
        for app in range(APPS):
            await self.hub.application(f"shop/app-{app}", self.rig.cluster)
        await self.rig.deploy("warm", config_map("warm", v="1"))
        await self.until("the first object is there", lambda: self.count(1))

    def objects(self, app: int) -> list[dict[str, Any]]:
        return [config_map(f"cm-{app}-{number}", v="1", text="x" * 200) for number in range(EACH)]

    async def versions(self) -> dict[str, str]:
        listing = await self.client.list(f"/api/v1/namespaces/{self.rig.namespace}/configmaps")
        return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listing.items}

    async def count(self, wanted: int) -> bool:
        """With a question that costs the API server next to nothing, however often it is asked."""
        path = f"/api/v1/namespaces/{self.rig.namespace}/configmaps"
        page = await self.client.request("GET", path, params={"limit": "1"})
        self.there = len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)
        return self.there >= wanted

    def far(self) -> float:
        """Seconds until it is worth while to count again: each count takes from what is measured."""
        return max(0.01, min(0.1, 0.2 * (COUNT + 1 - self.there) / COUNT))

    async def observed(self, key: str, release: int) -> None:
        """Until the hub's Application says that this release runs."""

        async def said() -> bool:
            found = await self.hub.observed(key)
            return found is not None and (found.get("sync"), found.get("release")) == ("Synced", release)

        await self.until(f"{key} is Synced at release {release}", said)

    async def until(
        self, what: str, holds: Callable[[], Awaitable[bool]], *, pause: Callable[[], float] = lambda: 0.02
    ) -> None:
        try:
            async with asyncio.timeout(WAIT):
                while not await holds():  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(pause())
        except TimeoutError as error:
            raise BenchFailed(f"not in {WAIT:g} s: {what}") from error
