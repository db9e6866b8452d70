"""Rendering alone, no fleet: one chart for many clusters, overlays of one base, a large bundle, one commit of many."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from agent.contract.bundle import ApplyPolicy, Bundle, encode
from agent.contract.sealing import new_keypair
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.fleet.githttp import GitServer
from hub.fleet.tools import ensure_tools, find_programs
from hub.render.pool import WorkerPool
from hub.render.renderer import Renderer
from hub.sources.git import GitSource
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex
from tests.bench.marks import BenchFailed, clock
from tests.bench.repository import BRANCH, NAME, Repository
from tests.bench.rows import (
    RENDER_BUNDLE,
    RENDER_HELM,
    RENDER_KUSTOMIZE,
    RENDER_MEMORY,
    RENDER_ONE,
    RENDER_SAME,
    Sample,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.render.pipeline import RenderRequest
    from hub.render.seal import SealedResult, Sealing
    from tests.bench.options import Options
    from tests.bench.rows import Row

ROWS: tuple[Row, ...] = (
    RENDER_HELM,
    RENDER_SAME,
    RENDER_KUSTOMIZE,
    RENDER_ONE,
    RENDER_BUNDLE,
    RENDER_MEMORY,
)
CLUSTERS = 1000
OVERLAYS = 1000
_AT_ONCE = 200
_TEMPLATES = 12
_OBJECTS = 5000
_DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: web}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: registry.example.com/web:1
          env: [{{name: A, value: {value}}}]
          resources: {{requests: {{cpu: 10m, memory: 20Mi}}, limits: {{memory: 40Mi}}}}
          ports: [{{containerPort: 8080}}]
"""


class _Counting(WorkerPool):
    renders = 0

    async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult:
        self.renders += 1
        return await super().render_sealed(request, sealing)


async def run(options: Options) -> dict[str, list[Sample]]:
    """The samples of all rows: each is one run over many renderings, so one is enough."""
    await ensure_tools()
    root = options.root / "rendering"
    root.mkdir()
    repository = Repository(root)
    await repository.create(_files())
    server = GitServer(repository.served)
    await server.start()
    source = GitSource(root / "mirrors", credentials=lambda _: None)
    index = RenderIndex(root / "index.sqlite")
    samples: dict[str, list[Sample]] = {}
    try:
        for size, rows in ((1, ROWS[:2]), (4, ROWS[2:4])):
            async with _Counting(size=size, programs=find_programs()) as pool:
                await asyncio.gather(*(pool.ping() for _ in range(size)))
                renderer = Renderer(
                    source=source,
                    pool=pool,
                    store=DiskStore(root / "store"),
                    index=index,
                    digest_key=os.urandom(32),
                )
                work = _Work(repository, server.url_of(NAME), source, renderer, pool)
                samples |= await (work.charts() if RENDER_HELM in rows else work.overlays())
    finally:
        index.close()
        await source.close()
        await server.stop()
    samples[RENDER_MEMORY.id] = [await _memory()]
    samples[RENDER_BUNDLE.id] = [_bundle() for _ in range(options.repeats)]
    return samples


class _Work:
    def __init__(
        self, repository: Repository, url: str, source: GitSource, renderer: Renderer, pool: _Counting
    ) -> None:
        self._repository = repository
        self._url = url
        self._source = source
        self._renderer = renderer
        self._pool = pool
        self._key = new_keypair()[1]

    async def charts(self) -> dict[str, list[Sample]]:
        specs = [
            self._spec(
                at, path="chart", helm={"releaseName": "web", "values": {"replicas": at % 9, "a": f"v{at}"}}
            )
            for at in range(CLUSTERS)
        ]
        first = await self._all(specs)
        self._expect(CLUSTERS)
        again = await self._all(specs)
        self._expect(CLUSTERS)
        found = await self._pool.ping()
        note = f"worker at its peak: {found['rss'] // 1024} MB"
        return {RENDER_HELM.id: [Sample(first * 1000, note=note)], RENDER_SAME.id: [Sample(again * 1e6)]}

    async def overlays(self) -> dict[str, list[Sample]]:
        specs = [self._spec(at, path=f"overlays/{at}") for at in range(OVERLAYS)]
        each = await self._all(specs)
        self._expect(OVERLAYS)
        await self._repository.commit({"overlays/7/kustomization.yaml": _overlay(7, "changed-")})
        await self._source.resolve(self._url, BRANCH, fresh=True)
        before = self._pool.renders
        await self._all(specs)
        more = self._pool.renders - before
        return {RENDER_KUSTOMIZE.id: [Sample(each * 1000)], RENDER_ONE.id: [Sample(float(more))]}

    def _spec(self, at: int, **source: Any) -> ApplicationSpec:
        one = {"repoURL": self._url, "revision": BRANCH, **source}
        return ApplicationSpec.model_validate({"cluster": f"c{at}", "namespace": "shop", "sources": [one]})

    async def _all(self, specs: Sequence[ApplicationSpec]) -> float:
        """Seconds for each of them."""
        commit = await self._source.resolve(self._url, BRANCH)
        policy = ApplyPolicy(namespace="shop")
        gc.collect()  # one of the whole bench's heap takes longer than a thousand looks
        start = clock()
        for at in range(0, len(specs), _AT_ONCE):
            await asyncio.gather(
                *(
                    self._renderer.render(
                        f"shop/web-{spec.cluster}",
                        spec,
                        cluster=ClusterView(spec.cluster),
                        commits={(self._url, BRANCH): commit},
                        policy=policy,
                        sealing_key=self._key,
                        version=spec.cluster,
                    )
                    for spec in specs[at : at + _AT_ONCE]
                )
            )
        return (clock() - start) / len(specs)

    def _expect(self, renders: int) -> None:
        if self._pool.renders != renders:
            raise BenchFailed(f"{self._pool.renders} renderings instead of {renders}")


async def _memory() -> Sample:
    """In a process of its own: this one has held all that was measured before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.rendermemory", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise BenchFailed("the process that was to render 10,000 children failed")
    found = json.loads(out)
    grown = found["end"] - found["middle"]
    return Sample(found["end"], note=f"{grown:+.0f} MB over the second half; {found['before']:.0f} MB before")


def _bundle() -> Sample:
    filler = "x" * 800
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"c{at}", "namespace": "shop", "labels": {"app": "web"}},
            "data": {"seed": f"{at}", "text": filler},
        }
        for at in range(_OBJECTS)
    ]
    bundle = Bundle(policy=ApplyPolicy(namespace="shop"), objects=objects)
    start = clock()
    encode(bundle, digest_key=b"k" * 32, recipient=b"")
    return Sample((clock() - start) * 1000)


def _files() -> dict[str, str]:
    files = {
        "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "chart/values.yaml": "replicas: 1\na: x\n",
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": _DEPLOYMENT.format(name="web", replicas=1, value="x"),
    }
    for at in range(_TEMPLATES):
        name, replicas = f"{{{{ .Release.Name }}}}-{at}", "{{ .Values.replicas }}"
        files[f"chart/templates/{at}.yaml"] = _DEPLOYMENT.format(
            name=name, replicas=replicas, value="{{ .Values.a | quote }}"
        )
    for at in range(OVERLAYS):
        files[f"overlays/{at}/kustomization.yaml"] = _overlay(at, "o-")
    return files


def _overlay(at: int, prefix: str) -> str:
    return f"resources: [../../base]\nnamePrefix: {prefix}{at}-\nreplicas: [{{name: web, count: {at % 9}}}]\n"
