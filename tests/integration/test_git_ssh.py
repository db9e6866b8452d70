"""The Git source over SSH: Git's own server side behind a real SSH server, reached by the system's `ssh`."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from agent.contract.names import LABEL_CREDENTIALS
from hub.sources.credentials import Credentials, GitCredentials
from hub.sources.errors import RepositoryDenied, RepositoryUnreachable
from hub.sources.git import GitSource
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hub.fleet.githttp import GitServer


@dataclass(slots=True)
class SshHost:
    """Serves `git-upload-pack` for one user's key."""

    root: Path
    server: asyncssh.SSHAcceptor
    host_key: asyncssh.SSHKey
    user_key: asyncssh.SSHKey

    @property
    def port(self) -> int:
        return int(self.server.get_port())

    def url_of(self, name: str) -> str:
        return f"ssh://git@127.0.0.1:{self.port}/{name}"

    @property
    def known_hosts(self) -> str:
        return _known(self.port, self.host_key)

    def secret(self, *, key: asyncssh.SSHKey | None = None, known_hosts: str = "") -> dict[str, Any]:
        data = {
            "url": f"ssh://git@127.0.0.1:{self.port}",
            "sshPrivateKey": (key or self.user_key).export_private_key().decode(),
            "knownHosts": known_hosts or self.known_hosts,
        }
        encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
        metadata = {"name": "ssh", "namespace": "shop", "labels": {LABEL_CREDENTIALS: "git"}}
        return {"metadata": metadata, "data": encoded}


def _known(port: int, key: asyncssh.SSHKey) -> str:
    kind, public = key.export_public_key().decode().split()[:2]
    return f"[127.0.0.1]:{port} {kind} {public}"


async def copy(read: Callable[[int], Awaitable[bytes]], to: Any) -> None:
    while data := await read(65536):
        to.write(data)
        await to.drain()


@pytest.fixture
async def host(server: GitServer) -> AsyncIterator[SshHost]:
    root = server.root
    user_key, host_key = (
        asyncssh.generate_private_key("ssh-ed25519"),
        asyncssh.generate_private_key("ssh-ed25519"),
    )

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        service, _, name = (process.command or "").partition(" ")
        assert service == "git-upload-pack"
        inner = await asyncio.create_subprocess_exec(
            *("git", "-c", "safe.directory=*", "upload-pack", str(root / name.strip("'").lstrip("/"))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert inner.stdin is not None
        assert inner.stdout is not None
        feeding = asyncio.create_task(copy(process.stdin.read, inner.stdin))
        await copy(inner.stdout.read, process.stdout)
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        process.exit(await inner.wait())

    keys = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=keys,
        process_factory=serve,
        encoding=None,
    )
    yield SshHost(root, acceptor, host_key, user_key)
    acceptor.close()
    await acceptor.wait_closed()


@pytest.fixture
async def written(host: SshHost, server: GitServer, tmp_path: Path) -> str:
    author: Author = await new_author(server, tmp_path, "apps.git")
    return await author.commit({"a/x.yaml": "1"})


async def reading(tmp_path: Path, *secrets: dict[str, Any]) -> GitSource:
    return GitSource(tmp_path / "ssh-cache", credentials=GitCredentials.of(secrets).granted("shop").match)


async def test_a_repository_is_read_with_the_key_of_its_secret(
    host: SshHost, written: str, tmp_path: Path
) -> None:
    source = await reading(tmp_path, host.secret())
    try:
        assert await source.resolve(host.url_of("apps.git"), "main") == written
        assert await source.files(host.url_of("apps.git"), written, "a") == {"x.yaml": b"1"}
        left = [path for path in (tmp_path / "ssh-cache").rglob("*") if path.name in {"key", "known_hosts"}]
        assert left == []
    finally:
        await source.close()


async def test_s6_a_host_that_is_not_the_known_one_gets_nothing(
    host: SshHost, written: str, tmp_path: Path
) -> None:
    other = _known(host.port, asyncssh.generate_private_key("ssh-ed25519"))
    source = await reading(tmp_path, host.secret(known_hosts=other))
    try:
        with pytest.raises(RepositoryDenied, match="Host key verification failed"):
            await source.resolve(host.url_of("apps.git"), "main")
    finally:
        await source.close()


async def test_a_key_that_the_host_does_not_know_is_refused(
    host: SshHost, written: str, tmp_path: Path
) -> None:
    source = await reading(tmp_path, host.secret(key=asyncssh.generate_private_key("ssh-ed25519")))
    try:
        with pytest.raises(RepositoryDenied, match="publickey"):
            await source.resolve(host.url_of("apps.git"), "main")
    finally:
        await source.close()


async def test_s6_without_a_secret_no_key_of_the_machine_is_offered(
    host: SshHost, written: str, tmp_path: Path
) -> None:
    elsewhere = host.secret() | {
        "data": host.secret()["data"] | {"url": base64.b64encode(b"ssh://git@127.0.0.1:1/").decode()}
    }
    source = await reading(tmp_path, elsewhere)
    try:
        with pytest.raises(RepositoryDenied, match="no Secret with sshPrivateKey"):
            await source.resolve(host.url_of("apps.git"), "main")
    finally:
        await source.close()


async def test_a_host_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    credentials = Credentials(private_key=key, known_hosts="x")
    source = GitSource(tmp_path / "none", credentials=lambda _: credentials)
    try:
        with pytest.raises(RepositoryUnreachable):
            await source.resolve("ssh://git@127.0.0.1:1/apps.git", "main")
    finally:
        await source.close()


async def test_a_persons_own_command_uses_what_ssh_knows_of_them(
    host: SshHost, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "asked"
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    source = GitSource(tmp_path / "own", credentials=lambda _: None, own_keys=True)
    try:
        with pytest.raises(RepositoryUnreachable):
            await source.resolve(host.url_of("apps.git"), "main")
    finally:
        await source.close()
    asked = log.read_text()
    assert "StrictHostKeyChecking=yes" in asked
    assert "/dev/null" not in asked
