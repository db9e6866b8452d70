"""Signatures by people rather than by keys, verified offline against a given root of trust."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hub.sources.cosign import CERTIFICATE, LOGGED
from hub.sources.errors import SignatureMissing, SignatureUntrusted, SigningKeysInvalid
from hub.sources.signing import Identity
from tests.unit.hub.sources.certificates import Authority
from tests.unit.hub.sources.chart_server import FLUX, plain_archive
from tests.unit.hub.sources.cosigned import KEY, public, refer, simple_tag
from tests.unit.hub.sources.sigstore_instance import ISSUER, SigstoreInstance

if TYPE_CHECKING:
    from hub.sources.charts import ChartRepositories
    from tests.unit.hub.sources.chart_server import ChartServer

WORKFLOW = "https://git.example.com/shop/apps/.ci/release.yml@refs/tags/v1.2.3"
HERE = SigstoreInstance()
ROOT = HERE.root()


async def signed(server: ChartServer, charts: ChartRepositories, *bundles: bytes) -> tuple[str, str, str]:
    """(address, commit, digest of the manifest) of an artifact with these bundles beside it."""
    digest = server.push("team/apps", "latest", [(FLUX, plain_archive({"a.yaml": b"kind: A\n"}), {})])
    for one in bundles:
        refer(server, digest, one)
    address = f"{server.oci}/team/apps"
    return address, await charts.resolve(address, ""), digest


async def test_who_signed_is_said_by_a_certificate(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    mine = Identity(ISSUER, "release@example.com", ROOT)
    with pytest.raises(SignatureMissing):
        await charts.verify(address, commit, [mine])
    refer(chart_server, digest, HERE.bundle(digest, "release@example.com"))
    await charts.verify(address, commit, [mine])
    await charts.verify(address, commit, [public(KEY), Identity(ISSUER, "*@example.com", ROOT)])
    for other in (
        Identity(ISSUER, "other@example.com", ROOT),
        Identity("https://accounts.example.org", "release@example.com", ROOT),
        Identity(ISSUER, "release@example.com", SigstoreInstance().root()),
        Identity(ISSUER, "release@example.com"),
    ):
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, commit, [other])
    with pytest.raises(SignatureUntrusted, match=r"signed by release@example\.com, who is not trusted"):
        await charts.verify(address, commit, [Identity(ISSUER, "other@example.com", ROOT)])


async def test_a_workflows_name_is_a_pattern(chart_server: ChartServer, charts: ChartRepositories) -> None:
    address, commit, digest = await signed(chart_server, charts)
    refer(chart_server, digest, HERE.bundle(digest, WORKFLOW))
    for glob, trusted in (
        (WORKFLOW, True),
        ("https://git.example.com/shop/apps/.ci/release.yml@refs/tags/*", True),
        ("https://git.example.com/shop/**", True),
        ("https://git.example.com/shop/*", False),
        ("https://git.example.com/shop/apps/.ci/release.yml@refs/heads/*", False),
        ("https://git.example.com/shop", False),
    ):
        if trusted:
            await charts.verify(address, commit, [Identity(ISSUER, glob, ROOT)])
        else:
            with pytest.raises(SignatureUntrusted):
                await charts.verify(address, commit, [Identity(ISSUER, glob, ROOT)])


STRANGER = SigstoreInstance()
WRONG: dict[str, dict[str, Any]] = {
    "used after its certificate's end": {"seconds": 3600},
    "used before its beginning": {"seconds": -60},
    "not in the log of signatures": {"logged_by": STRANGER.log},
    "not in the log of certificates": {"seen_by": STRANGER.certificates},
    "signed with another key than the certificate's": {"signed_with": STRANGER.log},
    "of another kind of content": {"kind": "text/plain"},
    "an attestation": {"predicate": "https://slsa.dev/provenance/v1"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_bundle_with_one_thing_wrong_is_of_no_use(
    chart_server: ChartServer, charts: ChartRepositories, wrong: str
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    refer(chart_server, digest, HERE.bundle(digest, "release@example.com", **WRONG[wrong]))
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [Identity(ISSUER, "release@example.com", ROOT)])


async def test_a_bundle_of_another_manifest_instance_or_shape_is_of_no_use(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    mine = Identity(ISSUER, "release@example.com", ROOT)
    good = json.loads(HERE.bundle(digest, "release@example.com"))
    others = SigstoreInstance(Authority.made("people"), HERE.certificates, HERE.log)
    swapped = json.loads(HERE.bundle(f"sha256:{'0' * 64}", "release@example.com"))
    cases = [
        HERE.bundle(f"sha256:{'0' * 64}", "release@example.com"),
        others.bundle(digest, "release@example.com"),
        json.dumps(good | {"dsseEnvelope": swapped["dsseEnvelope"]}).encode(),
        json.dumps(good | {"verificationMaterial": swapped["verificationMaterial"]}).encode(),
        json.dumps(good | {"verificationMaterial": {}}).encode(),
        b"{}",
        b"[" * 100_000,
        b"\xff",
    ]
    for case in cases:
        refer(chart_server, digest, case)
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, commit, [mine])
    for at in ("logIndex", "integratedTime"):
        changed = json.loads(json.dumps(good))
        changed["verificationMaterial"]["tlogEntries"][0][at] = "7"
        refer(chart_server, digest, json.dumps(changed).encode())
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, commit, [mine])


async def test_the_older_form_has_the_logs_promise_and_is_good(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    chart_server.push("team/apps", simple_tag(digest), [HERE.simple(digest, "release@example.com")])
    await charts.verify(address, commit, [Identity(ISSUER, "release@example.com", ROOT)])
    for other, why in (
        (Identity(ISSUER, "other@example.com", ROOT), r"signed by release@example\.com, who is not trusted"),
        (Identity("https://accounts.example.org", "release@example.com", ROOT), "does not hold"),
        (Identity(ISSUER, "release@example.com", SigstoreInstance().root()), "does not hold"),
    ):
        with pytest.raises(SignatureUntrusted, match=why):
            await charts.verify(address, commit, [other])


OLDER_WRONG: dict[str, dict[str, Any]] = {
    **{name: how for name, how in WRONG.items() if "kind" not in how and "predicate" not in how},
    "a text for another use": {"kind": "attestation"},
}


@pytest.mark.parametrize("wrong", OLDER_WRONG)
async def test_the_older_form_with_one_thing_wrong_is_of_no_use(
    chart_server: ChartServer, charts: ChartRepositories, wrong: str
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    layer = HERE.simple(digest, "release@example.com", **OLDER_WRONG[wrong])
    chart_server.push("team/apps", simple_tag(digest), [layer])
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, commit, [Identity(ISSUER, "release@example.com", ROOT)])


async def test_the_older_form_of_another_manifest_or_with_another_promise_is_of_no_use(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    mine = Identity(ISSUER, "release@example.com", ROOT)
    kind, text, notes = HERE.simple(digest, "release@example.com")
    _, other, others = HERE.simple(f"sha256:{'0' * 64}", "release@example.com")
    logged = json.loads(notes[LOGGED])
    later = logged | {
        "Payload": logged["Payload"] | {"integratedTime": logged["Payload"]["integratedTime"] + 1}
    }
    changes: list[tuple[bytes, dict[str, str]]] = [
        (other, others),
        (text, others),
        (text, notes | {LOGGED: others[LOGGED]}),
        (text, notes | {LOGGED: json.dumps(later)}),
        (text, notes | {LOGGED: json.dumps({"Payload": logged["Payload"]})}),
        (text, notes | {LOGGED: "{}"}),
        (text, notes | {LOGGED: "[" * 100_000}),
        (text, notes | {CERTIFICATE: "no certificate"}),
        (text, notes | {CERTIFICATE: others[CERTIFICATE]}),
    ]
    for changed, beside in changes:
        chart_server.push("team/apps", simple_tag(digest), [(kind, changed, beside)])
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, commit, [mine])


async def test_a_root_that_does_not_read_trusts_nobody(
    chart_server: ChartServer, charts: ChartRepositories
) -> None:
    address, commit, digest = await signed(chart_server, charts)
    refer(chart_server, digest, HERE.bundle(digest, "release@example.com"))
    for root in ("{}", "not json", ROOT.replace("trustedroot+json", "other+json")):
        with pytest.raises(SigningKeysInvalid):
            await charts.verify(address, commit, [Identity(ISSUER, "release@example.com", root)])
