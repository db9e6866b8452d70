"""When a mirror is fetched, by whom, and what becomes of one that breaks."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from hub.sources.errors import (
    RepositoryUnreachable,
    RevisionNotFound,
)
from tests.integration.git_front import Front, mirrors, temporary
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub.fleet.githttp import GitServer
    from hub.sources.git import GitSource
    from hub.sources.port import Source


async def test_a_fetch_happens_once_an_interval_or_on_demand(
    author: Author, sources: Callable[..., GitSource]
) -> None:
    source = sources()
    assert source.known_at(author.remote) is None
    first = await author.commit({"a": "1"})
    assert await source.resolve(author.remote, "main") == first
    known = source.known_at(author.remote)
    assert known is not None
    second = await author.commit({"a": "2"})
    assert await source.resolve(author.remote, "main") == first
    assert source.known_at(author.remote) == known
    assert await source.resolve(author.remote, "main", fresh=True) == second
    assert source.known_at(author.remote) != known
    eager = sources("eager", interval=0.0)
    assert await eager.resolve(author.remote, "main") == second
    third = await author.commit({"a": "3"})
    assert await eager.resolve(author.remote, "main") == third


@pytest.mark.parametrize("whole_bytes", [1 << 30, 0])
async def test_it_is_known_what_came_before_a_commit(
    author: Author, sources: Callable[..., GitSource], whole_bytes: int
) -> None:
    source = sources(whole_bytes=whole_bytes)
    first = await author.commit({"a": "1"})
    second = await author.commit({"a": "2"})
    assert await source.resolve(author.remote, "main") == second
    assert await source.contains(author.remote, second, first)
    assert await source.contains(author.remote, second, first[:8])
    assert await source.contains(author.remote, second, second)
    assert not await source.contains(author.remote, first, second)
    third = await author.commit({"a": "3"})
    for nothing in (third, third[:7], "f" * 40, "0000000"):
        assert not await source.contains(author.remote, second, nothing)


async def test_demands_at_once_share_a_fetch(tmp_path: Path, sources: Callable[..., GitSource]) -> None:
    async with Front(tmp_path) as front:
        author = await new_author(front.behind, tmp_path, "apps.git")
        commit = await author.commit({"a": "1"})
        source, url = sources(), front.url_of("apps.git")
        assert await asyncio.gather(*(source.resolve(url, "main") for _ in range(20))) == [commit] * 20
        assert front.fetches == 1
        await asyncio.gather(*(source.resolve(url, "main", fresh=True) for _ in range(20)))
        assert front.fetches == 2  # they all came before it started
        front.hold()
        running = asyncio.create_task(source.resolve(url, "main", fresh=True))
        await front.arrived.wait()
        later = [asyncio.create_task(source.resolve(url, "main", fresh=True)) for _ in range(5)]
        await asyncio.sleep(0)
        await author.commit({"a": "2"})
        head = await author.git("rev-parse", "HEAD")
        front.release()
        assert await running
        assert await asyncio.gather(*later) == [head] * 5
        assert front.fetches == 4


async def test_a_caller_that_leaves_stops_nobody(tmp_path: Path, sources: Callable[..., GitSource]) -> None:
    async with Front(tmp_path) as front:
        author = await new_author(front.behind, tmp_path, "apps.git")
        commit = await author.commit({"a": "1"})
        source, url = sources(), front.url_of("apps.git")
        front.hold()
        first = asyncio.create_task(source.resolve(url, "main"))
        await front.arrived.wait()
        second = asyncio.create_task(source.resolve(url, "main"))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        front.release()
        assert await second == commit
        assert front.fetches == 1


async def test_f11_a_silent_server_does_not_hold_up_what_is_known(
    author: Author, tmp_path: Path, sources: Callable[..., GitSource]
) -> None:
    commit = await author.commit({"a": "1"})
    source = sources()
    await source.resolve(author.remote, "main")
    async with Front(tmp_path, "other") as front:
        front.hold()
        stuck = [asyncio.create_task(source.resolve(front.url_of(f"r{n}"), "main")) for n in range(8)]
        await front.arrived.wait()
        assert await source.resolve(author.remote, "main") == commit
        assert await source.files(author.remote, commit, "") == {"a": b"1"}
        started = time.monotonic()
        await source.close()
        assert time.monotonic() - started < 30, "a fetch waits for two minutes"
        for outcome in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(outcome, RepositoryUnreachable)
    assert temporary(tmp_path) == []


async def test_f11_what_is_known_stays_readable_while_git_is_away(
    author: Author, server: GitServer, sources: Callable[..., GitSource], tmp_path: Path
) -> None:
    commit = await author.commit({"a": "1"})
    source = sources()
    await source.resolve(author.remote, "main")
    await server.stop()
    with pytest.raises(RepositoryUnreachable) as caught:
        await source.resolve(author.remote, "main", fresh=True)
    assert caught.value.reason == "RepositoryUnreachable"
    assert await source.resolve(author.remote, "main") == commit
    restarted = sources()
    with pytest.raises(RepositoryUnreachable):
        await restarted.resolve(author.remote, "main")
    assert await restarted.resolve(author.remote, commit) == commit
    assert await restarted.files(author.remote, commit, "") == {"a": b"1"}
    assert len(mirrors(tmp_path)) == 1


async def test_f12_force_pushed_deleted_and_emptied(author: Author, source: Source) -> None:
    await author.commit({"a": "1"})
    await author.git("checkout", "-q", "-b", "topic")
    old = await author.commit({"dir/b": "1"})
    assert await source.resolve(author.remote, "topic") == old
    await author.git("reset", "-q", "--hard", "main")
    new = await author.commit({"dir/b": "2"})
    assert await source.resolve(author.remote, "topic", fresh=True) == new
    assert await source.read(author.remote, old, ["dir/b"]) == {"dir/b": b"1"}
    emptied = await author.commit({"dir/b": None})
    assert await source.resolve(author.remote, "topic", fresh=True) == emptied
    assert await source.tree_id(author.remote, emptied, "dir") is None
    await author.push(":topic")
    with pytest.raises(RevisionNotFound):
        await source.resolve(author.remote, "topic", fresh=True)
    # a branch in the place of a folder of branches, and back
    await author.push("HEAD:refs/heads/topic/sub")
    assert await source.resolve(author.remote, "topic/sub", fresh=True) == emptied
    await author.push(":topic/sub")
    await author.push("HEAD:refs/heads/topic")
    assert await source.resolve(author.remote, "topic", fresh=True) == emptied


async def test_an_empty_repository_and_one_without_its_head(author: Author, source: Source) -> None:
    with pytest.raises(RevisionNotFound):
        await source.resolve(author.remote, "main")
    await author.commit({"a": "1"}, push=False)
    await author.push("HEAD:refs/heads/trunk")
    commit = await source.resolve(author.remote, "trunk", fresh=True)
    with pytest.raises(RevisionNotFound):
        await source.resolve(author.remote, "HEAD", fresh=True)
    await author.push("HEAD:refs/heads/main")
    assert await source.resolve(author.remote, "HEAD", fresh=True) == commit


async def test_a_branch_pushed_after_the_last_fetch_is_found(
    author: Author, sources: Callable[..., GitSource]
) -> None:
    source = sources(recheck=0.0)
    await author.commit({"a": "1"})
    await source.resolve(author.remote, "main")
    await author.push("HEAD:refs/heads/new")
    assert await source.resolve(author.remote, "new")


@pytest.mark.parametrize("damage", ["refs", "objects", "everything", "lock", "gone"])
async def test_f24_a_broken_mirror_is_cloned_again(
    author: Author, sources: Callable[..., GitSource], tmp_path: Path, damage: str
) -> None:
    first = await author.commit({"a": "1"})
    source = sources()
    await source.resolve(author.remote, "main")
    await source.close()
    (mirror,) = mirrors(tmp_path)
    if damage == "objects":
        for path in (mirror / "objects").rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"")
    elif damage == "refs":
        (mirror / "packed-refs").unlink(missing_ok=True)
        (mirror / "refs/heads/main").write_text("rubbish\n")
    elif damage == "everything":
        (mirror / "HEAD").write_text("rubbish\n")
    elif damage == "lock":
        await author.git("--git-dir", str(mirror), "pack-refs", "--all")
        (mirror / "packed-refs.lock").touch()
        (mirror / "refs/heads/main.lock").touch()
    else:
        shutil.rmtree(mirror)
    source = sources()
    second = await author.commit({"a": "2"})
    assert await source.resolve(author.remote, "main") == second
    assert await source.files(author.remote, first, "") == {"a": b"1"}
    assert mirrors(tmp_path) == [mirror]
    assert temporary(tmp_path) == []


async def test_f24_objects_lost_while_in_use_are_fetched_again(
    author: Author, source: GitSource, tmp_path: Path
) -> None:
    commit = await author.commit({"a/x": "1", "b/y": "2"})
    await source.resolve(author.remote, "main")
    (mirror,) = mirrors(tmp_path)
    shutil.rmtree(mirror / "objects")
    (mirror / "objects").mkdir()
    assert await source.files(author.remote, commit, "b") == {"y": b"2"}
    assert await source.files(author.remote, commit, "a") == {"x": b"1"}


async def test_an_interrupted_clone_leaves_nothing(tmp_path: Path, sources: Callable[..., GitSource]) -> None:
    leftover = tmp_path / "cache" / "tmp-old"
    leftover.mkdir(parents=True)
    os.utime(leftover, (1, 1))
    async with Front(tmp_path) as front:
        front.hold()
        source = sources()
        assert not leftover.exists()
        running = asyncio.create_task(source.resolve(front.url_of("apps.git"), "main"))
        await front.arrived.wait()
        assert len(temporary(tmp_path)) == 1
        await source.close()
        with pytest.raises(RepositoryUnreachable):
            await running
    assert temporary(tmp_path) == mirrors(tmp_path) == []


async def test_more_repositories_than_open_readers(
    server: GitServer, tmp_path: Path, sources: Callable[..., GitSource]
) -> None:
    source = sources(max_open=2)
    authors = [await new_author(server, tmp_path, f"team/r{number}.git") for number in range(4)]
    commits = [await author.commit({"a": str(number)}) for number, author in enumerate(authors)]
    for _ in range(2):
        for number, (author, commit) in enumerate(zip(authors, commits, strict=True)):
            assert await source.resolve(author.remote, "main") == commit
            assert await source.files(author.remote, commit, "") == {"a": str(number).encode()}
    assert sum(repo.mirror.objects.is_open for repo in source._repos.values()) == 2
