"""What a process that renders 10,000 children holds: `python -m tests.bench.rendermemory` prints it as JSON, in MB."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

from agent.contract.bundle import ApplyPolicy
from agent.contract.sealing import new_keypair
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.fleet.githttp import GitServer
from hub.fleet.tools import find_programs
from hub.render.pool import WorkerPool
from hub.render.renderer import Renderer
from hub.sources.git import GitSource
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex
from tests.bench.rendering import BRANCH, _files
from tests.bench.repository import NAME, Repository

CHILDREN = 10_000
_AT_ONCE = 200


async def measure(root: Path) -> dict[str, float]:
    """Memory before anything, when half of it is done, and at the end."""
    repository = Repository(root)
    await repository.create({path: text for path, text in _files().items() if path.startswith("chart/")})
    server = GitServer(repository.served)
    await server.start()
    source = GitSource(root / "mirrors", credentials=lambda _: None)
    index = RenderIndex(root / "index.sqlite")
    url = server.url_of(NAME)
    found: dict[str, float] = {}
    try:
        async with WorkerPool(programs=find_programs()) as pool:
            renderer = Renderer(
                source=source,
                pool=pool,
                store=DiskStore(root / "store"),
                index=index,
                digest_key=os.urandom(32),
            )
            commit = await source.resolve(url, BRANCH)
            key = new_keypair()[1]
            found["before"] = _resident()
            for start in range(0, CHILDREN, _AT_ONCE):
                await asyncio.gather(
                    *(_one(renderer, at, url, commit, key) for at in range(start, start + _AT_ONCE))
                )
                if start + _AT_ONCE == CHILDREN // 2:
                    found["middle"] = _resident()
            found["end"] = _resident()
    finally:
        index.close()
        await source.close()
        await server.stop()
    return found


async def _one(renderer: Renderer, at: int, url: str, commit: str, key: bytes) -> None:
    helm = {"releaseName": "web", "values": {"replicas": at % 9, "a": f"v{at}"}}
    one = {"repoURL": url, "revision": BRANCH, "path": "chart", "helm": helm}
    spec = ApplicationSpec.model_validate({"cluster": f"c{at % 1000}", "namespace": "shop", "sources": [one]})
    await renderer.render(
        f"shop/web-{at}",
        spec,
        cluster=ClusterView(spec.cluster),
        commits={(url, BRANCH): commit},
        policy=ApplyPolicy(namespace="shop"),
        sealing_key=key,
        version=f"{at}/1",
    )


def _resident() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="axletree-bench-") as folder:
        sys.stdout.write(json.dumps(asyncio.run(measure(Path(folder)))))


if __name__ == "__main__":
    main()
