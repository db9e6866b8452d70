from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hub.store.index import RenderIndex

if TYPE_CHECKING:
    from pathlib import Path


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "renders.db"
    with closing(RenderIndex(path)) as index:
        assert index.get("k") is None
        index.put("k", "d1", "b1")
        index.put("k", "d2", "b2")
        assert index.get("k") == ("d2", "b2")
    with closing(RenderIndex(path)) as index:
        assert index.get("k") == ("d2", "b2")
        assert index.get("other") is None


def test_a_crash_forgets_nothing(tmp_path: Path) -> None:
    with closing(RenderIndex(tmp_path / "db")) as index:
        index.put("k", "d", "b")
        with closing(RenderIndex(tmp_path / "db")) as other:  # as a new process finds it
            assert other.get("k") == ("d", "b")


def test_memory_and_disk_are_bounded(tmp_path: Path) -> None:
    with closing(RenderIndex(tmp_path / "db", max_rows=10, max_kept=3)) as index:
        for number in range(30):
            index.put(f"k{number}", "d", "b")
        assert len(index._kept) == 3
        assert index.get("k0") == ("d", "b")  # from disk, until the next trim
    with closing(RenderIndex(tmp_path / "db")) as index:
        assert index.get("k19") is None
        assert index.get("k20") == ("d", "b")


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read as one" * 20, b"SQLite"]
)
def test_f24_an_unreadable_index_is_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "db").write_bytes(content)
    with closing(RenderIndex(tmp_path / "db")) as index:
        assert index.get("k") is None
        index.put("k", "d", "b")
        assert index.get("k") == ("d", "b")
    assert "begun anew" in caplog.text


def test_f24_an_index_damaged_in_use_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "db"
    with closing(RenderIndex(path)) as index:
        for number in range(500):
            index.put(f"key-{number:05}", "d" * 64, "b" * 64)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (size - 4096))
    with closing(RenderIndex(path)) as index:
        assert index.get("key-00003") is None
        index.put("k", "d", "b")
        assert index.get("k") == ("d", "b")
    assert "begun anew" in caplog.text
