from __future__ import annotations

import pytest

from hub.sources.objects import ObjectsBroken, parse_tree
from hub.sources.walk import Entry, Kind

OID = bytes(range(20))


def entry(mode: str, name: str, oid: bytes = OID) -> bytes:
    return f"{mode} {name}".encode() + b"\0" + oid


def test_kinds_of_entries() -> None:
    data = b"".join(
        [
            entry("100644", "file"),
            entry("100755", "run"),
            entry("120000", "link"),
            entry("40000", "dir"),
            entry("160000", "submodule"),
        ]
    )
    assert parse_tree(data, id_bytes=20) == {
        "file": Entry(Kind.FILE, OID.hex()),
        "run": Entry(Kind.FILE, OID.hex()),
        "link": Entry(Kind.LINK, OID.hex()),
        "dir": Entry(Kind.DIR, OID.hex()),
    }


def test_ids_of_either_length() -> None:
    assert parse_tree(entry("100644", "f", bytes(32)), id_bytes=32) == {"f": Entry(Kind.FILE, "00" * 32)}


@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT", "a/b", ""])
def test_s6_names_that_climb_are_left_out(name: str) -> None:
    data = entry("100644", name) + entry("100644", "ok")
    assert list(parse_tree(data, id_bytes=20)) == ["ok"]


@pytest.mark.parametrize("cut", [1, 5, 12, 20, 26])
def test_a_cut_tree_is_broken(cut: int) -> None:
    with pytest.raises(ObjectsBroken):
        parse_tree(entry("100644", "name")[:cut], id_bytes=20)
