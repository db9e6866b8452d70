"""Who gets credentials, and what never reaches Git."""

from __future__ import annotations

import base64
import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.contract.names import LABEL_CREDENTIALS
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.fleet.githttp import GitServer
from hub.render.inputs import Inputs
from hub.sources.credentials import Credentials
from hub.sources.errors import (
    RepositoryDenied,
    RepositoryRefused,
    RepositoryUnreachable,
    RevisionNotFound,
    RevisionRefused,
)
from hub.sources.grants import Grants
from tests.integration.git_front import Served, mirrors
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hub.sources.git import GitSource
    from hub.sources.port import Source

SECRET = Credentials("robot-7f3", "hunter2-5d1c")


def argument_lists() -> list[str]:
    """Of every process of the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text(errors="replace").replace("\0", " "))
    return found


def texts_below(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[tuple[GitServer, str]]:
    """A server that asks who one is, and the commit in its `apps.git`."""
    root = tmp_path / "private"
    root.mkdir()
    open_server = GitServer(root)
    await open_server.start()
    author = await new_author(open_server, tmp_path, "apps.git")
    commit = await author.commit({"a": "1"})
    await open_server.stop()
    server = GitServer(root, basic=(SECRET.username, SECRET.password))
    await server.start()
    yield server, commit
    await server.stop()


async def test_credentials_are_sent(
    private: tuple[GitServer, str], sources: Callable[..., GitSource]
) -> None:
    server, commit = private
    url = server.url_of("apps.git")
    assert await sources("a", credentials=SECRET).resolve(url, "main") == commit
    for other in (None, Credentials(SECRET.username, "wrong-9a8b")):
        with pytest.raises(RepositoryDenied) as caught:
            await sources(f"b{other is None}", credentials=other).resolve(url, "main")
        assert caught.value.reason == "RepositoryDenied"
        assert "wrong-9a8b" not in str(caught.value)
    with pytest.raises(RepositoryDenied, match="not found"):
        await sources("c", credentials=SECRET).resolve(server.url_of("none.git"), "main")


def secret(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": {LABEL_CREDENTIALS: "git"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


async def test_s6_what_one_projects_credentials_fetched_is_not_for_another(
    private: tuple[GitServer, str], sources: Callable[..., GitSource], tmp_path: Path
) -> None:
    """Not by branch, by commit, in a rendering, nor from the disk; and a longer prefix takes nobody's place."""
    server, commit = private
    url, good = server.url_of("apps.git"), {"username": SECRET.username, "password": SECRET.password}
    secrets = [
        secret("shop", "own", url=f"{server.url_of('x').removesuffix('/x')}", **good),
        secret("evil", "closer", url=url, username="u", password="wrong-9a8b"),
    ]
    grants = Grants(lambda: secrets)
    source = sources("shared", credentials=grants.match, projects=grants.of)
    shop = source.seen_by("shop")
    assert await shop.resolve(url, "main") == commit
    spec = ApplicationSpec.model_validate({"cluster": "eu1", "namespace": "x", "sources": [{"repoURL": url}]})
    render, asked = Inputs(source), {"cluster": ClusterView("eu1"), "commits": {(url, "HEAD"): commit}}
    assert await (await render.of("shop/web", spec, **asked)).request()
    for namespace in ("web", "evil", ""):
        other = source.seen_by(namespace)
        for reading in (
            partial(other.resolve, url, "main"),
            partial(other.resolve, url, commit),
            partial(other.files, url, commit, ""),
            partial(other.listing, url, commit),
            partial(render.of, f"{namespace}/web", spec, **asked),
        ):
            with pytest.raises(RepositoryDenied):
                await reading()
        assert other.known_at(url) is None
    assert await shop.files(url, commit, "") == {"a": b"1"}
    assert len(mirrors(tmp_path, "shared")) == 1
    secrets.append(secret("axletree-system", "given", url=url, project="web, api", **good))
    grants.changed()
    for namespace in ("web", "api"):
        assert await source.seen_by(namespace).resolve(url, commit) == commit
    assert len(mirrors(tmp_path, "shared")) == 2, "who may use the same Secret shares what it fetched"
    assert {source.seen_by(each).reader(url) for each in ("web", "api")} == {"axletree-system/given"}
    secrets.pop()
    grants.changed()
    with pytest.raises(RepositoryDenied):
        await source.seen_by("web").resolve(url, commit)


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
