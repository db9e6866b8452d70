"""What the rows do to a fleet: sets made, changed, taken away; and the stop-watch around it."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_APPROVE, ANNOTATION_REFRESH, API_VERSION
from hub.operator import paths
from tests.bench.bed import NAMESPACE
from tests.bench.marks import Step, clock, phases
from tests.bench.repository import BRANCH
from tests.bench.rows import Sample

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from tests.bench.bed import Bed

MANAGER = "bench"
SETTLE = 0.4
"""Seconds for which a result has to last before it counts; they are not part of the figure."""
_NONCES = itertools.count(1)


class Stretch:
    """One timed piece of work on a fleet that was at rest."""

    def __init__(self, bed: Bed, requests: Counter[str]) -> None:
        self._bed = bed
        self._requests = requests
        self._first = len(bed.view.marks)
        self._meter = bed.meter()
        self.start = clock()

    @classmethod
    async def begin(cls, bed: Bed) -> Stretch:
        await bed.view.quiet()
        return cls(bed, await bed.requests())

    def mark(self, step: Step, subject: str) -> None:
        self._bed.view.mark(step, clock(), subject)

    def times(self, step: Step, *, until: float) -> list[float]:
        """When this step was seen, up to a moment."""
        marks = self._bed.view.marks[self._first :]
        return [mark.at for mark in marks if mark.step is step and mark.at <= until]

    async def sample(self, reached: float, *, start: float | None = None, note: str = "") -> Sample:
        """The figure from `start` (the beginning, if not given) to `reached`, with all that is known of it."""
        begin = self.start if start is None else start
        marks = self._bed.view.marks[self._first :]
        cpu, window = self._meter.read()
        return Sample(
            value=reached - begin,
            phases=phases(marks, start=begin, end=reached),
            cpu=cpu,
            window=window,
            requests=dict((await self._bed.requests() - self._requests).most_common()),
            load=os.getloadavg()[0],
            note=note,
        )


def application_set(
    name: str,
    *,
    repo_url: str,
    generators: list[dict[str, Any]],
    child: str,
    path: str,
    namespace: str,
    cluster: str = "{{ cluster.name }}",
    jinja: bool = False,
    patch: str | None = None,
) -> Manifest:
    """A parent whose children deploy one directory each. `child`, `path`, `namespace` are templates."""
    source: dict[str, Any] = {"repoURL": repo_url, "revision": BRANCH, "path": path}
    if jinja:
        source["jinja"] = {"enabled": True}
    spec: dict[str, Any] = {
        "generators": generators,
        "template": {
            "metadata": {"name": child},
            "spec": {"cluster": cluster, "namespace": namespace, "sources": [source]},
        },
    }
    if patch is not None:
        spec["templatePatch"] = patch
    return {
        "apiVersion": API_VERSION,
        "kind": "ApplicationSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def nonce() -> dict[str, str]:
    """The annotation by which a webhook asks for a fetch."""
    return {ANNOTATION_REFRESH: f"bench-{next(_NONCES)}"}


def path_of(name: str) -> str:
    return paths.application_set(f"{NAMESPACE}/{name}")


async def apply(bed: Bed, *manifests: Manifest) -> None:
    """All at once."""
    await asyncio.gather(
        *(
            bed.hub_api.apply(path_of(each["metadata"]["name"]), each, field_manager=MANAGER, force=True)
            for each in manifests
        )
    )


async def refresh(bed: Bed, name: str) -> None:
    """What a webhook's handler does."""
    await bed.hub_api.merge_patch(
        path_of(name), {"metadata": {"annotations": nonce()}}, field_manager=MANAGER
    )


async def delete(bed: Bed, names: Iterable[str]) -> None:
    """Delete sets with all that they deployed, approved, and wait until it is gone."""
    names = list(names)
    for name in names:
        approval = {"metadata": {"annotations": {ANNOTATION_APPROVE: "deletions"}}}
        await bed.hub_api.merge_patch(path_of(name), approval, field_manager=MANAGER)
    for name in names:
        try:
            await bed.hub_api.delete(path_of(name))
        except ApiError as error:
            if error.status != 404:
                raise
    view = bed.view
    await view.until(
        f"the sets {', '.join(names)} are gone",
        lambda: not any(view.children(name) or view.set(NAMESPACE, name) for name in names),
    )


def revision_of(bed: Bed, name: str) -> str:
    """The commit that the set's plan was made from."""
    status = bed.view.set(NAMESPACE, name).get("status") or {}
    revisions: dict[str, str] = (status.get("plan") or {}).get("revisions") or {}
    return revisions.get(f"{bed.repo_url}@{BRANCH}", "")
