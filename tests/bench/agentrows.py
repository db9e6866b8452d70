"""One agent process on one API server: what it holds, what it costs at rest, how fast it applies, corrects and tells.

The hub's side is a gateway in this process, so that the figures are the agent's alone. The API server is seen through
its own counters; what the agent asks goes to it directly.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agent.contract.healthrule import HealthRule
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.fleet.controlplane import ControlPlane
from tests.bench import rows
from tests.bench.agentbed import APPS, COUNT, NAMESPACE, WAIT, AgentBed
from tests.bench.measure import cpu_seconds, memory
from tests.bench.rows import Sample
from tests.integration.agent_rig import config_map
from tests.integration.fault_proxy import FaultProxy
from tests.integration.gateway_rig import client_of, running

if TYPE_CHECKING:
    from tests.bench.options import Options

REST = 5.0
QUIET = 20.0
SETTLED = 1.0
"""Seconds in which whoever watches has seen that the objects of the run before are gone."""
EDITS, BREAKS = 200, 10
BEST_OF = (8, 16, 32, 64)
ROWS = (
    rows.AGENT_START,
    rows.AGENT_APPLY,
    rows.AGENT_PEAK,
    rows.AGENT_MEMORY,
    rows.AGENT_CPU,
    rows.AGENT_EDIT,
    rows.AGENT_EDIT_99,
    rows.AGENT_BREAK,
    rows.AGENT_RESYNC,
    rows.AGENT_CEL,
)
clock = time.perf_counter


async def run(options: Options) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {row.id: [] for row in ROWS}
    root = options.root / "agent"
    root.mkdir(parents=True)
    plane = ControlPlane("agent", root / "plane", options.binary, workloads=False)
    await plane.start()
    try:
        async with running(plane, inner=True) as hub, client_of(plane) as client:
            for turn in range(options.repeats):
                folder = root / str(turn)
                folder.mkdir()
                options.note(f"one agent, {APPS} apps with {COUNT} objects: run {turn + 1}")
                bench = _Bench(hub, plane, client, folder)
                try:
                    await bench.run(samples, full=turn == 0)
                finally:
                    await bench.end()
    finally:
        await plane.stop()
    return samples


class _Bench(AgentBed):
    """One agent's life, from its first start to its end."""

    async def run(self, samples: dict[str, list[Sample]], *, full: bool) -> None:
        await self.configure(self.plane.kubeconfig_path)
        await self.process.start()
        self.rig.sealing_public = (await self.process.identity()).sealing_public
        await self.warm()
        samples[rows.AGENT_APPLY.id].append(await self._apply())
        samples[rows.AGENT_PEAK.id].append(Sample(_peak(self.pid), note="VmHWM, since the process began"))
        await asyncio.sleep(REST)
        samples[rows.AGENT_MEMORY.id].append(_held(self.pid))
        if full:
            samples[rows.AGENT_CPU.id].append(await self._idle_cpu())
            found = await self._edits()
            samples[rows.AGENT_EDIT.id].append(Sample(statistics.median(found) * 1000, note=f"{EDITS} edits"))
            worst = sorted(found)[math.ceil(len(found) * 0.99) - 1]
            samples[rows.AGENT_EDIT_99.id].append(
                Sample(worst * 1000, note=f"worst {max(found) * 1000:.0f} ms")
            )
            samples[rows.AGENT_BREAK.id] += await self._breaks()
        samples[rows.AGENT_RESYNC.id].append(await self._resync())
        samples[rows.AGENT_START.id].append(await self._first_request())
        if full:
            samples[rows.AGENT_CEL.id].append(await self._cel())

    # -- rows

    async def _apply(self) -> Sample:
        """All apps at once; before and after it, the same requests in a bare loop at the concurrency that suits best.

        Nothing else is asked of the API server meanwhile: what a run left is gone before the next one begins.
        """
        tried = {at_once: await self._bare(at_once) for at_once in BEST_OF}
        best = min(tried, key=tried.__getitem__)
        before = await self._bare(best)
        for app in range(APPS):
            await self.rig.deploy(f"app-{app}", *self.objects(app), assign=False)
        await asyncio.sleep(SETTLED)
        cpu, start = cpu_seconds([self.pid]), clock()
        await self.rig.assign()
        await self.until("the first object is there", lambda: self.count(2))
        first, had = clock(), self.there
        await self.until("500 objects are there", lambda: self.count(COUNT + 1), pause=self.far)
        last = clock()
        cpu = cpu_seconds([self.pid]) - cpu
        rate = (COUNT + 1 - had) / (last - first)
        bare = statistics.mean((before, await self._bare(best)))
        note = (
            f"{rate:.0f} a second, the bare loop {COUNT / bare:.0f} with {best} at once; {last - start:.2f} s from the"
            f" Assignment on, {1000 * cpu / COUNT:.2f} ms of CPU an object"
        )
        return Sample(100 * rate * bare / COUNT, note=note, load=os.getloadavg()[0])

    async def _bare(self, at_once: int) -> float:
        namespace = f"{NAMESPACE}-bare-{self.rig.cluster}-{at_once}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await self.client.create("/api/v1/namespaces", body)
        slots = asyncio.Semaphore(at_once)
        config = load_kubeconfig(self.plane.kubeconfig_path)
        async with RestClient(config, user_agent="bare", loads=orjson.loads, dumps=orjson.dumps) as client:

            async def one(obj: dict[str, Any]) -> None:
                path = f"/api/v1/namespaces/{namespace}/configmaps/{obj['metadata']['name']}"
                async with slots:
                    await client.apply(path, obj, field_manager="bare", force=True)

            objects = [obj for app in range(APPS) for obj in self.objects(app)]
            for obj in objects:
                obj["metadata"] |= {"labels": {"bench": "bare"}, "annotations": {"bench": "bare"}}
            warm = [config_map(f"warm-{number}", v="1") for number in range(at_once)]
            await asyncio.gather(*(one(obj) for obj in warm))  # connections are open
            await asyncio.sleep(SETTLED)
            start = clock()
            await asyncio.gather(*(one(obj) for obj in objects))
            took = clock() - start
        await self.drop_namespaces(namespace)
        return took

    async def _idle_cpu(self) -> Sample:
        before, start = cpu_seconds([self.pid]), clock()
        await asyncio.sleep(QUIET)
        share = (cpu_seconds([self.pid]) - before) / (clock() - start)
        return Sample(100 * share, note=f"over {QUIET:g} s")

    async def _edits(self) -> list[float]:
        """Each of another object; the clock runs from the answer to the edit."""
        found = []
        for number in range(EDITS):
            app, at = number % APPS, number // APPS
            path = self.rig.path("configmaps", f"cm-{app}-{at}")
            edited = await self.client.merge_patch(
                path, {"data": {"v": "by hand"}}, field_manager="kubectl-edit"
            )
            start = clock()
            async with asyncio.timeout(WAIT):
                watch = self.client.watch(
                    f"/api/v1/namespaces/{self.rig.namespace}/configmaps",
                    resource_version=edited["metadata"]["resourceVersion"],
                    field_selector=f"metadata.name=cm-{app}-{at}",
                )
                async with aclosing(watch) as events:
                    async for event in events:
                        if event.object.get("data", {}).get("v") == "1":
                            break
            found.append(clock() - start)
        return found

    async def _breaks(self) -> list[Sample]:
        """A Deployment's status says that its replicas cannot be made: until the hub's Application says Degraded."""
        namespace = "shop"
        await self.hub.application(f"{namespace}/broken", self.rig.cluster)
        await self.rig.deploy("broken", _deployment())
        path = self.rig.path("deployments", "web", group="apps/v1")
        await self.rig.live_when(path, lambda obj: obj is not None)
        found = []
        for _ in range(BREAKS):
            await self._say(path, available=True)
            await self.hub.observed_when(f"{namespace}/broken", health="Healthy")
            await asyncio.sleep(1.2)  # a report a second is what one app may send
            await self._say(path, available=False)
            start = clock()
            await self.hub.observed_when(f"{namespace}/broken", health="Degraded")
            found.append(Sample((clock() - start) * 1000))
        await self.rig.drop("broken")
        return found

    async def _say(self, path: str, *, available: bool) -> None:
        live = await self.client.get(path)
        failure = {"type": "ReplicaFailure", "status": str(not available), "reason": "FailedCreate"}
        fine = {"type": "Available", "status": str(available), "reason": "Bench"}
        progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        count = 1 if available else 0
        status = {
            "observedGeneration": live["metadata"]["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count),
            "conditions": [progress, fine, failure],
        }
        await self.client.merge_patch(path, {"status": status}, subresource="status")

    async def _resync(self) -> Sample:
        """Stopped, and started when all apps have a new release of the same content: until the hub knows that it runs.

        Without a new release nothing new would be said. No object may be written for it.
        """
        await self.process.end(signal.SIGTERM)
        before = await self.versions()
        keys = [f"shop/app-{app}" for app in range(APPS)]
        for key in keys:
            self.rig.apps[key]["release"] += 1
        await self.rig.assign()
        start = clock()
        await self.process.start()
        for key in keys:
            await self.observed(key, self.rig.apps[key]["release"])
        took, cpu = clock() - start, cpu_seconds([self.pid])
        changed = sum(version != before.get(name) for name, version in (await self.versions()).items())
        failure = f"{changed} objects were written by a restart" if changed else ""
        return Sample(took, note=f"from the start of the process, {cpu:.2f} s of CPU", failure=failure)

    async def _first_request(self) -> Sample:
        """Through a proxy that sees the first question about an app's own objects."""
        await self.process.end(signal.SIGTERM)
        async with FaultProxy(self.plane).running() as proxy:
            await self.configure(proxy.kubeconfig(self.folder))
            seen: Counter[str] = Counter()
            first = asyncio.Event()

            async def look(request: Any) -> None:
                seen[request.path] += 1
                if request.path.endswith("/secrets"):
                    first.set()  # the state: with it, everything is enforced

            proxy.fault = look
            start = clock()
            await self.process.start()
            async with asyncio.timeout(WAIT):
                await first.wait()
            took = clock() - start
            await self.process.end(signal.SIGTERM)
        await self.configure(self.plane.kubeconfig_path)
        return Sample(took, note=f"the agent's state is asked for, after {seen.total() - 1} requests")

    async def _cel(self) -> Sample:
        """The same process with a health rule in every app, against the one without."""
        await self.process.start()
        await asyncio.sleep(REST)
        before = memory([self.pid]).rss / 1e6
        rule = HealthRule(
            kind="ConfigMap", current="has(object.data) && object.data.v == '1'", failed="data.v == 'x'"
        )
        for app in range(APPS):
            await self.rig.deploy(f"app-{app}", *self.objects(app), assign=False, health_rules=[rule])
        await self.rig.assign()
        for app in range(APPS):
            await self.observed(f"shop/app-{app}", self.rig.apps[f"shop/app-{app}"]["release"])
        await asyncio.sleep(REST)
        return Sample(memory([self.pid]).rss / 1e6 - before)


def _deployment() -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "web"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def _held(pid: int) -> Sample:
    found = memory([pid])
    return Sample(found.rss / 1e6, note=f"RSS; PSS {found.pss / 1e6:.0f} MB")


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
