"""The Git source against Git's own server side over smart HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from aiohttp import web

from hub.fleet.githttp import GitServer
from hub.sources.credentials import Credentials
from hub.sources.errors import (
    LfsPointer,
    PathNotFound,
    RepositoryDenied,
    RepositoryRefused,
    RepositoryUnreachable,
    RevisionNotFound,
    RevisionRefused,
    SourceTooLarge,
    SymlinkEscape,
)
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.sources.git import GitSource
    from hub.sources.port import Source

SECRET = Credentials("robot-7f3", "hunter2-5d1c")


async def test_a_range_means_the_highest_tag_in_it(author: Author, source: GitSource) -> None:
    commits = {}
    for tag in ("v1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "other"):
        commits[tag] = await author.commit({"a": tag})
        await author.git("tag", "-a", "-m", tag, tag)
    await author.push("HEAD", "--tags")
    assert await source.resolve(author.remote, "^1.0") == commits["1.10.0"]
    assert await source.resolve(author.remote, "~1.2") == commits["1.2.0"]
    assert await source.resolve(author.remote, "*") == commits["1.10.0"]
    with pytest.raises(RevisionNotFound, match=r"\^3"):
        await source.resolve(author.remote, "^3")
    with pytest.raises(RevisionRefused):
        await source.resolve(author.remote, "^main;id")
    latest = await author.commit({"a": "new"})
    await author.git("tag", "1.11.0")
    await author.push("1.11.0")
    assert await source.resolve(author.remote, "^1.0", fresh=True) == latest


def mirrors(tmp_path: Path, cache: str = "cache") -> list[Path]:
    return list((tmp_path / cache).glob("*.git"))


def temporary(tmp_path: Path, cache: str = "cache") -> list[Path]:
    return list((tmp_path / cache).glob("tmp-*"))


async def test_branches_tags_commits_and_head(author: Author, source: Source) -> None:
    first = await author.commit({"a": "1"})
    await author.git("tag", "-a", "v1", "-m", "v1")
    await author.git("tag", "light")
    await author.git("checkout", "-q", "-b", "feature/x")
    second = await author.commit({"a": "2"})
    await author.push("v1", "light")
    for revision in ("main", "v1", "light", "refs/tags/v1", "refs/heads/main", "HEAD", "", first):
        assert await source.resolve(author.remote, revision) == first
    assert await source.resolve(author.remote, "feature/x") == second
    assert await source.resolve(author.remote + "/", second) == second
    with pytest.raises(RevisionNotFound, match="no branch, tag or commit nothing"):
        await source.resolve(author.remote, "nothing")
    with pytest.raises(RevisionNotFound):
        await source.resolve(author.remote, "0" * 40)


async def test_a_commit_on_no_branch_is_fetched_by_its_id(author: Author, source: Source) -> None:
    await author.commit({"a": "1"})
    lone = await author.commit({"a": "2"})
    await author.git("reset", "-q", "--hard", "HEAD~1")
    await author.push("main")
    assert await source.resolve(author.remote, "main") != lone
    assert await source.resolve(author.remote, lone) == lone
    assert await source.read(author.remote, lone, ["a"]) == {"a": b"2"}


async def test_files_ids_and_listing(author: Author, source: Source) -> None:
    binary = "bin\0ary"
    commit = await author.commit(
        {
            "apps/web/a.yaml": "a",
            "apps/web/sub/b.yaml": binary,
            "apps/db/c.yaml": "",
            "README": "r",
            "ü x.md": "u",
        }
    )
    url = author.remote
    assert await source.resolve(url, "main") == commit
    listed = await source.listing(url, commit)
    assert listed.files == ("README", "apps/db/c.yaml", "apps/web/a.yaml", "apps/web/sub/b.yaml", "ü x.md")
    assert listed.dirs == ("apps", "apps/db", "apps/web", "apps/web/sub")
    assert await source.files(url, commit, "apps/web") == {"a.yaml": b"a", "sub/b.yaml": binary.encode()}
    assert await source.files(url, commit, "README") == {"README": b"r"}
    assert len(await source.files(url, commit, ".")) == 5
    assert await source.read(url, commit, ["apps/db/c.yaml", "ü x.md"]) == {
        "apps/db/c.yaml": b"",
        "ü x.md": b"u",
    }
    assert await source.tree_id(url, commit, "apps/web") == await author.git("rev-parse", "HEAD:apps/web")
    assert await source.tree_id(url, commit, "README") == await author.git("rev-parse", "HEAD:README")
    assert await source.tree_id(url, commit, "") == await author.git("rev-parse", "HEAD^{tree}")
    assert await source.tree_id(url, commit, "apps/none") is None
    with pytest.raises(PathNotFound, match="apps/none"):
        await source.files(url, commit, "apps/none")
    with pytest.raises(SourceTooLarge, match="apps"):
        await source.files(url, commit, "apps", limit_bytes=3)
    assert await source.read(url, commit, ["README"]) == {"README": b"r"}
    with pytest.raises(RevisionNotFound):
        await source.files(url, "0" * 40, "")


async def test_only_what_changed_gets_another_id(author: Author, source: Source) -> None:
    before = await author.commit({"apps/web/a": "1", "apps/db/a": "1"})
    after = await author.commit({"apps/web/a": "2"})
    await source.resolve(author.remote, "main")
    ids = {
        (name, commit): await source.tree_id(author.remote, commit, f"apps/{name}")
        for name in ("web", "db")
        for commit in (before, after)
    }
    assert ids["web", before] != ids["web", after]
    assert ids["db", before] == ids["db", after]


async def test_what_a_link_leads_to_belongs_to_the_id(author: Author, source: Source) -> None:
    before = await author.commit({"apps/web/base.yaml": "-> ../../common/base.yaml", "common/base.yaml": "1"})
    unrelated = await author.commit({"README": "r"})
    after = await author.commit({"common/base.yaml": "2"})
    await source.resolve(author.remote, "main")
    ids = [await source.tree_id(author.remote, commit, "apps/web") for commit in (before, unrelated, after)]
    assert ids[0] == ids[1] != ids[2]
    assert await source.files(author.remote, after, "apps/web") == {"base.yaml": b"2"}


async def test_submodules_and_lfs(author: Author, source: Source, tmp_path: Path) -> None:
    commit = await author.commit({"app/x": "x"})
    await author.git("update-index", "--add", "--cacheinfo", f"160000,{commit},app/module")
    await author.git("commit", "-q", "-m", "module")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    await author.git("push", "-q", author.remote, "HEAD")
    head = await source.resolve(author.remote, "main")
    assert await source.files(author.remote, head, "app") == {"x": b"x"}
    head = await author.commit({"lfs/big.yaml": pointer})
    await source.resolve(author.remote, "main", fresh=True)
    with pytest.raises(LfsPointer, match=r"lfs/big\.yaml"):
        await source.files(author.remote, head, "lfs")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "sub/../../../x"])
async def test_s6_links_never_leave_the_repository(author: Author, source: Source, target: str) -> None:
    commit = await author.commit({"app/sub/x": "x", "app/leak": f"-> {target}"})
    await source.resolve(author.remote, "main")
    with pytest.raises(SymlinkEscape, match="app/leak"):
        await source.files(author.remote, commit, "app")


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
        assert time.monotonic() - started < 5
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


async def test_credentials_are_sent(tmp_path: Path, sources: Callable[..., GitSource]) -> None:
    root = tmp_path / "private"
    root.mkdir()
    open_server = GitServer(root)
    await open_server.start()
    author = await new_author(open_server, tmp_path, "apps.git")
    commit = await author.commit({"a": "1"})
    await open_server.stop()
    server = GitServer(root, basic=(SECRET.username, SECRET.password))
    await server.start()
    try:
        url = server.url_of("apps.git")
        assert await sources("a", credentials=SECRET).resolve(url, "main") == commit
        for other in (None, Credentials(SECRET.username, "wrong-9a8b")):
            with pytest.raises(RepositoryDenied) as caught:
                await sources(f"b{other is None}", credentials=other).resolve(url, "main")
            assert caught.value.reason == "RepositoryDenied"
            assert "wrong-9a8b" not in str(caught.value)
        with pytest.raises(RepositoryDenied, match="not found"):
            await sources("c", credentials=SECRET).resolve(server.url_of("none.git"), "main")
    finally:
        await server.stop()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_s6_credentials_never_follow_a_redirect(
    tmp_path: Path, sources: Callable[..., GitSource], status: int
) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Authorization", ""))
        return web.Response(status=404)

    async with Served(elsewhere) as other:
        target = f"http://localhost:{other}"

        async def redirect(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={"Location": target + request.path_qs})

        async with Served(redirect) as port:
            with pytest.raises(RepositoryRefused, match="redirects") as caught:
                await sources(credentials=SECRET).resolve(f"http://127.0.0.1:{port}/a.git", "main")
    assert caught.value.reason == "RepositoryRefused"
    assert asked == []


async def test_s6_credentials_are_in_no_argument_log_error_or_file(
    tmp_path: Path, sources: Callable[..., GitSource], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    arguments: list[str] = []

    async def unkind(request: web.Request) -> web.StreamResponse:
        arguments.extend(argument_lists())
        # what it was told it says again, where Git prints it
        text = f"you said {request.headers['Authorization']} {SECRET.username}:{SECRET.password}"
        return web.Response(status=500, reason=text.replace("\n", " "), text=text)

    async with Served(unkind) as port:
        source = sources(credentials=SECRET)
        with pytest.raises(RepositoryUnreachable) as caught:
            await source.resolve(f"http://127.0.0.1:{port}/a.git", "main")
    secrets = (SECRET.password, SECRET.username, SECRET.header().removeprefix("Basic "))
    assert any("remote-http" in argument for argument in arguments)
    seen = [*arguments, *texts_below(tmp_path), str(caught.value), repr(caught.value), caplog.text]
    for secret in secrets:
        assert not [text for text in seen if secret in text]


def argument_lists() -> list[str]:
    """Of every process of the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text(errors="replace").replace("\0", " "))
    return found


