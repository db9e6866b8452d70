from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.contract.signing import SignatureInvalid, verify
from hub.gateway.certificates import CLIENT_LIFETIME, read_csr
from hub.gateway.errors import CertificateRefused, IdentityInvalid, RequestInvalid
from hub.gateway.identity import HubIdentity, Recovery
from hub.gateway.peers import ANNOTATION_RENEWAL, Admission, Peer, admit, peer_of, renewal_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST, SECOND = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def identity() -> HubIdentity:
    return HubIdentity.create(now=NOW)


def csr_for(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]


def der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)


def signed(identity: HubIdentity, names: list[x509.GeneralName] | None) -> bytes:
    """A certificate of our own CA with any alternative names: what a bug elsewhere might issue."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(identity.authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(identity.authority.key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def cluster(*, fingerprint: str = FIRST, accepted: bool = True, renewal: str = "") -> dict[str, Any]:
    annotations = {ANNOTATION_RENEWAL: renewal} if renewal else {}
    return {
        "metadata": {"name": "eu1", "annotations": annotations},
        "spec": {"accepted": accepted},
        "status": {"fingerprint": fingerprint},
    }


def test_an_identity_survives_its_secret(identity: HubIdentity) -> None:
    again = HubIdentity.from_secret(identity.to_secret())
    assert again.to_secret() == identity.to_secret()
    verify(b"bytes", again.sign(b"bytes"), keys=identity.public_keys)
    assert len(again.digest_key) == 32
    assert again.recovered().epoch == identity.epoch + 1
    assert again.recovered().ca_hash == identity.ca_hash


@pytest.mark.parametrize("missing", ["hub-id", "ca.key", "signing-keys", "digest-key", "epoch"])
def test_a_secret_that_is_not_whole_is_an_error_and_never_a_new_hub(
    identity: HubIdentity, missing: str
) -> None:
    secret = identity.to_secret()
    del secret["data"][missing]
    with pytest.raises(IdentityInvalid):
        HubIdentity.from_secret(secret)


def test_i5_an_identity_shows_no_key(identity: HubIdentity) -> None:
    secret = identity.to_secret()
    secret["data"]["ca.key"] = base64.b64encode(b"-----BEGIN hush").decode()
    with pytest.raises(IdentityInvalid) as caught:
        HubIdentity.from_secret(secret)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    shown = repr(identity)
    assert "PrivateKey" not in shown
    assert "digest_key" not in shown


def test_a_client_certificate_says_what_the_hub_says(identity: HubIdentity) -> None:
    pem = identity.issue_client(csr_for(ec.generate_private_key(ec.SECP256R1())), "eu-1.lab", NOW)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_directly_issued_by(identity.authority.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    peer = peer_of(der(pem))
    assert peer.cluster == "eu-1.lab"
    assert peer.not_after == NOW + CLIENT_LIFETIME


def test_a_server_certificate_names_hosts_and_addresses(identity: HubIdentity) -> None:
    pair = identity.issue_server(("127.0.0.1", "hub.example.com", "::1"), NOW)
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example.com"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert pair.key not in repr(pair)


@pytest.mark.parametrize(
    "names",
    [
        None,
        [uri("axletree://cluster/eu1"), uri("axletree://cluster/eu2")],
        [uri("axletree://cluster/eu1"), x509.DNSName("eu2")],
        [x509.DNSName("eu1")],
        [uri("axletree://cluster/")],
        [uri("axletree://cluster/eu1/x")],
        [uri("axletree://cluster/eu1?x")],
        [uri("axletree://cluster/EU1")],
        [uri("axletree://cluster/eu1-")],
        [uri("xaxletree://cluster/eu1")],
        [uri("axletree://cluster/../eu1")],
    ],
)
def test_s1_only_one_whole_name_is_an_identity(
    identity: HubIdentity, names: list[x509.GeneralName] | None
) -> None:
    with pytest.raises(CertificateRefused):
        peer_of(signed(identity, names))


def test_requests_with_weak_or_unproven_keys_are_refused() -> None:
    read_csr(csr_for(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(RequestInvalid, match="ECDSA"):
        read_csr(csr_for(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(RequestInvalid, match="ECDSA"):
        read_csr(csr_for(ec.generate_private_key(ec.SECP192R1())))
    with pytest.raises(RequestInvalid, match="read"):
        read_csr("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----")
    raw = bytearray(
        x509.load_pem_x509_csr(csr_for(ec.generate_private_key(ec.SECP256R1())).encode()).public_bytes(
            serialization.Encoding.DER
        )
    )
    raw[-1] ^= 1
    forged = base64.encodebytes(bytes(raw)).decode()
    with pytest.raises(RequestInvalid):
        read_csr(f"-----BEGIN CERTIFICATE REQUEST-----\n{forged}-----END CERTIFICATE REQUEST-----\n")


@pytest.mark.parametrize(
    ("found", "shown", "expected"),
    [
        (cluster(), FIRST, Admission.IN_FORCE),
        (cluster(), SECOND, Admission.SUPERSEDED),
        (cluster(accepted=False), FIRST, Admission.REFUSED),
        (cluster(fingerprint=""), "", Admission.REFUSED),
        (None, FIRST, Admission.REFUSED),
        (cluster(renewal=renewal_of(FIRST, SECOND)), SECOND, Admission.RENEWED),
        (cluster(renewal=renewal_of(FIRST, SECOND)), FIRST, Admission.IN_FORCE),
        (cluster(fingerprint="", renewal=renewal_of(FIRST, SECOND)), SECOND, Admission.REFUSED),
        (cluster(fingerprint="c" * 64, renewal=renewal_of(FIRST, SECOND)), SECOND, Admission.SUPERSEDED),
    ],
)
def test_s3_admission(found: dict[str, object] | None, shown: str, expected: Admission) -> None:
    peer = Peer(cluster="eu1", fingerprint=shown, not_after=NOW + timedelta(days=1))
    assert admit(peer, found, now=NOW) is expected


def test_s4_what_was_renewed_after_a_recovery_does_not_come_back_by_it() -> None:
    day = timedelta(days=1)
    recovery = Recovery(at=NOW + 10 * day, backup=NOW)
    between = Peer(cluster="eu1", fingerprint=SECOND, not_after=NOW + 95 * day, issued=NOW + 5 * day)
    found = cluster()
    status = found["status"]
    status["certificate"] = {"joinedAt": str(NOW - day), "notAfter": str(NOW + 89 * day)}
    assert admit(between, found, now=NOW + 11 * day, recovery=recovery) is Admission.RETURNED
    status["certificate"]["notAfter"] = str(NOW + 150 * day)  # renewed since: this one is a copy's
    assert admit(between, found, now=NOW + 60 * day, recovery=recovery) is Admission.SUPERSEDED


def test_f9_a_ca_that_ends_within_a_year_is_told_until_it_is_replaced(identity: HubIdentity) -> None:
    assert identity.ending(now=NOW + timedelta(days=8 * 365)) == ""
    late = NOW + timedelta(days=9 * 365 + 30)
    assert "axle hub rotate" in identity.ending(now=late)
    assert identity.announced(now=late).activated().ending(now=late) == ""


def test_a_certificate_ends_on_a_connection_that_outlives_it() -> None:
    peer = Peer(cluster="eu1", fingerprint=FIRST, not_after=NOW)
    assert admit(peer, cluster(), now=NOW) is Admission.REFUSED


def test_a_signature_does_not_fit_other_bytes(identity: HubIdentity) -> None:
    with pytest.raises(SignatureInvalid):
        verify(b"other", identity.sign(b"bytes"), keys=identity.public_keys)
