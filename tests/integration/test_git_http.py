"""The Git source against Git's own server side over smart HTTP: what is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hub.sources.errors import (
    LfsPointer,
    PathNotFound,
    RevisionNotFound,
    RevisionRefused,
    SourceTooLarge,
    SymlinkEscape,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.githttp import GitServer
    from hub.sources.git import GitSource
    from hub.sources.port import Source
    from tests.integration.git_rig import Author


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
