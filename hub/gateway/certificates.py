"""The hub's own certificate authority: who an agent is, and who the hub is.

ECDSA P-256 throughout, as every TLS stack in use can. Nothing here reads the clock.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.contract.wire import CLUSTER_SAN_PREFIX
from hub.gateway.errors import RequestInvalid

CA_LIFETIME = timedelta(days=3650)
CLIENT_LIFETIME = timedelta(days=90)
"""Sites stay away for weeks; agents renew at two thirds of it."""
SERVER_LIFETIME = timedelta(days=90)
BACKDATE = timedelta(hours=2)
"""Clocks of spokes lag, by an hour and more: a certificate from the future is refused."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM text."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that signs leaves only."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    key_id: str = field(init=False, compare=False)
    """Hex of the key identifier that the leaves it signs carry. Asked for with every request."""

    def __post_init__(self) -> None:
        found = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        object.__setattr__(self, "key_id", found.digest.hex())

    @classmethod
    def create(cls, hub_id: str, *, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"axletree hub {hub_id}")
        builder = (
            _builder(name, issuer=name, public=key.public_key(), now=now, lifetime=CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
        )
        return cls(certificate=builder.sign(key, SHA256()), key=key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Authority:
        """From PEM. Raises ValueError for what does not read or does not belong together."""
        loaded = load_pem_private_key(key, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the CA's key is no elliptic curve key")  # noqa: TRY004 - a value read, not an argument
        parsed = x509.load_pem_x509_certificate(certificate)
        if _spki(parsed.public_key()) != _spki(loaded.public_key()):
            raise ValueError("the CA's certificate and key do not belong together")
        return cls(certificate=parsed, key=loaded)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return _private_pem(self.key)

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the certificate in DER: what join tokens pin."""
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()

    def issue_client(self, csr: x509.CertificateSigningRequest, *, cluster: str, now: datetime) -> str:
        """Sign an agent's certificate, PEM. Of the request only the key counts: the hub says who it is."""
        if _NAME.fullmatch(cluster) is None:
            raise RequestInvalid(f"{cluster!r} is no cluster name")
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(CLUSTER_SAN_PREFIX + cluster)])
        builder = self._leaf("axletree agent", csr.public_key(), now, CLIENT_LIFETIME)  # type: ignore[arg-type]
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        signed = builder.add_extension(san, critical=False).sign(self.key, SHA256())
        return signed.public_bytes(Encoding.PEM).decode()

    def issue_server(self, hosts: tuple[str, ...], *, now: datetime) -> KeyPair:
        """Sign the gateway's certificate for `hosts` (DNS names or IP addresses), with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        san = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = self._leaf("axletree gateway", key.public_key(), now, SERVER_LIFETIME)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        signed = builder.add_extension(san, critical=False).sign(self.key, SHA256())
        return KeyPair(certificate=signed.public_bytes(Encoding.PEM).decode(), key=_private_pem(key))

    def _leaf(
        self, name: str, public: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        issuer = self.certificate.subject
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            _builder(_name(name), issuer=issuer, public=public, now=now, lifetime=lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(authority_key, critical=False)
        )


def read_csr(pem: str) -> x509.CertificateSigningRequest:
    """Read a request whose sender proved to hold the key. Raises `RequestInvalid`."""
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        public = csr.public_key()
        proven = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise RequestInvalid("the certificate request does not read") from error
    if not proven:
        raise RequestInvalid("the certificate request is not signed by its own key")
    strong = isinstance(public, ec.EllipticCurvePublicKey) and isinstance(
        public.curve, ec.SECP256R1 | ec.SECP384R1
    )
    if not strong and not isinstance(public, ed25519.Ed25519PublicKey):
        raise RequestInvalid("the key must be ECDSA P-256, P-384 or Ed25519")
    return csr


def key_fingerprint(csr: x509.CertificateSigningRequest) -> str:
    """Hex sha256 of the public key: the same key gets the same answer."""
    return hashlib.sha256(_spki(csr.public_key())).hexdigest()


def certificate_fingerprint(pem: str) -> str:
    """Hex sha256 over DER, as `Cluster.status.fingerprint` holds it."""
    return hashlib.sha256(x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)).hexdigest()


def certificate_der(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def _spki(public: object) -> bytes:
    data: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return data


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _builder(
    subject: x509.Name,
    *,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
