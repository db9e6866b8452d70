"""W50: one API server is the hub's and all 50 clusters'; each child is one ConfigMap in its cluster's namespace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.bench import rows
from tests.bench.bed import HUB_PART, NAMESPACE, Bed, Shape
from tests.bench.marks import Step, clock
from tests.bench.repository import config_map
from tests.bench.rows import Sample
from tests.bench.view import all_done, reported, target_of
from tests.bench.work import SETTLE, Stretch, application_set, apply, delete, nonce, refresh, revision_of

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from tests.bench.options import Options

CLUSTERS = 50
WAIT = 120.0
ROWS = (rows.W50_EXIST, rows.W50_HEALTHY, rows.W50_CHANGE, rows.W50_CPU, rows.W50_MEMORY)
Samples = dict[str, list[Sample]]


def shape(agent_processes: int) -> Shape:
    names = [f"c{number:02d}" for number in range(1, CLUSTERS + 1)]
    return Shape(
        hub="all",
        clusters=dict.fromkeys(names, "all"),
        agents={f"agents-{at + 1}": names[at::agent_processes] for at in range(agent_processes)},
        namespaces=[f"w50-{name}" for name in names],
    )


async def run(options: Options) -> Samples:
    """All rows of W50, one after the other on one fleet."""
    files = {
        f"w50/r{turn}/settings.yaml": _content(f"made {turn}", options) for turn in range(options.repeats)
    }
    samples: Samples = {row.id: [] for row in ROWS}
    async with options.bed("w50", shape(options.agent_processes), files) as bed:
        turns = options.repeats if options.wants(rows.W50_EXIST, rows.W50_HEALTHY) else 1
        for turn in range(turns):
            await _made(bed, turn, options, samples)
            if turn + 1 < turns:
                await delete(bed, [f"w50-r{turn}"])
        if options.wants(rows.W50_CHANGE, rows.W50_CPU):
            for turn in range(options.repeats):
                await _changed(bed, f"r{turns - 1}", turn, options, samples)
        await bed.view.quiet()
        held = bed.hub_memory()
        samples[rows.W50_MEMORY.id].append(Sample(held.rss / 1e6, note=f"RSS; PSS {held.pss / 1e6:.0f} MB"))
    return samples


async def _made(bed: Bed, turn: int, options: Options, samples: Samples) -> None:
    name = f"w50-r{turn}"
    manifest = _set(bed, name, f"w50/r{turn}", jinja=options.jinja)
    view = bed.view
    work = await Stretch.begin(bed)
    async with (
        view.goal("50 children exist", lambda: len(view.children(name)) == CLUSTERS) as exist,
        view.goal(
            "all Synced and Healthy at the parent", lambda: all_done(view.set(NAMESPACE, name), CLUSTERS)
        ) as healthy,
    ):
        work.mark(Step.ASKED, name)
        await apply(bed, manifest)
        work.mark(Step.ANSWERED, name)
        there = await exist.wait(seconds=WAIT, settle=0.0)
        done = await healthy.wait(seconds=WAIT, settle=SETTLE)
    samples[rows.W50_EXIST.id].append(await work.sample(there))
    samples[rows.W50_HEALTHY.id].append(await work.sample(done))
    options.note(f"made: {there - work.start:.3f} s, Healthy: {done - work.start:.3f} s")


async def _changed(bed: Bed, label: str, turn: int, options: Options, samples: Samples) -> None:
    name, view = f"w50-{label}", bed.view
    before = {app["metadata"]["name"]: target_of(app) for app in view.children(name)}
    commit = await bed.repository.commit(
        {f"w50/{label}/settings.yaml": _content(f"changed {turn} {clock()}", options)}
    )

    def everywhere() -> bool:
        children = view.children(name)
        return (
            revision_of(bed, name) == commit
            and len(children) == CLUSTERS
            and all_done(view.set(NAMESPACE, name), CLUSTERS)
            and all(reported(app) and target_of(app) != before[app["metadata"]["name"]] for app in children)
        )

    work = await Stretch.begin(bed)
    async with view.goal("all at the new revision", everywhere) as goal:
        work.mark(Step.ASKED, name)
        await refresh(bed, name)
        work.mark(Step.ANSWERED, name)
        done = await goal.wait(seconds=WAIT, settle=SETTLE)
    sample = await work.sample(done)
    samples[rows.W50_CHANGE.id].append(sample)
    options.note(f"changed: {sample.value:.3f} s")
    samples[rows.W50_CPU.id].append(replace(sample, value=sample.cpu[HUB_PART], phases=[], requests={}))


def _content(seed: str, options: Options) -> str:
    return config_map("settings", seed, template="{{ cluster.name }}" if options.jinja else "")


def _set(bed: Bed, name: str, path: str, *, jinja: bool) -> Manifest:
    manifest = application_set(
        name,
        repo_url=bed.repo_url,
        generators=[{"clusters": {}}],
        child=name + "-{{ cluster.name }}",
        path=path,
        namespace="w50-{{ cluster.name }}",
        jinja=jinja,
    )
    manifest["metadata"]["annotations"] = nonce()  # a new set's repository is fetched, as elsewhere
    return manifest
