"""Artifacts of plain manifests in a registry, pins, and signatures of what a registry holds."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.sources.charts import ChartRepositories
from hub.sources.cosign import ANNOTATION, BUNDLE, IN_TOTO, SIMPLE
from hub.sources.errors import (
    ArtifactInvalid,
    ChartInvalid,
    PathNotFound,
    RepositoryDenied,
    RevisionNotFound,
    RevisionRefused,
    SignatureMissing,
    SignatureUntrusted,
    SigningKeysInvalid,
    SourceTooLarge,
)
from tests.unit.hub.sources.chart_server import ChartServer, plain_archive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FLUX = "application/vnd.cncf.flux.content.v1.tar+gzip"
FILES = {"apps/web.yaml": b"kind: A\n", "kustomization.yaml": b"resources: [apps/web.yaml]\n"}


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[ChartRepositories]:
    made = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    yield made
    await made.close()


def push(server: ChartServer, tag: str, files: dict[str, bytes] = FILES, kind: str = FLUX) -> str:
    return server.push("team/apps", tag, [(kind, plain_archive(files), {})])


async def test_an_artifact_of_plain_manifests_is_read(server: ChartServer, source: ChartRepositories) -> None:
    push(server, "latest")
    push(server, "1.4.0", {"a.yaml": b"1"})
    address = f"{server.oci}/team/apps"
    commit = await source.resolve(address, "HEAD")
    assert await source.files(address, commit, "") == FILES
    assert await source.files(address, commit, "apps") == {"web.yaml": b"kind: A\n"}
    assert await source.read(address, commit, ["apps/web.yaml"]) == {"apps/web.yaml": b"kind: A\n"}
    with pytest.raises(PathNotFound):
        await source.files(address, commit, "nope")
    for revision in ("1.4.0", "^1.0", "*"):
        assert await source.files(address, await source.resolve(address, revision), "") == {"a.yaml": b"1"}
    with pytest.raises(RevisionNotFound):
        await source.resolve(address, "^2")
    with pytest.raises(RepositoryDenied):
        await source.resolve(address, "9.9.9")


async def test_a_digest_pins_what_a_tag_may_become(server: ChartServer, source: ChartRepositories) -> None:
    address = f"{server.oci}/team/apps"
    digest = push(server, "1.0.0")
    first = await source.resolve(address, digest)
    push(server, "1.0.0", {"a.yaml": b"other"})
    assert await source.resolve(address, f"1.0.0@{digest}", fresh=True) == first
    assert await source.resolve(address, "1.0.0", fresh=True) != first
    server.files[f"/v2/team/apps/manifests/{digest}"] = b'{"layers": []}'
    with pytest.raises(ArtifactInvalid, match="digest"):
        await source.resolve(address, digest, fresh=True)


async def test_a_charts_digest_pins_its_archive(server: ChartServer, source: ChartRepositories) -> None:
    digest = server.add("web", "1.0.0")
    address = f"{server.url}/stable#web"
    assert await source.resolve(address, f"1.0.0@sha256:{digest}") == digest
    assert await source.resolve(address, f"^1@sha256:{digest}") == digest
    assert await source.resolve(address, f"sha256:{digest}") == digest
    other = server.add("web", "1.1.0")
    with pytest.raises(ChartInvalid, match="pins"):
        await source.resolve(address, f"1.0.0@sha256:{other}")
    with pytest.raises(RevisionRefused):
        await source.resolve(address, "../x@sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [("application/vnd.oci.image.layer.v1.tar", b"x", {})],
        [(FLUX, plain_archive({"a": b"1"}), {}), (FLUX, plain_archive({"b": b"1"}), {})],
    ],
)
async def test_what_is_no_single_archive_is_refused(
    server: ChartServer, source: ChartRepositories, layers: list[Any]
) -> None:
    server.push("team/apps", "latest", layers)
    with pytest.raises(ArtifactInvalid):
        await source.resolve(f"{server.oci}/team/apps", "")


async def test_s6_an_artifact_neither_climbs_nor_unfolds(
    server: ChartServer, source: ChartRepositories
) -> None:
    address = f"{server.oci}/team/apps"
    push(server, "latest", {"../../evil": b"x"})
    with pytest.raises(ArtifactInvalid):
        await source.resolve(address, "")
    push(server, "latest", {"bomb": b"\0" * 100_000_000})
    with pytest.raises(SourceTooLarge):
        await source.resolve(address, "")


# -- signatures

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def sign(key: Private, data: bytes) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        hashed = hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA256()
        raw = key.sign(data, ec.ECDSA(hashed))
    elif isinstance(key, rsa.RSAPrivateKey):
        raw = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        raw = key.sign(data)
    return base64.b64encode(raw).decode()


def public(key: Private) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def text_of(digest: str, kind: str = "cosign container image signature") -> bytes:
    image = {"docker-manifest-digest": digest}
    critical = {"identity": {"docker-reference": ""}, "image": image, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


def cosign(server: ChartServer, digest: str, key: Private, text: bytes | None = None) -> None:
    """As `cosign sign --key` leaves it under the manifest's own tag."""
    payload = text_of(digest) if text is None else text
    server.push(
        "team/apps", digest.replace(":", "-") + ".sig", [(SIMPLE, payload, {ANNOTATION: sign(key, payload)})]
    )


