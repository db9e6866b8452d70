from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from agent.contract.bundle import BundleCorrupt, StoredBundle
from agent.contract.canonical import sha256_hex
from hub.store.choose import StoreInvalid, open_store
from hub.store.disk import DiskStore
from hub.store.port import StoreAway
from hub.store.shared import SharedStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hub.store.port import BundleStore

HOUR = 3600.0


def bundle(content: bytes) -> StoredBundle:
    return StoredBundle(digest="d", blob=sha256_hex(content), data=content)


class Place:
    """A `Remote` that can be away, also in the middle of a list."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, float]] = {}
        self.away = False
        self.listed: int | None = None
        self.reads = 0

    def _ask(self) -> None:
        if self.away:
            raise StoreAway("it is away")

    def put(self, name: str, data: bytes) -> None:
        self._ask()
        self.held[name] = data, time.time()

    def get(self, name: str) -> bytes | None:
        self._ask()
        self.reads += 1
        return self.held.get(name, (None, 0))[0]

    def names(self) -> Iterator[tuple[str, float]]:
        self._ask()
        for number, (name, (_, at)) in enumerate(self.held.items()):
            if number == self.listed:
                raise StoreAway("cut in the middle")
            yield name, at

    def delete(self, names: Iterable[str]) -> None:
        self._ask()
        for name in names:
            self.held.pop(name, None)

    def close(self) -> None:
        self.away = True

    def age(self, *bundles: StoredBundle, seconds: float = 2 * HOUR) -> None:
        for one in bundles:
            self.held[one.blob] = one.data, time.time() - seconds


class Process:
    """One hub process at that place."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.folder = folder
        self.store = SharedStore(place, DiskStore(folder))

    def age(self, *bundles: StoredBundle, seconds: float = 2 * HOUR) -> None:
        moment = time.time() - seconds
        for one in bundles:
            os.utime(self.folder / one.blob[:2] / one.blob, (moment, moment))

    def collect(self, *live: StoredBundle) -> int:
        return self.store.collect({one.blob for one in live}, older_than=HOUR, now=time.time())


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def leader(place: Place, tmp_path: Path) -> Process:
    return Process(place, tmp_path / "leader")


async def test_what_one_process_keeps_another_fetches_once(
    place: Place, leader: Process, tmp_path: Path
) -> None:
    store: BundleStore = leader.store
    gateway = Process(place, tmp_path / "gateway").store
    one = bundle(b"one")
    assert await gateway.fetch(one.blob) is None
    await store.keep(one)
    assert store.has(one.blob)
    assert store.get(one.blob) == b"one"
    place.reads = 0
    assert [await gateway.fetch(one.blob) for _ in range(3)] == [b"one"] * 3
    assert place.reads == 1
    assert not gateway.has(one.blob), "only who kept it knows that it is in the shared place"
    place.away = True
    assert await gateway.fetch(one.blob) == b"one"
    with pytest.raises(StoreAway):
        await gateway.fetch("0" * 64)


async def test_a_bundle_that_did_not_reach_the_shared_place_is_not_kept(
    place: Place, leader: Process, caplog: pytest.LogCaptureFixture
) -> None:
    place.away = True
    one = bundle(b"one")
    for _ in range(3):
        with pytest.raises(StoreAway) as away:
            await leader.store.keep(one)
        assert away.value.reason == "StoreAway"
    assert len(caplog.records) == 1
    assert "it is away" in caplog.text
    assert not leader.store.has(one.blob)
    with pytest.raises(BundleCorrupt):
        await leader.store.keep(StoredBundle(digest="d", blob="0" * 64, data=b"x"))


async def test_f24_what_is_corrupt_in_the_shared_place_is_nothing(
    place: Place, leader: Process, caplog: pytest.LogCaptureFixture
) -> None:
    one = bundle(b"one")
    place.held[one.blob] = b"other", time.time()
    assert await leader.store.fetch(one.blob) is None
    assert one.blob in caplog.text


async def test_memory_is_bounded(place: Place, tmp_path: Path) -> None:
    store = SharedStore(place, DiskStore(tmp_path), memory_bytes=100)
    many = [bundle(bytes([number]) * 40) for number in range(5)]
    place.age(*many, bundle(b"x" * 200))
    for one in (*many, bundle(b"x" * 200)):
        assert await store.fetch(one.blob) == one.data
    assert len(store._memory) == 2


async def test_collecting_removes_what_is_neither_live_nor_young_nor_in_use(
    place: Place, leader: Process
) -> None:
    live, old, young, used, foreign = (bundle(name) for name in (b"live", b"old", b"young", b"used", b"else"))
    for one in (live, old, young, used):
        await leader.store.keep(one)
    place.age(live, old, used, foreign)
    leader.age(live, old, young)
    place.held["README"] = b"mine", 0.0
    assert leader.collect(live) == 2  # `foreign` is what a leader before this one left
    assert place.held.keys() == {live.blob, young.blob, used.blob, "README"}
    assert not leader.store.has(old.blob)


async def test_a_place_that_is_away_or_is_cut_deletes_nothing(place: Place, leader: Process) -> None:
    many = [bundle(str(number).encode()) for number in range(4)]
    for one in many:
        await leader.store.keep(one)
    place.age(*many)
    leader.age(*many)
    before = dict(place.held)
    place.listed = 2
    with pytest.raises(StoreAway):
        leader.collect()
    place.listed, place.away = None, True
    with pytest.raises(StoreAway):
        leader.collect()
    place.away = False
    assert place.held == before
    assert all(leader.store.get(one.blob) for one in many)


async def test_f1_a_place_that_was_emptied_gets_back_what_is_live(
    place: Place, leader: Process, caplog: pytest.LogCaptureFixture
) -> None:
    live, old = bundle(b"live"), bundle(b"old")
    for one in (live, old):
        await leader.store.keep(one)
    leader.age(old)
    place.held.clear()
    assert leader.collect(live) == 0
    assert place.held.keys() == {live.blob}
    assert "put back" in caplog.text
    assert not leader.store.has(old.blob), "it would be taken for one that is shared"


def test_a_url_says_which(tmp_path: Path) -> None:
    assert isinstance(open_store("", tmp_path), DiskStore)
    store = open_store(f"file://{tmp_path}/some%20where", tmp_path)
    assert isinstance(store, DiskStore)
    assert (tmp_path / "some where").is_dir()
    for url in ("postgresql://a:secret@127.0.0.1:1/x", "s3://bucket/prefix"):
        shared = open_store(url, tmp_path / "data")
        assert isinstance(shared, SharedStore)
        shared.close()
    assert len(list((tmp_path / "data").iterdir())) == 2
    with pytest.raises(StoreInvalid, match="ftp"):
        open_store("ftp://x/y", tmp_path)