def texts_below(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/x",
        "/srv/x",
        "ext::sh -c 'touch {mark}'",
        "--upload-pack=touch {mark}",
        "ssh://-oProxyCommand=x/y",
    ],
)
async def test_s6_no_other_protocol_and_no_option_reaches_git(
    source: Source, tmp_path: Path, url: str
) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(RepositoryRefused):
        await source.resolve(url.format(mark=mark), "main")
    assert not mark.exists()
    assert mirrors(tmp_path) == []


@pytest.mark.parametrize(
    "revision", ["--upload-pack=touch x", "-x", "main:a", "main^{tree}", "a\nb", "a b", "@{-1}"]
)
async def test_s6_no_option_or_expression_is_a_revision(
    author: Author, source: Source, revision: str
) -> None:
    await author.commit({"a": "1"})
    with pytest.raises(RevisionRefused):
        await source.resolve(author.remote, revision)
    with pytest.raises(RevisionNotFound):
        await source.files(author.remote, revision, "")


async def test_s6_nothing_around_us_counts(
    author: Author, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configuration, variables, hooks and netrc of whoever runs the hub: each would break the fetch."""
    first = await author.commit({"a": "1"})
    mark = tmp_path / "mark"
    home = tmp_path / "evil"
    home.mkdir()
    hooks = home / "hooks"
    hooks.mkdir()
    (hooks / "reference-transaction").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (hooks / "reference-transaction").chmod(0o755)
    config = f'[core]\nhooksPath = {hooks}\nfsmonitor = touch {mark}\n[url "file:///nowhere/"]\ninsteadOf = http://\n'
    for name in (".gitconfig", "global", "system"):
        (home / name).write_text(config)
    (home / ".netrc").write_text("machine 127.0.0.1 login netrc password netrc\n")
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / "global"),
        "GIT_CONFIG_SYSTEM": str(home / "system"),
        "GIT_CONFIG_PARAMETERS": "'http.proxy'='http://127.0.0.1:1'",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.proxy",
        "GIT_CONFIG_VALUE_0": "http://127.0.0.1:1",
        "GIT_DIR": str(tmp_path),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_NAMESPACE": "evil",
        "GIT_ALLOW_PROTOCOL": "ext",
        "GIT_PROXY_COMMAND": f"touch {mark}",
        "GIT_ASKPASS": f"touch {mark}",
        "GIT_TEMPLATE_DIR": str(hooks.parent),
        "GIT_TRACE": str(mark),
        "GIT_SSL_NO_VERIFY": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert await source.resolve(author.remote, "main") == first
    second = await author.commit({"a": "2"})
    assert await source.resolve(author.remote, "main", fresh=True) == second
    assert await source.files(author.remote, second, "") == {"a": b"2"}
    assert not mark.exists()


async def test_the_server_serves_repositories_and_nothing_else(server: GitServer, author: Author) -> None:
    await author.commit({"a": "1"})
    (server.root / "secret").write_text("s")
    (server.root.parent / "outside.git").mkdir()
    for path in (
        "secret",
        "apps.git/config",
        "apps.git/HEAD",
        "none.git/info/refs",
        "../outside.git/info/refs",
    ):
        # by hand, since clients fold dots away
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"404", path
        writer.close()
        await writer.wait_closed()


class Served:
    """One handler for every request, on a port of its own."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self._handler = handler

    async def __aenter__(self) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


class Front:
    """A Git server whose first requests can be held back, and which counts fetches."""

    def __init__(self, tmp_path: Path, name: str = "front") -> None:
        self.root = tmp_path / name
        self.fetches = 0
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> Self:
        self.root.mkdir()
        self.behind = GitServer(self.root)
        await self.behind.start()
        self._served = Served(self._handle)
        self._port = await self._served.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self._served.__aexit__()
        await self.behind.stop()

    def url_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def hold(self) -> None:
        self._open.clear()
        self.arrived.clear()

    def release(self) -> None:
        self._open.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/info/refs"):
            self.fetches += 1
            self.arrived.set()
            await self._open.wait()
        # answered here, not forwarded: both serve the same folder
        return await self.behind._handle(request)
