"""Signatures of commits and tags, made by Git with real keys."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from hub.sources.errors import SignatureMissing, SignatureUntrusted, SigningKeysInvalid
from tests.integration.signers import PgpHome, sign_nothing, ssh_signer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub.sources.git import GitSource
    from tests.integration.git_rig import Author


@pytest.fixture
def pgp() -> Iterator[PgpHome]:
    home = PgpHome()
    yield home
    home.close()


def forge(folder: Path) -> str:
    """The last commit with another message and the same signature."""
    body = subprocess.run(
        ["git", "cat-file", "commit", "HEAD"], cwd=folder, capture_output=True, check=True
    ).stdout
    assert b"gpgsig" in body
    done = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=folder,
        input=body.replace(b"\n\nchange", b"\n\nchanged"),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_commit_signed_with_a_trusted_ssh_key_is_good(
    author: Author, source: GitSource, tmp_path: Path, kind: str
) -> None:
    signer, other = ssh_signer(tmp_path, "one", kind), ssh_signer(tmp_path, "other")
    await signer.take(author)
    commit = await author.commit({"a": "1"})
    await source.resolve(author.remote, "main")
    await source.verify(author.remote, commit, [other.public, signer.public])
    with pytest.raises(SignatureUntrusted, match="not trusted"):
        await source.verify(author.remote, commit, [other.public])


async def test_a_commit_signed_with_a_trusted_pgp_key_is_good(
    author: Author, source: GitSource, pgp: PgpHome
) -> None:
    signer, other = pgp.signer("one"), pgp.signer("other")
    await signer.take(author)
    commit = await author.commit({"a": "1"})
    await source.resolve(author.remote, "main")
    await source.verify(author.remote, commit, [other.public, signer.public])
    with pytest.raises(SignatureUntrusted, match="not trusted"):
        await source.verify(author.remote, commit, [other.public])


async def test_a_key_of_another_kind_trusts_nobody(
    author: Author, source: GitSource, pgp: PgpHome, tmp_path: Path
) -> None:
    await ssh_signer(tmp_path, "one").take(author)
    commit = await author.commit({"a": "1"})
    await source.resolve(author.remote, "main")
    with pytest.raises(SignatureUntrusted, match="no such key"):
        await source.verify(author.remote, commit, [pgp.signer("one").public])
    with pytest.raises(SigningKeysInvalid):
        await source.verify(author.remote, commit, ["ssh-dss AAAA"])


async def test_an_unsigned_commit_is_refused_whoever_is_trusted(
    author: Author, source: GitSource, tmp_path: Path
) -> None:
    signer = ssh_signer(tmp_path, "one")
    await signer.take(author)
    good = await author.commit({"a": "1"})
    await sign_nothing(author)
    bad = await author.commit({"a": "2"})
    await source.resolve(author.remote, "main")
    await source.verify(author.remote, good, [signer.public])
    with pytest.raises(SignatureMissing):
        await source.verify(author.remote, bad, [signer.public])


async def test_an_expired_key_is_not_trusted(author: Author, source: GitSource, pgp: PgpHome) -> None:
    signer = pgp.signer("short", expired=True)
    await signer.take(author)
    commit = await author.commit({"a": "1"})
    await source.resolve(author.remote, "main")
    assert "[expired:" in pgp.run("--list-keys")
    with pytest.raises(SignatureUntrusted, match="expired"):
        await source.verify(author.remote, commit, [signer.public])


async def test_a_signature_of_another_commit_is_of_no_use(
    author: Author, source: GitSource, tmp_path: Path, pgp: PgpHome
) -> None:
    for signer in (ssh_signer(tmp_path, "one"), pgp.signer("one")):
        await signer.take(author)
        await author.commit({"a": signer.public})
        commit = await asyncio.to_thread(forge, author.folder)
        await author.push(f"{commit}:refs/heads/forged")
        assert await source.resolve(author.remote, "forged", fresh=True) == commit
        with pytest.raises(SignatureUntrusted):
            await source.verify(author.remote, commit, [signer.public])


async def test_a_signed_tag_vouches_for_its_commit_under_its_own_name_only(
    author: Author, source: GitSource, tmp_path: Path, pgp: PgpHome
) -> None:
    for signer, version in ((ssh_signer(tmp_path, "one"), "1.0.0"), (pgp.signer("one"), "2.0.0")):
        await signer.take(author)
        await sign_nothing(author)
        commit = await author.commit({"a": version})
        await author.git("tag", "-s", "-m", "release", version)
        tag = await author.git("rev-parse", version)
        await author.push("HEAD", "--tags", f"{tag}:refs/tags/9{version}")
        await source.resolve(author.remote, "main", fresh=True)
        await source.verify(author.remote, commit, [signer.public], revision=version)
        await source.verify(author.remote, commit, [signer.public], revision=f"^{version}")
        for other in ("main", "", f"9{version}", commit):
            with pytest.raises(SignatureMissing):
                await source.verify(author.remote, commit, [signer.public], revision=other)
        later = await author.commit({"a": f"{version}+"})
        await author.git("tag", "-f", version)
        await author.push("HEAD", "--tags")
        assert await source.resolve(author.remote, version, fresh=True) == later
        with pytest.raises(SignatureMissing):
            await source.verify(author.remote, later, [signer.public], revision=version)
