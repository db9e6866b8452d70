from __future__ import annotations

import asyncio
import os
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.bundle import StoredBundle
from agent.contract.canonical import sha256_hex
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.operator.caches import Caches
from hub.operator.collector import Collector
from hub.operator.state import State, Target
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

HOUR = 3600.0


def blob_of(name: str) -> str:
    return sha256_hex(name.encode())


class World:
    """A store with bundles, two hours old, and the caches that name them."""

    def __init__(self, root: Path, index: RenderIndex, caches: Caches) -> None:
        self.store = DiskStore(root / "bundles")
        self.root = root / "bundles"
        self.index = index
        self.caches = caches
        self.state = State()
        self._version = 0

    def put(self, *names: str, age: float = 2 * HOUR) -> None:
        for name in names:
            blob = blob_of(name)
            self.store.put(StoredBundle(digest=f"d-{name}", blob=blob, data=name.encode()))
            self.index.put(f"k-{name}", f"d-{name}", blob)
            moment = time.time() - age
            os.utime(self.root / blob[:2] / blob, (moment, moment))

    def left(self) -> set[str]:
        return {path.read_text() for path in self.root.glob("*/*")}

    def assign(self, cluster: str, *names: str) -> None:
        apps = [{"app": f"n/{name}", "digest": f"d-{name}", "blob": blob_of(name)} for name in names]
        self.caches.assignments.observe(None, self._object(cluster, spec={"apps": apps}))

    def application(self, name: str, **status: Any) -> None:
        self.caches.applications.observe(None, self._object(name, status=status))

    def _object(self, name: str, **body: Any) -> dict[str, Any]:
        self._version += 1
        return {"metadata": {"name": name, "namespace": "n", "resourceVersion": str(self._version)}, **body}

    def collector(self, **periods: float) -> Collector:
        return Collector(self.caches, self.state, self.store, self.index, **periods)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[RenderIndex]:
    with closing(RenderIndex(tmp_path / "renders.sqlite")) as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, index: RenderIndex) -> AsyncIterator[World]:
    async with RestClient(KubeConfig(server="http://127.0.0.1:1"), user_agent="t") as client:
        yield World(tmp_path, index, Caches(client))


async def test_what_is_assigned_wanted_or_was_released_stays(world: World) -> None:
    names = ("assigned", "wanted", "planned", "released", "earlier", "unnamed", "unnamed-too")
    world.put(*names)
    world.put("new", age=0.5 * HOUR)
    world.assign("eu1", "assigned")
    world.state.targets["n/a"] = Target(plan=1, digest="d-wanted", blob=blob_of("wanted"))
    world.application(
        "b",
        sync={"targetBlob": blob_of("planned"), "released": "d-released"},
        history=[{"release": 2, "digest": "d-released"}, {"release": 1, "digest": "d-earlier"}],
    )
    world.application("c")
    collector = world.collector()
    assert await collector.collect() == 0, "the first round only notes what is named"
    assert await collector.collect() == 2
    assert world.left() == {*names[:5], "new"}


async def test_what_was_named_a_round_ago_stays(world: World) -> None:
    world.put("old", "next")
    world.assign("eu1", "old")
    collector = world.collector()
    await collector.collect()
    world.assign("eu1", "next")
    assert await collector.collect() == 0
    assert await collector.collect() == 1
    assert world.left() == {"next"}


async def test_f5_an_empty_list_removes_nothing(world: World) -> None:
    world.put("a", "b")
    collector = world.collector()
    for _ in range(3):
        assert await collector.collect() == 0
    assert world.left() == {"a", "b"}


async def test_what_is_used_again_is_not_collected_before_its_user_is_known(world: World) -> None:
    world.put("a", "reverted")
    world.assign("eu1", "a")
    collector = world.collector()
    await collector.collect()
    assert world.store.has(blob_of("reverted"))
    assert await collector.collect() == 0
    assert world.left() == {"a", "reverted"}


async def test_an_unreadable_index_removes_nothing_and_stops_nobody(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("a", "b")
    world.assign("eu1", "a")
    for reflector in world.caches.reflectors.values():
        reflector._first.set()  # as if listed
    world.index = RenderIndex(tmp_path / "other.sqlite")
    world.index.close()
    (tmp_path / "other.sqlite").write_bytes(b"no database at all" * 100)
    collecting = asyncio.create_task(world.collector(first=0, interval=0.01, older_than=0).run())
    async with asyncio.timeout(30):
        while caplog.text.count("not collected this time") < 3:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.01)
    collecting.cancel()
    with suppress(asyncio.CancelledError):
        await collecting
    assert world.left() == {"a", "b"}


async def test_it_waits_for_the_caches_and_then_goes_round(world: World) -> None:
    world.put("a", "b")
    world.assign("eu1", "a")
    collecting = asyncio.create_task(world.collector(first=0, interval=0.01).run())
    await asyncio.sleep(0.1)
    assert world.left() == {"a", "b"}, "nothing is known yet"
    for reflector in world.caches.reflectors.values():
        reflector._first.set()
    async with asyncio.timeout(30):
        while world.left() != {"a"}:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    collecting.cancel()
    with suppress(asyncio.CancelledError):
        await collecting
