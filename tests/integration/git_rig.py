"""Git's own server side on loopback, people who push to it, and sources that read from it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from hub.fleet.githttp import GitServer
from hub.sources.git import GitSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hub.sources.credentials import Credentials

    Given = Credentials | Callable[[str], Credentials | None] | None

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


class Author:
    """Somebody with a checkout, who pushes."""

    def __init__(self, folder: Path, remote: str) -> None:
        self.folder = folder
        self.remote = remote

    async def git(self, *args: str, told: bytes | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "protocol.file.allow=always",
            *args,
            cwd=self.folder,
            env=ENVIRONMENT,
            stdin=asyncio.subprocess.DEVNULL if told is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(told)
        assert process.returncode == 0, err.decode()
        return out.decode().strip()

    async def commit(self, files: dict[str, str | None], *, push: bool = True) -> str:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif content.startswith("-> "):
                path.symlink_to(content[3:])
            else:
                path.write_text(content)
        await self.git("add", "-A")
        await self.git("commit", "-q", "--allow-empty", "-m", "change")
        if push:
            await self.push("HEAD")
        return await self.git("rev-parse", "HEAD")

    async def push(self, *refs: str) -> None:
        await self.git("push", "-q", "--force", self.remote, *refs)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[GitServer]:
    root = tmp_path / "served"
    root.mkdir()
    server = GitServer(root)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def author(server: GitServer, tmp_path: Path) -> Author:
    return await new_author(server, tmp_path, "apps.git")


async def new_author(server: GitServer, tmp_path: Path, name: str) -> Author:
    folder = tmp_path / f"work-{name.replace('/', '-')}"
    folder.mkdir()
    author = Author(folder, server.url_of(name))
    await author.git("init", "-q", "--bare", "-b", "main", str(server.root / name))
    await author.git("init", "-q", "-b", "main")
    return author


def _given(credentials: Given) -> Callable[[str], Credentials | None]:
    return credentials if callable(credentials) else lambda _: credentials


@pytest.fixture
async def sources(tmp_path: Path) -> AsyncIterator[Callable[..., GitSource]]:
    made: list[GitSource] = []

    def make(cache: str = "cache", *, credentials: Given = None, **options: Any) -> GitSource:
        made.append(GitSource(tmp_path / cache, credentials=_given(credentials), **options))
        return made[-1]

    yield make
    for source in made:
        await source.close()


@pytest.fixture
def source(sources: Callable[..., GitSource]) -> GitSource:
    return sources()
