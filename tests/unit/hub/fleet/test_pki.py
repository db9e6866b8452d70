from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.fleet import pki

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.new_authority("test-ca", now=NOW)


def verifier(authority: pki.Authority, *, host: str, at: dt.datetime) -> verification.ServerVerifier:
    store = verification.Store([authority.certificate])
    return verification.PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(host))


def test_a_server_certificate_verifies_for_its_hosts_alone(authority: pki.Authority) -> None:
    pair = pki.server_certificate(authority, common_name="api", hosts=("localhost", "127.0.0.1"), now=NOW)
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    verifier(authority, host="localhost", at=NOW).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        verifier(authority, host="elsewhere", at=NOW).verify(leaf, [])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_another_authority_of_the_same_name_is_not_trusted(authority: pki.Authority) -> None:
    stranger = pki.new_authority("test-ca", now=NOW)
    pair = pki.server_certificate(stranger, common_name="api", hosts=("localhost",), now=NOW)
    with pytest.raises(verification.VerificationError):
        verifier(authority, host="localhost", at=NOW).verify(
            x509.load_pem_x509_certificate(pair.certificate), []
        )


@pytest.mark.parametrize(
    ("at", "valid"),
    [
        (NOW - pki.BACKDATE, True),
        (NOW - pki.BACKDATE - dt.timedelta(seconds=1), False),
        (NOW + pki.LIFETIME - dt.timedelta(seconds=1), True),
        (NOW + pki.LIFETIME + dt.timedelta(seconds=1), False),
    ],
)
def test_lifetime_counts_from_now_with_room_for_slow_clocks(
    authority: pki.Authority, at: dt.datetime, *, valid: bool
) -> None:
    pair = pki.server_certificate(authority, common_name="api", hosts=("localhost",), now=NOW)
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    if valid:
        verifier(authority, host="localhost", at=at).verify(leaf, [])
    else:
        with pytest.raises(verification.VerificationError):
            verifier(authority, host="localhost", at=at).verify(leaf, [])


def test_a_client_certificate_names_user_and_groups(authority: pki.Authority) -> None:
    pair = pki.client_certificate(authority, user="admin", groups=("system:masters", "ops"), now=NOW)
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    assert [one.value for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["admin"]
    organizations = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [one.value for one in organizations] == ["system:masters", "ops"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf.verify_directly_issued_by(authority.certificate)


def test_leaves_cannot_sign(authority: pki.Authority) -> None:
    pair = pki.client_certificate(authority, user="admin", now=NOW)
    leaf = x509.load_pem_x509_certificate(pair.certificate)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_every_key_is_p256_since_account_keys_cannot_be_ed25519(authority: pki.Authority) -> None:
    for pem in (pki.signing_key().key, pki.client_certificate(authority, user="a", now=NOW).key):
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
