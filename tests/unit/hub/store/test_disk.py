from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent.contract.bundle import BundleCorrupt, StoredBundle
from agent.contract.canonical import sha256_hex
from hub.store.disk import DiskStore

if TYPE_CHECKING:
    from pathlib import Path

    from hub.store.port import BundleStore


def bundle(content: bytes) -> StoredBundle:
    return StoredBundle(digest="d", blob=sha256_hex(content), data=content)


def paths(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_was_put_is_got(tmp_path: Path) -> None:
    store: BundleStore = DiskStore(tmp_path / "blobs")
    one = bundle(b"one")
    assert not store.has(one.blob)
    assert store.get(one.blob) is None
    store.put(one)
    store.put(one)
    assert store.has(one.blob)
    assert store.get(one.blob) == b"one"
    assert DiskStore(tmp_path / "blobs").get(one.blob) == b"one"
    assert paths(tmp_path) == [tmp_path / "blobs" / one.blob[:2] / one.blob]


async def test_many_at_once(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    many = [bundle(str(number).encode()) for number in range(50)]
    await store.put_all(many)
    assert all(store.get(one.blob) == one.data for one in many)


def test_bytes_without_their_hash_are_not_put(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    with pytest.raises(BundleCorrupt):
        store.put(StoredBundle(digest="d", blob="0" * 64, data=b"x"))
    assert paths(tmp_path) == []


@pytest.mark.parametrize("damage", [b"twO", b"", b"two and more"])
def test_f24_a_corrupt_file_is_absent_and_removed(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store, two = DiskStore(tmp_path), bundle(b"two")
    store.put(two)
    (tmp_path / two.blob[:2] / two.blob).write_bytes(damage)
    assert store.get(two.blob) is None
    assert two.blob in caplog.text
    assert not store.has(two.blob)
    store.put(two)
    assert store.get(two.blob) == b"two"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../" + "a" * 61,
        "/etc/passwd",
        "A" * 64,
        "a" * 63,
        "a" * 65,
        "a" * 64 + "\n",
        "a" * 62 + "/x",
    ],
)
def test_s6_a_blob_that_is_no_hash_is_no_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "aa").mkdir()
    store = DiskStore(tmp_path)
    assert store.get(name) is None
    assert not store.has(name)
    with pytest.raises(BundleCorrupt):
        store.put(StoredBundle(digest="d", blob=name, data=b""))


def test_collect_removes_what_is_neither_live_nor_young(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    live, old, young, again = (bundle(name) for name in (b"live", b"old", b"young", b"again"))
    for one in (live, old, young, again):
        store.put(one)
    leftover = tmp_path / old.blob[:2] / ".new-x"
    leftover.write_bytes(b"half")
    foreign = tmp_path / old.blob[:2] / "README"
    foreign.write_bytes(b"mine")
    now = (tmp_path / young.blob[:2] / young.blob).stat().st_mtime
    for path in paths(tmp_path):
        if path.name != young.blob:
            os.utime(path, (now - 1000, now - 1000))
    store.put(again)
    assert store.collect({live.blob}, older_than=600, now=now) == 1
    assert [store.has(one.blob) for one in (live, old, young, again)] == [True, False, True, True]
    assert not leftover.exists()
    assert foreign.exists()


def test_f28_an_interrupted_put_leaves_no_bundle(tmp_path: Path) -> None:
    one = bundle(b"one")
    (tmp_path / one.blob[:2]).mkdir()
    (tmp_path / one.blob[:2] / ".new-abc").write_bytes(b"on")
    store = DiskStore(tmp_path)
    assert not store.has(one.blob)
    store.put(one)
    assert store.get(one.blob) == b"one"
