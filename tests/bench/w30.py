"""W30: a hub and three clusters, each with its own API server and agent process; and the rows on that fleet."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

from tests.bench import rows, spokes
from tests.bench.bed import NAMESPACE, Bed, Shape
from tests.bench.marks import BenchFailed, Step, clock
from tests.bench.repository import config_map
from tests.bench.rows import Sample
from tests.bench.view import all_done, reported, target_of
from tests.bench.work import SETTLE, Stretch, application_set, apply, delete, nonce, refresh, revision_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from tests.bench.options import Options

CLUSTERS = ("s1", "s2", "s3")
APPS = tuple(f"a{number:02d}" for number in range(10))
LINKS = tuple(range(1, 6))
TARGET_NAMESPACE = "w30"
WAIT = 60.0
PRIMER = "primer"
ROWS = (
    rows.W30_MADE,
    rows.W30_ALL,
    rows.W30_ONE,
    rows.DRIFT,
    rows.RESTART,
    rows.IDLE,
    rows.CHAIN,
)
Samples = dict[str, list[Sample]]


def shape() -> Shape:
    return Shape(
        hub="hub",
        clusters={name: name for name in CLUSTERS},
        agents={f"agent-{name}": [name] for name in CLUSTERS},
        namespaces=[TARGET_NAMESPACE],
    )


async def run(options: Options) -> Samples:
    """All rows of this fleet, one after the other."""
    files = {
        f"w30/r{turn}/{app}/{app}.yaml": config_map(app, f"made {turn}")
        for turn in range(options.repeats)
        for app in APPS
    }
    files |= {
        f"chain/r{turn}/{link}/link.yaml": config_map(f"link-{link}", f"made {turn}")
        for turn in range(options.repeats)
        for link in LINKS
    }
    samples: Samples = {row.id: [] for row in ROWS}
    async with options.bed("w30", shape(), files) as bed:
        await _prime(bed)
        turns = options.repeats if options.wants(rows.W30_MADE) else 1
        for turn in range(turns):
            samples[rows.W30_MADE.id].append(await _made(bed, turn))
            if turn + 1 < turns:
                await delete(bed, _sets(turn))
        await _changes(bed, turns - 1, options, samples)
        if options.wants(rows.IDLE):
            samples[rows.IDLE.id] += await spokes.idle(bed)
        if options.wants(rows.DRIFT):
            samples[rows.DRIFT.id] += await spokes.drift(bed, options.edits)
        if options.wants(rows.CHAIN):
            for turn in range(options.repeats):
                samples[rows.CHAIN.id].append(await _chain(bed, turn))
                await delete(bed, [f"chain-r{turn}"])
        if options.wants(rows.RESTART):
            samples[rows.RESTART.id] += await spokes.restart(bed, options.repeats)
    return samples


async def _changes(bed: Bed, turn: int, options: Options, samples: Samples) -> None:
    for row, apps in ((rows.W30_ALL, APPS), (rows.W30_ONE, APPS[:1])):
        if options.wants(row):
            for repeat in range(options.repeats):
                samples[row.id].append(await _changed(bed, turn, apps, f"{row.id} {repeat}"))


async def _prime(bed: Bed) -> None:
    """A set without children: the hub has fetched the repository before the clock starts."""
    primer = application_set(
        PRIMER,
        repo_url=bed.repo_url,
        generators=[
            {"git": {"repoURL": bed.repo_url, "revision": "main", "directories": [{"path": "none/*"}]}}
        ],
        child="none",
        path="none",
        namespace="none",
        cluster="s1",
    )
    primer["metadata"]["annotations"] = nonce()
    await apply(bed, primer)
    await bed.view.until("the repository is fetched", lambda: bool(revision_of(bed, PRIMER)))


async def _made(bed: Bed, turn: int) -> Sample:
    manifests = [_set(bed, turn, app) for app in APPS]
    view = bed.view
    work = await Stretch.begin(bed)

    def healthy() -> bool:
        return all(all_done(view.set(NAMESPACE, name), len(CLUSTERS)) for name in _sets(turn))

    async with view.goal("30 children Healthy at their parents", healthy) as goal:
        work.mark(Step.ASKED, "10 sets")
        await apply(bed, *manifests)
        work.mark(Step.ANSWERED, "10 sets")
        done = await goal.wait(seconds=WAIT, settle=SETTLE)
    made = max(work.times(Step.CHILD, until=done))
    return await work.sample(
        done, note=f"from the first request on; the last child was there {done - made:.3f} s before"
    )


async def _changed(bed: Bed, turn: int, apps: Iterable[str], seed: str) -> Sample:
    """The clock starts when the hub has the answer from Git that its plan is made from; it may ask again later."""
    view = bed.view
    changed = [f"w30-r{turn}-{app}" for app in apps]
    before = {app["metadata"]["name"]: target_of(app) for name in changed for app in view.children(name)}
    commit = await bed.repository.commit(
        {f"w30/r{turn}/{app}/{app}.yaml": config_map(app, f"{seed} {clock()}") for app in apps}
    )

    def everywhere() -> bool:
        children = [app for name in changed for app in view.children(name)]
        return (
            len(children) == len(changed) * len(CLUSTERS)
            and all(reported(app) and target_of(app) != before[app["metadata"]["name"]] for app in children)
            and all(
                revision_of(bed, name) == commit and all_done(view.set(NAMESPACE, name), len(CLUSTERS))
                for name in changed
            )
        )

    work = await Stretch.begin(bed)
    async with view.goal(f"{len(changed)} apps at the new revision", everywhere) as goal:
        work.mark(Step.ASKED, changed[0])
        await refresh(bed, changed[0])
        work.mark(Step.ANSWERED, changed[0])
        done = await goal.wait(seconds=WAIT, settle=SETTLE)
    targets = work.times(Step.TARGET, until=done)
    served = work.times(Step.GIT_SERVED, until=min(targets, default=done))
    if not served:
        raise BenchFailed("the hub did not ask Git")
    start = served[-1]
    fetched = start - work.start
    return await work.sample(
        done, start=start, note=f"from Git's answer on, {fetched:.3f} s after the refresh"
    )


async def _chain(bed: Bed, turn: int) -> Sample:
    name, view = f"chain-r{turn}", bed.view
    manifest = application_set(
        name,
        repo_url=bed.repo_url,
        generators=[{"list": {"elements": [{"link": str(link), "before": str(link - 1)} for link in LINKS]}}],
        child=name + "-{{ link }}",
        path=f"chain/r{turn}/" + "{{ link }}",
        namespace=TARGET_NAMESPACE,
        cluster=CLUSTERS[0],
        patch='{% if before != "0" %}\nspec:\n  dependsOn: [{name: "'
        + name
        + '-{{ before }}"}]\n{% endif %}\n',
    )
    work = await Stretch.begin(bed)
    async with view.goal(
        "the chain is Healthy", lambda: all_done(view.set(NAMESPACE, name), len(LINKS))
    ) as goal:
        work.mark(Step.ASKED, name)
        await apply(bed, manifest)
        work.mark(Step.ANSWERED, name)
        done = await goal.wait(seconds=WAIT, settle=SETTLE)
    first = work.times(Step.ASSIGNED, until=done)[0]
    applied = work.times(Step.APPLIED, until=done)
    gaps = [f"{1000 * (after - before):.0f}" for before, after in itertools.pairwise(applied)]
    note = f"{done - work.start:.3f} s from the request; ms from one link's ConfigMap to the next: {', '.join(gaps)}"
    links = statistics.median(after - before for before, after in itertools.pairwise(applied))
    return await work.sample(done, start=first, note=f"{note} (median {links:.3f} s)")


def _sets(turn: int) -> list[str]:
    return [f"w30-r{turn}-{app}" for app in APPS]


def _set(bed: Bed, turn: int, app: str) -> Manifest:
    name = f"w30-r{turn}-{app}"
    return application_set(
        name,
        repo_url=bed.repo_url,
        generators=[{"clusters": {}}],
        child=name + "-{{ cluster.name }}",
        path=f"w30/r{turn}/{app}",
        namespace=TARGET_NAMESPACE,
    )
