"""Large repositories: contents are fetched when they are read, many at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hub.sources.errors import RepositoryUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub.fleet.githttp import GitServer
    from hub.sources.git import GitSource
    from tests.integration.git_rig import Author

LIMIT = 1024 * 1024
NONE = -1
"""No clone is small enough: each is stopped as soon as it begins."""


def noise(size: int) -> str:
    """Text that no compression makes small."""
    return os.urandom(size // 2).hex()


def packed(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*.pack"))


def is_partial(cache: Path) -> bool:
    return any(cache.glob("*.git/axletree-partial"))


def written(files: dict[str, str]) -> bytes:
    """One commit, as Git takes many at once."""
    lines = ["commit refs/heads/main", "committer a <a@example.com> 1767225600 +0000", "data 6", "change"]
    for name, content in files.items():
        lines += [f"M 100644 inline {name}", f"data {len(content)}", content]
    return "\n".join([*lines, "", ""]).encode()


@pytest.fixture
async def large(author: Author) -> str:
    """Ten commits of a file of half a megabyte, beside 60 small ones."""
    history = b""
    for number in range(10):
        history += written({"data/large.bin": noise(512 * 1024)})
        history += written({f"apps/{number}/{name}": f"{number} {name}" for name in "abcdef"})
    await author.git("fast-import", "--quiet", told=history)
    await author.git("reset", "-q", "--hard")
    return await author.commit({"links/to": "-> ../apps/3", "links/again": "-> to/a"})


async def test_a_large_repository_is_usable_without_its_contents(
    author: Author, large: str, sources: Callable[..., GitSource], tmp_path: Path, server: GitServer
) -> None:
    source = sources(whole_bytes=NONE)
    assert await source.resolve(author.remote, "main") == large
    assert is_partial(tmp_path / "cache")
    assert packed(tmp_path / "cache") < LIMIT / 4
    assert "apps/3/a" in (await source.listing(author.remote, large)).files
    assert await source.tree_id(author.remote, large, "apps/3")
    before = server.served
    assert len(await source.files(author.remote, large, "apps")) == 60
    assert server.served - before <= 4, "one question for all, not one each"
    before = server.served
    assert await source.read(author.remote, large, ["apps/5/c", "apps/9/f"]) == {
        "apps/5/c": b"5 c",
        "apps/9/f": b"9 f",
    }
    assert server.served == before, "what was read stays"
    assert packed(tmp_path / "cache") < LIMIT / 2
    assert (await source.files(author.remote, large, "links"))["again"] == b"3 a"


async def test_commits_go_on_and_a_restart_knows_what_is_missing(
    author: Author, large: str, sources: Callable[..., GitSource], tmp_path: Path
) -> None:
    source = sources(whole_bytes=NONE)
    await source.resolve(author.remote, "main")
    new = await author.commit({"apps/3/a": "changed"})
    assert await source.resolve(author.remote, "main", fresh=True) == new
    assert (await source.files(author.remote, new, "apps/3"))["a"] == b"changed"
    await source.close()
    again = sources(whole_bytes=NONE)
    assert await again.files(author.remote, new, "apps/4")
    assert (await again.files(author.remote, large, "apps/3"))["a"] == b"3 a"
    assert is_partial(tmp_path / "cache")


async def test_a_server_that_does_not_filter_gives_all(
    author: Author, large: str, sources: Callable[..., GitSource], server: GitServer
) -> None:
    server.filters = False
    source = sources(whole_bytes=NONE)
    assert await source.resolve(author.remote, "main") == large
    before = server.served
    assert len(await source.files(author.remote, large, "apps")) == 60
    assert server.served == before


async def test_a_small_repository_stays_whole(
    author: Author, sources: Callable[..., GitSource], tmp_path: Path, server: GitServer
) -> None:
    commit = await author.commit({"a/x": "1"})
    source = sources()
    await source.resolve(author.remote, "main")
    assert not is_partial(tmp_path / "cache")
    before = server.served
    await source.files(author.remote, commit, "a")
    assert server.served == before


async def test_f11_contents_that_cannot_be_fetched_are_an_error_and_no_empty_file(
    author: Author, large: str, sources: Callable[..., GitSource], server: GitServer
) -> None:
    source = sources(whole_bytes=NONE)
    await source.resolve(author.remote, "main")
    await source.files(author.remote, large, "apps/1")
    await server.stop()
    assert await source.files(author.remote, large, "apps/1")
    with pytest.raises(RepositoryUnreachable):
        await source.files(author.remote, large, "apps/2")


async def test_what_is_new_comes_with_its_contents(
    author: Author, large: str, sources: Callable[..., GitSource], server: GitServer, tmp_path: Path
) -> None:
    first = sources(whole_bytes=NONE)
    await first.resolve(author.remote, "main")
    await first.close()
    source = sources()
    await source.files(author.remote, large, "apps/3")
    before = packed(tmp_path / "cache")
    new = await author.commit({"apps/3/a": "changed", "apps/3/huge": noise(600 * 1024)})
    assert await source.resolve(author.remote, "main", fresh=True) == new
    asked = server.served
    assert await source.read(author.remote, new, ["apps/3/a"]) == {"apps/3/a": b"changed"}
    assert server.served == asked, "it came with the commit"
    assert packed(tmp_path / "cache") - before < LIMIT / 4, "but for what is large"
    assert len((await source.files(author.remote, new, "apps/3"))["huge"]) == 600 * 1024
    assert server.served > asked
