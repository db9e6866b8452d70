"""Signatures that cosign makes with a key: whether one of them is good, and for this manifest. Pure.

Two forms are in use: a signed text that names the digest ("simple signing", in a manifest under the tag
`sha256-DIGEST.sig`, or in a referrer), and a bundle with a statement in a DSSE envelope (a referrer of the manifest):

- https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
- https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
- https://github.com/secure-systems-lab/dsse/blob/master/protocol.md

What a transparency log says is not asked here: who holds the key is all that a project trusts. For signatures without
a key of one's own see `hub.sources.keyless`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from hub.sources.errors import SigningKeysInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle"
"""Of any version: `.v0.3+json` and `+json;version=0.1` follow."""
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""A manifest with such a text that refers to another (`--registry-referrers-mode=oci-1-1`)."""
ANNOTATION = "dev.cosignproject.cosign/signature"
CERTIFICATE, LOGGED = "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"
"""Beside it, where somebody signed without a key: the certificate in PEM, and the log's promise in JSON."""
IN_TOTO = "application/vnd.in-toto+json"
_TYPE = "cosign container image signature"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""What a statement must be to be a signature: others attest something else, perhaps that it is no good."""
_MIN_RSA = 2048


@dataclass(frozen=True, slots=True)
class Simple:
    """A signed text, and what stands beside it in the annotations."""

    text: bytes
    signature: str
    certificate: str = ""
    logged: str = ""


def public_keys(texts: Iterable[str]) -> list[PublicKeyTypes]:
    """The keys of PEM texts: ECDSA, Ed25519 and RSA. Raises `SigningKeysInvalid`."""
    found: list[PublicKeyTypes] = []
    for text in texts:
        try:
            key = load_pem_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningKeysInvalid("a PEM block among the trusted keys does not read") from error
        known = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
        if not known or (isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA):
            raise SigningKeysInvalid("a PEM key is of a kind or size that is not taken")
        found.append(key)
    return found


def simple_is_good(one: Simple, digest: str, keys: Sequence[PublicKeyTypes]) -> bool:
    """Whether the text is signed by one of the keys, and says this digest (`sha256:` and hex)."""
    raw = _decoded(one.signature)
    if raw is None or not any(_verifies(key, raw, one.text) for key in keys):
        return False
    return simple_says(one.text, digest)


def simple_says(text: bytes, digest: str) -> bool:
    """Whether the text is that of a signature of this digest (`sha256:` and hex)."""
    critical = _at(_json(text), "critical")
    said = _at(_at(critical, "image"), "docker-manifest-digest")
    return bool(_at(critical, "type") == _TYPE and said == digest)


def as_bundle(one: Simple) -> bytes | None:
    """The same as a bundle of version 0.1; None where nobody signed it without a key, or it does not read.

    The log only promised to take it in: the proof of that it did, which a bundle needs to be read, is an empty one.
    """
    logged = _json(one.logged.encode())
    entry = _at(logged, "Payload")
    body = _json(_decoded(_at(entry, "body")) or b"")
    try:
        identifier = bytes.fromhex(entry["logID"])
        certificate = load_pem_x509_certificate(one.certificate.encode()).public_bytes(Encoding.DER)
        numbers = {name: str(int(entry[name])) for name in ("logIndex", "integratedTime")}
    except (ValueError, TypeError, KeyError):
        return None
    empty = {"logIndex": "0", "rootHash": "", "treeSize": "1", "hashes": [], "checkpoint": {"envelope": "-"}}
    known = {
        **numbers,
        "logId": {"keyId": _encoded(identifier)},
        "kindVersion": {"kind": str(_at(body, "kind")), "version": str(_at(body, "apiVersion"))},
        "inclusionPromise": {"signedEntryTimestamp": str(_at(logged, "SignedEntryTimestamp"))},
        "inclusionProof": empty,
        "canonicalizedBody": str(_at(entry, "body")),
    }
    digest = {"algorithm": "SHA2_256", "digest": _encoded(hashlib.sha256(one.text).digest())}
    content = {
        "mediaType": f"{BUNDLE}+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": {"certificates": [{"rawBytes": _encoded(certificate)}]},
            "tlogEntries": [known],
        },
        "messageSignature": {"messageDigest": digest, "signature": one.signature},
    }
    return json.dumps(content).encode()


def bundle_is_good(data: bytes, digest: str, keys: Sequence[PublicKeyTypes]) -> bool:
    """Whether the bundle's statement is signed, and has this digest for a subject."""
    envelope = _at(_json(data), "dsseEnvelope")
    payload = _decoded(_at(envelope, "payload"))
    signatures = _at(envelope, "signatures")
    if payload is None or _at(envelope, "payloadType") != IN_TOTO or not isinstance(signatures, list):
        return False
    kind = IN_TOTO.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    raws = [raw for one in signatures[:8] if (raw := _decoded(_at(one, "sig"))) is not None]
    if not any(_verifies(key, raw, signed) for raw in raws for key in keys):
        return False
    return says(payload, digest)


def says(payload: bytes, digest: str) -> bool:
    """Whether the statement is a signature of this digest (`sha256:` and hex)."""
    statement = _json(payload)
    subjects = _at(statement, "subject")
    wanted = digest.removeprefix("sha256:")
    return (
        _at(statement, "predicateType") == _PREDICATE
        and isinstance(subjects, list)
        and any(_at(_at(one, "digest"), "sha256") == wanted for one in subjects)
    )


def _verifies(key: PublicKeyTypes, signature: bytes, payload: bytes) -> bool:
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(signature, payload, ec.ECDSA(_hash_of(key)))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, payload)
            case rsa.RSAPublicKey():
                key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _hash_of(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """As sigstore pairs curves and hashes."""
    sizes: dict[int, hashes.HashAlgorithm] = {384: hashes.SHA384(), 521: hashes.SHA512()}
    return sizes.get(key.curve.key_size, hashes.SHA256())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(value: Any) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
