"""A Sigstore instance of a test: a certificate authority, a log of certificates, a log of signatures. No network.

What it makes is what `cosign sign` without a key leaves beside an image: the certificate with the timestamp of its log
(RFC 6962) in it, the DSSE envelope, and the entry of the signatures' log with its promise, proof and checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from hub.sources.cosign import ANNOTATION, CERTIFICATE, IN_TOTO, LOGGED, SIMPLE
from tests.unit.hub.sources.certificates import Authority, usage
from tests.unit.hub.sources.cosigned import BUNDLE_TYPE, PREDICATE, Layer, envelope_of, sign, text_of

ISSUER = "https://accounts.example.com"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_LOG = "log.example.com"
Key = ec.EllipticCurvePrivateKey


def _key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class SigstoreInstance:
    authority: Authority = field(default_factory=lambda: Authority.made("people"))
    certificates: Key = field(default_factory=_key)
    """Of the log of certificates."""
    log: Key = field(default_factory=_key)
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def root(self) -> str:
        """As `trusted_root.json`."""
        chain = [{"rawBytes": _b64(self.authority.certificate.public_bytes(Encoding.DER))}]
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [self._log(self.log)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "example", "commonName": "people"},
                        "uri": "https://people.example.com",
                        "certChain": {"certificates": chain},
                        "validFor": self._since(),
                    }
                ],
                "ctlogs": [self._log(self.certificates)],
                "timestampAuthorities": [],
            }
        )

    def bundle(
        self,
        digest: str,
        subject: str,
        *,
        issuer: str = ISSUER,
        kind: str = IN_TOTO,
        predicate: str = PREDICATE,
        seconds: int = 60,
        logged_by: Key | None = None,
        seen_by: Key | None = None,
        signed_with: Key | None = None,
    ) -> bytes:
        """`seconds` after the certificate was made, it is used; it is good for ten minutes."""
        key = _key()
        certificate = self._certificate(subject, issuer, key, seen_by or self.certificates)
        envelope = envelope_of(digest, signed_with or key, kind=kind, predicate=predicate)
        entry = self._entry(envelope, certificate, logged_by or self.log, seconds)
        material = {
            "certificate": {"rawBytes": _b64(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [entry],
        }
        content = {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
        return json.dumps(content).encode()

    def simple(
        self,
        digest: str,
        subject: str,
        *,
        issuer: str = ISSUER,
        kind: str = "cosign container image signature",
        seconds: int = 60,
        logged_by: Key | None = None,
        seen_by: Key | None = None,
        signed_with: Key | None = None,
    ) -> Layer:
        """The older form: a signed text, with certificate and promise in the annotations of its layer."""
        key = _key()
        certificate = self._certificate(subject, issuer, key, seen_by or self.certificates)
        text = text_of(digest, kind)
        signature = sign(signed_with or key, text)
        pem = certificate.public_bytes(Encoding.PEM)
        spec = {
            "data": {"hash": _hash(text)},
            "signature": {"content": signature, "publicKey": {"content": _b64(pem)}},
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec})
        log, at = logged_by or self.log, int(self.now.timestamp()) + seconds
        promise = {"body": _b64(body), "integratedTime": at, "logID": _id(log).hex(), "logIndex": 1}
        stamp = _b64(_signed(log, _canonical(promise)))
        logged = json.dumps({"SignedEntryTimestamp": stamp, "Payload": promise})
        return SIMPLE, text, {ANNOTATION: signature, CERTIFICATE: pem.decode(), LOGGED: logged}

    def _certificate(self, subject: str, issuer: str, key: Key, seen_by: Key) -> x509.Certificate:
        name: x509.GeneralName = (
            x509.UniformResourceIdentifier(subject) if "://" in subject else x509.RFC822Name(subject)
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key())
        code = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now)
            .not_valid_after(self.now + timedelta(minutes=10))
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(usage(sign=False), critical=True)
            .add_extension(code, critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OID, issuer.encode()), critical=False)
        )
        before = builder.sign(self.authority.key, hashes.SHA256())
        stamp = self._stamp(before.tbs_certificate_bytes, seen_by)
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_OID, stamp), critical=False).sign(
            self.authority.key, hashes.SHA256()
        )

    def _stamp(self, certificate: bytes, seen_by: Key) -> bytes:
        """The list of signed timestamps, in DER."""
        at = int(self.now.timestamp() * 1000)
        issuer = hashlib.sha256(_der(self.authority.key)).digest()
        entry = issuer + len(certificate).to_bytes(3, "big") + certificate
        signed = struct.pack("!BBQH", 0, 0, at, 1) + entry + struct.pack("!H", 0)
        signature = seen_by.sign(signed, ec.ECDSA(hashes.SHA256()))
        stamp = struct.pack("!B32sQHBBH", 0, _id(seen_by), at, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        assert len(listed) < 128  # one byte says how long it is
        return b"\x04" + bytes([len(listed)]) + listed

    def _entry(
        self, envelope: dict[str, Any], certificate: x509.Certificate, log: Key, seconds: int
    ) -> dict[str, Any]:
        payload = base64.b64decode(envelope["payload"])
        verifier = _b64(certificate.public_bytes(Encoding.PEM))
        spec = {
            "envelopeHash": _hash(json.dumps(envelope).encode()),
            "payloadHash": _hash(payload),
            "signatures": [{"signature": one["sig"], "verifier": verifier} for one in envelope["signatures"]],
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        at = int(self.now.timestamp()) + seconds
        promise = {"body": _b64(body), "integratedTime": at, "logID": _id(log).hex(), "logIndex": 1}
        beside = hashlib.sha256(b"\x00another").digest()
        top = hashlib.sha256(b"\x01" + beside + hashlib.sha256(b"\x00" + body).digest()).digest()
        note = f"{_LOG} - 1\n2\n{_b64(top)}\n"
        signature = _id(log)[:4] + _signed(log, note.encode())
        return {
            "logIndex": "1",
            "logId": {"keyId": _b64(_id(log))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(at),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_signed(log, _canonical(promise)))},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": _b64(top),
                "treeSize": "2",
                "hashes": [_b64(beside)],
                "checkpoint": {"envelope": f"{note}\n\u2014 {_LOG} {_b64(signature)}\n"},
            },
            "canonicalizedBody": _b64(body),
        }

    def _log(self, key: Key) -> dict[str, Any]:
        return {
            "baseUrl": f"https://{_LOG}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _b64(_der(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": self._since(),
            },
            "logId": {"keyId": _b64(_id(key))},
        }

    def _since(self) -> dict[str, str]:
        return {"start": (self.now - timedelta(days=1)).isoformat().replace("+00:00", "Z")}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _der(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _id(key: Key) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def _signed(key: Key, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