def bundle(server: ChartServer, digest: str, key: Private, *, subject: str = "", kind: str = IN_TOTO) -> None:
    """As `cosign sign --key --new-bundle-format` leaves it among the referrers."""
    named = (subject or digest).removeprefix("sha256:")
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": named}}]}
    payload = json.dumps(statement).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [
            {"sig": sign(key, b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload))}
        ],
    }
    data = json.dumps({"mediaType": f"{BUNDLE}.v0.3+json", "dsseEnvelope": envelope}).encode()
    manifest = server.push("team/apps", "bundle", [(f"{BUNDLE}.v0.3+json", data, {})])
    index = {"manifests": [{"digest": manifest, "artifactType": f"{BUNDLE}.v0.3+json"}]}
    server.files[f"/v2/team/apps/referrers/{digest}"] = json.dumps(index).encode()


KEYS: list[Private] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]
OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("key", KEYS, ids=["p256", "p384", "ed25519", "rsa"])
@pytest.mark.parametrize("form", [cosign, bundle])
async def test_cosigns_signature_is_verified(
    server: ChartServer, source: ChartRepositories, key: Private, form: Any
) -> None:
    digest = push(server, "latest")
    address = f"{server.oci}/team/apps"
    commit = await source.resolve(address, "")
    with pytest.raises(SignatureMissing):
        await source.verify(address, commit, [public(key)])
    form(server, digest, key)
    await source.verify(address, commit, [public(OTHER), public(key)])
    with pytest.raises(SignatureUntrusted):
        await source.verify(address, commit, [public(OTHER)])


async def test_a_signature_of_another_manifest_or_for_another_use_is_of_no_use(
    server: ChartServer, source: ChartRepositories
) -> None:
    key = KEYS[0]
    digest, other = push(server, "latest"), push(server, "old", {"a": b"1"})
    address = f"{server.oci}/team/apps"
    commit = await source.resolve(address, "")
    for text in (text_of(other), text_of(digest, kind="atomic"), b"[]", b"not json", b"{}"):
        cosign(server, digest, key, text)
        with pytest.raises(SignatureUntrusted):
            await source.verify(address, commit, [public(key)])
    del server.files[f"/v2/team/apps/manifests/{digest.replace(':', '-')}.sig"]
    bundle(server, digest, key, subject=other)
    with pytest.raises(SignatureUntrusted):
        await source.verify(address, commit, [public(key)])
    bundle(server, digest, key, kind="text/plain")
    with pytest.raises(SignatureUntrusted):
        await source.verify(address, commit, [public(key)])


async def test_keys_that_do_not_read_or_are_too_small_trust_nobody(
    server: ChartServer, source: ChartRepositories
) -> None:
    push(server, "latest")
    address = f"{server.oci}/team/apps"
    commit = await source.resolve(address, "")
    small = rsa.generate_private_key(65537, 1024)
    for text in (public(small), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(SigningKeysInvalid):
            await source.verify(address, commit, [text])
    with pytest.raises(SignatureUntrusted, match="no PEM or OpenPGP"):
        await source.verify(address, commit, ["ssh-ed25519 AAAA"])


async def test_a_restart_still_knows_which_manifest_it_was(server: ChartServer, tmp_path: Path) -> None:
    digest = push(server, "latest")
    cosign(server, digest, KEYS[0])
    address = f"{server.oci}/team/apps"
    first = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    commit = await first.resolve(address, "")
    await first.close()
    again = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    try:
        await again.verify(address, commit, [public(KEYS[0])])
        assert await again.files(address, commit, "") == FILES
    finally:
        await again.close()
