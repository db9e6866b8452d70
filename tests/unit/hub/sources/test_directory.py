"""A directory as a source; with it the walk over links, which Git objects share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.sources import walk
from hub.sources.directory import LOCAL, DirectorySource
from hub.sources.errors import (
    LfsPointer,
    PathNotFound,
    RepositoryUnreachable,
    SourceTooLarge,
    SymlinkBroken,
    SymlinkEscape,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hub.sources.port import Source

URL = "https://git.example.com/shop/apps"


def put(top: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)


def source_of(top: Path) -> Source:
    return DirectorySource({URL + "/": top})


async def test_reads_what_lies_there(tmp_path: Path) -> None:
    put(tmp_path, {"a/x.yaml": "x", "a/b/y.yaml": "y", "z.yaml": "z", ".git/config": "no"})
    source = source_of(tmp_path)
    commit = await source.resolve(URL, "main")
    assert commit == LOCAL
    listed = await source.listing(URL, commit)
    assert listed.files == ("a/b/y.yaml", "a/x.yaml", "z.yaml")
    assert listed.dirs == ("a", "a/b")
    assert await source.files(URL, commit, "a") == {"b/y.yaml": b"y", "x.yaml": b"x"}
    assert await source.files(URL, commit, "z.yaml") == {"z.yaml": b"z"}
    assert await source.read(URL, commit, ["./a/x.yaml"]) == {"./a/x.yaml": b"x"}
    assert source.known_at(URL) is not None
    await source.close()


async def test_an_id_changes_with_the_content_below(tmp_path: Path) -> None:
    put(tmp_path, {"a/x": "1", "b/x": "1"})
    source = source_of(tmp_path)
    before = [await source.tree_id(URL, LOCAL, path) for path in ("a", "b", "c")]
    (tmp_path / "b/x").write_text("2")
    after = [await source.tree_id(URL, LOCAL, path) for path in ("a", "b", "c")]
    assert before[0] == after[0]
    assert before[1] != after[1]
    assert before[2] is after[2] is None


async def test_unknown_repositories_and_paths(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    with pytest.raises(RepositoryUnreachable, match="no directory is given"):
        await source.resolve("https://git.example.com/else", "main")
    with pytest.raises(RepositoryUnreachable, match="does not exist"):
        await DirectorySource({URL: tmp_path / "gone"}).resolve(URL, "main")
    with pytest.raises(PathNotFound, match="missing/dir"):
        await source.files(URL, LOCAL, "missing/dir")
    put(tmp_path, {"a/x": "1"})
    with pytest.raises(PathNotFound):
        await source.read(URL, LOCAL, ["a"])


async def test_links_inside_are_followed(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "app/own.yaml": "own",
            "app/file.yaml": "-> ../common/base.yaml",
            "app/dir": "-> ../common/deep",
            "app/chain": "-> file.yaml",
            "common/base.yaml": "base",
            "common/deep/d.yaml": "-> ../base.yaml",
            "alias": "-> app",
        },
    )
    expected = {"chain": b"base", "dir/d.yaml": b"base", "file.yaml": b"base", "own.yaml": b"own"}
    source = source_of(tmp_path)
    assert await source.files(URL, LOCAL, "app") == expected
    assert await source.files(URL, LOCAL, "alias") == expected
    assert await source.read(URL, LOCAL, ["alias/dir/d.yaml"]) == {"alias/dir/d.yaml": b"base"}


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../outside", "../../../etc/passwd", "up/../../../outside", "first"]
)
async def test_s6_links_out_of_the_repository_are_refused(tmp_path: Path, target: str) -> None:
    put(
        tmp_path,
        {"outside/secret": "s", "repo/app/first": "-> ../chain", "repo/chain": "-> ../outside/secret"},
    )
    put(tmp_path, {"repo/app/up/x": "x", "repo/app/leak": f"-> {target}"})
    source = source_of(tmp_path / "repo")
    if target != "first":
        (tmp_path / "repo/app/first").unlink()
    with pytest.raises(SymlinkEscape, match=r"^app/(leak|first): "):
        await source.files(URL, LOCAL, "app")
    with pytest.raises(SymlinkEscape, match=r"^app/leak: "):
        await source.read(URL, LOCAL, ["app/leak"])


@pytest.mark.parametrize(
    "links",
    [
        {"app/a": "-> b", "app/b": "-> a"},
        {"app/a": "-> ."},
        {"app/a": "-> ../app"},
        {"app/a": "-> ../other", "other/b": "-> ../app"},
        {"app/a": "-> nowhere"},
        {"app/a": "-> " + "x" * 200},
        {"app/a": "-> l0", **{f"app/l{i}": f"-> l{i + 1}" for i in range(40)}, "app/l40": "end"},
    ],
)
async def test_s6_links_in_circles_or_to_nowhere_end(tmp_path: Path, links: dict[str, str]) -> None:
    put(tmp_path, {"app/x": "x", **links})
    with pytest.raises(SymlinkBroken, match=r"app|other"):
        await source_of(tmp_path).files(URL, LOCAL, "app")


async def test_s6_links_that_multiply_are_bounded(tmp_path: Path) -> None:
    levels = 16
    for level in range(levels):
        put(tmp_path, {f"l{level}/a": f"-> ../l{level + 1}", f"l{level}/b": f"-> ../l{level + 1}"})
    put(tmp_path, {f"l{levels}/x": "x"})
    with pytest.raises(SourceTooLarge, match=str(walk.MAX_FILES)):
        await source_of(tmp_path).files(URL, LOCAL, "l0")


async def test_size_is_bounded(tmp_path: Path) -> None:
    put(tmp_path, {"app/a": "x" * 60, "app/b": "x" * 50})
    source = source_of(tmp_path)
    with pytest.raises(SourceTooLarge, match="app: more than 100 bytes"):
        await source.files(URL, LOCAL, "app", limit_bytes=100)
    assert len(await source.files(URL, LOCAL, "app", limit_bytes=110)) == 2


async def test_lfs_pointers_are_no_content(tmp_path: Path) -> None:
    put(tmp_path, {"app/m.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"})
    with pytest.raises(LfsPointer, match=r"app/m\.yaml"):
        await source_of(tmp_path).files(URL, LOCAL, "app")
