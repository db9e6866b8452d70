"""Rows about one spoke: drift, a restart without the hub, and what an agent holds when nothing happens."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING

from hub.fleet.services import HUB
from tests.bench.marks import Step, clock, phases
from tests.bench.rows import Sample

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from tests.bench.bed import Bed

_EDITED = "edited by hand"
_EDITOR = "kubectl-edit"
_WAIT = 60.0
_IDLE_SECONDS = 5.0


async def idle(bed: Bed) -> list[Sample]:
    """Every agent process of the fleet, after some seconds of nothing."""
    await bed.view.quiet(for_seconds=_IDLE_SECONDS)
    samples = []
    for name in bed.shape.agents:
        held = bed.agent_memory(name)
        samples.append(Sample(held.rss / 1e6, note=f"RSS; PSS {held.pss / 1e6:.0f} MB"))
    return samples


async def drift(bed: Bed, edits: int) -> list[Sample]:
    """Each edit is of another object, as far as there are as many: a fight over one is paced on purpose."""
    objects = _objects(bed)
    samples = []
    for cluster, obj in itertools.islice(itertools.cycle(objects), edits):
        await bed.view.quiet(for_seconds=0.3)
        meter, first = bed.meter(), len(bed.view.marks)
        start = clock()
        corrected = await _edit_until_corrected(bed, cluster, obj)
        cpu, window = meter.read()
        steps = phases(bed.view.marks[first:], start=start, end=corrected)
        load = os.getloadavg()[0]
        samples.append(Sample(corrected - start, steps, cpu=cpu, window=window, load=load))
    return samples


async def restart(bed: Bed, repeats: int) -> list[Sample]:
    """Hub and agent are stopped, an object is edited, the agent's process is started: the clock runs from there."""
    objects = _objects(bed)[:repeats]
    await bed.view.quiet()
    await bed.stop(HUB)
    samples = []
    for cluster, obj in objects:
        samples.append(await _restarted(bed, cluster, obj))
        await bed.view.quiet()
    bed.start_hub()
    await bed.hub_answers()
    return samples


async def _restarted(bed: Bed, cluster: str, obj: Manifest) -> Sample:
    name = next(agent for agent, served in bed.shape.agents.items() if cluster in served)

    def as_before() -> bool:
        return _as_before(bed, cluster, obj)

    await bed.stop(name)
    await _edit(bed, cluster, obj)
    await bed.view.until("the edit is seen", lambda: not as_before())
    first = len(bed.view.marks)
    async with bed.view.goal(f"{cluster}/{obj['metadata']['name']} is corrected", as_before) as goal:
        start = clock()
        bed.start_agents(name)
        corrected = await goal.wait(seconds=_WAIT, settle=0.1)
    return Sample(
        corrected - start,
        phases=phases(bed.view.marks[first:], start=start, end=corrected),
        load=os.getloadavg()[0],
        note="from the start of the process",
    )


async def _edit_until_corrected(bed: Bed, cluster: str, obj: Manifest) -> float:
    """The moment at which the object is seen to be as before, after it was seen to be edited."""
    spoke = bed.shape.clusters[cluster]
    edited = asyncio.Event()

    def corrected() -> bool:
        found = bed.view.config_map(spoke, obj["metadata"]["namespace"], obj["metadata"]["name"])
        if found is not None and found["data"].get("seed") == _EDITED:
            edited.set()
        return edited.is_set() and _as_before(bed, cluster, obj)

    async with bed.view.goal(f"{cluster}/{obj['metadata']['name']} is corrected", corrected) as goal:
        bed.view.mark(Step.ASKED, clock(), obj["metadata"]["name"])
        await _edit(bed, cluster, obj)
        bed.view.mark(Step.ANSWERED, clock(), obj["metadata"]["name"])
        return await goal.wait(seconds=_WAIT, settle=0.05)


async def _edit(bed: Bed, cluster: str, obj: Manifest) -> None:
    path = f"/api/v1/namespaces/{obj['metadata']['namespace']}/configmaps/{obj['metadata']['name']}"
    await bed.api_of(cluster).merge_patch(path, {"data": {"seed": _EDITED}}, field_manager=_EDITOR)


def _as_before(bed: Bed, cluster: str, obj: Manifest) -> bool:
    spoke = bed.shape.clusters[cluster]
    found = bed.view.config_map(spoke, obj["metadata"]["namespace"], obj["metadata"]["name"])
    return found is not None and found["data"] == obj["data"]


def _objects(bed: Bed) -> list[tuple[str, Manifest]]:
    """Every deployed ConfigMap with its cluster, one cluster after the other."""
    by_cluster = [
        [
            (cluster, obj)
            for obj in sorted(bed.view.config_maps(spoke), key=lambda each: each["metadata"]["name"])
        ]
        for cluster, spoke in bed.shape.clusters.items()
    ]
    return [pair for pairs in zip(*by_cluster, strict=True) for pair in pairs]
