"""Artifacts of plain manifests in a registry, pins, and signatures of what a registry holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hub.sources.charts import ChartRepositories
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
from tests.unit.hub.sources.chart_server import FLUX, plain_archive
from tests.unit.hub.sources.cosigned import (
    bundle,
    bundle_by_tag,
    cosign,
    cosign_referring,
    public,
    simple_tag,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.hub.sources.chart_server import ChartServer
    from tests.unit.hub.sources.cosigned import Private

FILES = {"apps/web.yaml": b"kind: A\n", "kustomization.yaml": b"resources: [apps/web.yaml]\n"}


def push(chart_server: ChartServer, tag: str, files: dict[str, bytes] = FILES, kind: str = FLUX) -> str:
    return chart_server.push("team/apps", tag, [(kind, plain_archive(files), {})])


async def test_an_artifact_of_plain_manifests_is_read(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    push(chart_server, "latest")
    push(chart_server, "1.4.0", {"a.yaml": b"1"})
    address = f"{chart_server.oci}/team/apps"
    commit = await charts.resolve(address, "HEAD")
    assert await charts.files(address, commit, "") == FILES
    assert await charts.files(address, commit, "apps") == {"web.yaml": b"kind: A\n"}
    assert await charts.read(address, commit, ["apps/web.yaml"]) == {"apps/web.yaml": b"kind: A\n"}
    with pytest.raises(PathNotFound):
        await charts.files(address, commit, "nope")
    for revision in ("1.4.0", "^1.0", "*"):
        assert await charts.files(address, await charts.resolve(address, revision), "") == {"a.yaml": b"1"}
    with pytest.raises(RevisionNotFound):
        await charts.resolve(address, "^2")
    with pytest.raises(RepositoryDenied):
        await charts.resolve(address, "9.9.9")


async def test_a_digest_pins_what_a_tag_may_become(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address = f"{chart_server.oci}/team/apps"
    digest = push(chart_server, "1.0.0")
    first = await charts.resolve(address, digest)
    push(chart_server, "1.0.0", {"a.yaml": b"other"})
    assert await charts.resolve(address, f"1.0.0@{digest}", fresh=True) == first
    assert await charts.resolve(address, "1.0.0", fresh=True) != first
    chart_server.files[f"/v2/team/apps/manifests/{digest}"] = b'{"layers": []}'
    with pytest.raises(ArtifactInvalid, match="digest"):
        await charts.resolve(address, digest, fresh=True)


async def test_a_charts_digest_pins_its_archive(chart_server: ChartServer, charts: ChartRepositories) -> None:
    digest = chart_server.add("web", "1.0.0")
    address = f"{chart_server.url}/stable#web"
    assert await charts.resolve(address, f"1.0.0@sha256:{digest}") == digest
    assert await charts.resolve(address, f"^1@sha256:{digest}") == digest
    assert await charts.resolve(address, f"sha256:{digest}") == digest
    other = chart_server.add("web", "1.1.0")
    with pytest.raises(ChartInvalid, match="pins"):
        await charts.resolve(address, f"1.0.0@sha256:{other}")
    with pytest.raises(RevisionRefused):
        await charts.resolve(address, "../x@sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [("application/vnd.oci.image.layer.v1.tar", b"x", {})],
        [(FLUX, plain_archive({"a": b"1"}), {}), (FLUX, plain_archive({"b": b"1"}), {})],
    ],
)
async def test_what_is_no_single_archive_is_refused(
    chart_server: ChartServer, charts: ChartRepositories, layers: list[Any]
) -> None:
    chart_server.push("team/apps", "latest", layers)
    with pytest.raises(ArtifactInvalid):
        await charts.resolve(f"{chart_server.oci}/team/apps", "")


async def test_s6_an_artifact_neither_climbs_nor_unfolds(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address = f"{chart_server.oci}/team/apps"
    push(chart_server, "latest", {"../../evil": b"x"})
    with pytest.raises(ArtifactInvalid):
        await charts.resolve(address, "")
    push(chart_server, "latest", {"bomb": b"\0" * 100_000_000})
    with pytest.raises(SourceTooLarge):
        await charts.resolve(address, "")


# -- signatures

KEYS: list[Private] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]
OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("key", KEYS, ids=["p256", "p384", "ed25519", "rsa"])
@pytest.mark.parametrize("form", [cosign, bundle, bundle_by_tag, cosign_referring])
async def test_cosigns_signature_is_verified(
    chart_server: ChartServer, charts: ChartRepositories, key: Private, form: Any
) -> None:
    digest = push(chart_server, "latest")
    address = f"{chart_server.oci}/team/apps"
    commit = await charts.resolve(address, "")
    with pytest.raises(SignatureMissing):
        await charts.verify(address, commit, [public(key)])
    form(chart_server, digest, key)
    await charts.verify(address, commit, [public(OTHER), public(key)])
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [public(OTHER)])


async def test_a_signature_of_another_manifest_or_for_another_use_is_of_no_use(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    key = KEYS[0]
    digest, other = push(chart_server, "latest"), push(chart_server, "old", {"a": b"1"})
    address = f"{chart_server.oci}/team/apps"
    commit = await charts.resolve(address, "")
    for text in (text_of(other), text_of(digest, kind="atomic"), b"[]", b"not json", b"{}"):
        cosign(chart_server, digest, key, text)
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, commit, [public(key)])
    del chart_server.files[f"/v2/team/apps/manifests/{simple_tag(digest)}"]
    bundle(chart_server, digest, key, subject=other)
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [public(key)])
    bundle(chart_server, digest, key, kind="text/plain")
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [public(key)])
    bundle(chart_server, digest, key, predicate="https://cosign.sigstore.dev/attestation/vuln/v1")
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [public(key)])


async def test_keys_that_do_not_read_or_are_too_small_trust_nobody(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    push(chart_server, "latest")
    address = f"{chart_server.oci}/team/apps"
    commit = await charts.resolve(address, "")
    small = rsa.generate_private_key(65537, 1024)
    for text in (public(small), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        with pytest.raises(SigningKeysInvalid):
            await charts.verify(address, commit, [text])
    with pytest.raises(SignatureUntrusted, match="no PEM or OpenPGP"):
        await charts.verify(address, commit, ["ssh-ed25519 AAAA"])


async def test_a_restart_still_knows_which_manifest_it_was(chart_server: ChartServer, tmp_path: Path) -> None:
    digest = push(chart_server, "latest")
    cosign(chart_server, digest, KEYS[0])
    address = f"{chart_server.oci}/team/apps"
    first = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    commit = await first.resolve(address, "")
    await first.close()
    again = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    try:
        await again.verify(address, commit, [public(KEYS[0])])
        assert await again.files(address, commit, "") == FILES
    finally:
        await again.close()
