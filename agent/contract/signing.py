"""Ed25519 over exact bytes, with a key id, so that keys rotate while both are valid."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.contract.errors import TransientError

_HEADER = re.compile(r"^keyid=([A-Za-z0-9_-]{1,64}), ed25519=([A-Za-z0-9+/=]{1,128})$")


class SignatureInvalid(TransientError):
    """No information, like any other bad answer: what is already held stays in force."""

    reason = "SignatureInvalid"


def sign(data: bytes, *, key_id: str, key: Ed25519PrivateKey) -> str:
    """The header value for `SIGNATURE_HEADER`."""
    return f"keyid={key_id}, ed25519={base64.b64encode(key.sign(data)).decode()}"


def verify(data: bytes, header: str, *, keys: dict[str, str]) -> None:
    """Raise `SignatureInvalid` unless `header` signs exactly `data` by one of `keys` (id -> base64 public key)."""
    match = _HEADER.match(header)
    if match is None:
        raise SignatureInvalid("no readable signature on the answer")
    public = keys.get(match[1])
    if public is None:
        raise SignatureInvalid(f"signed by the unknown key {match[1]}")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
        key.verify(base64.b64decode(match[2]), data)
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise SignatureInvalid(f"the signature by key {match[1]} does not fit the answer") from error
