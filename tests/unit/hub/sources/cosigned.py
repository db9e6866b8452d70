"""What cosign leaves in a registry, made by hand from its specifications."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.sources.cosign import ANNOTATION, BUNDLE, IN_TOTO, SIGNATURE, SIMPLE

if TYPE_CHECKING:
    from tests.unit.hub.sources.chart_server import ChartServer

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Layer = tuple[str, bytes, dict[str, str]]
BUNDLE_TYPE = f"{BUNDLE}.v0.3+json"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
KEY = ec.generate_private_key(ec.SECP256R1())


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


def simple_tag(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def simple_layer(digest: str, key: Private, text: bytes | None = None) -> Layer:
    payload = text_of(digest) if text is None else text
    return SIMPLE, payload, {ANNOTATION: sign(key, payload)}


def cosign(server: ChartServer, digest: str, key: Private, text: bytes | None = None) -> None:
    """As `cosign sign --key` leaves it under the manifest's own tag."""
    server.push("team/apps", simple_tag(digest), [simple_layer(digest, key, text)])


def envelope_of(
    digest: str, key: Private, *, subject: str = "", kind: str = IN_TOTO, predicate: str = PREDICATE
) -> dict[str, object]:
    """A statement about the manifest, signed as DSSE has it."""
    named = (subject or digest).removeprefix("sha256:")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": predicate,
        "subject": [{"digest": {"sha256": named}}],
    }
    payload = json.dumps(statement).encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": sign(key, signed)}],
    }


def bundle_of(digest: str, key: Private, **wrong: str) -> bytes:
    content = {"mediaType": BUNDLE_TYPE, "dsseEnvelope": envelope_of(digest, key, **wrong)}
    return json.dumps(content).encode()


def bundle(server: ChartServer, digest: str, key: Private, **wrong: str) -> None:
    """As `cosign sign --key --new-bundle-format` leaves it among the referrers."""
    refer(server, digest, bundle_of(digest, key, **wrong))


def bundle_by_tag(server: ChartServer, digest: str, key: Private) -> None:
    """As cosign 2.6 leaves it where a registry has no API for referrers: nothing but its manifest says what it is."""
    manifest = server.push("team/apps", "bundle", [(BUNDLE_TYPE, bundle_of(digest, key), {})])
    index = {"manifests": [{"digest": manifest, "artifactType": "application/vnd.oci.empty.v1+json"}]}
    server.files[f"/v2/team/apps/manifests/{digest.replace(':', '-')}"] = json.dumps(index).encode()


def cosign_referring(server: ChartServer, digest: str, key: Private) -> None:
    """As `cosign sign --key --registry-referrers-mode=oci-1-1` leaves it."""
    _refer(server, digest, simple_layer(digest, key), kind=SIGNATURE)


def refer(server: ChartServer, digest: str, data: bytes) -> None:
    """Put a bundle among the manifest's referrers."""
    _refer(server, digest, (BUNDLE_TYPE, data, {}), kind=BUNDLE_TYPE)


def _refer(server: ChartServer, digest: str, layer: Layer, *, kind: str) -> None:
    manifest = server.push("team/apps", "bundle", [layer])
    index = {"manifests": [{"digest": manifest, "artifactType": kind}]}
    server.files[f"/v2/team/apps/referrers/{digest}"] = json.dumps(index).encode()
