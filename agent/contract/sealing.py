"""Sealed values: readable only by the cluster that they are for.

X25519 (a fresh key a value) -> HKDF-SHA256 -> AES-256-GCM, the scheme of RFC 9180's base mode in spirit with a
fixed suite. The text form is `sealed:v1:` + base64url(ephemeral public key | nonce | ciphertext and tag).
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "sealed:v1:"
_KEY = 32
_NONCE = 12


def new_keypair() -> tuple[bytes, bytes]:
    """A fresh (private, public) pair, 32 raw bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_of(private: bytes) -> bytes:
    """The public half of a private key, both 32 raw bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(plain: bytes, *, recipient: bytes, bound: bytes | None = None) -> str:
    """Encrypt to a 32-byte X25519 public key; it opens only with the same `bound` (associated data)."""
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(_derive(shared, public + recipient)).encrypt(nonce, plain, bound)
    return PREFIX + base64.urlsafe_b64encode(public + nonce + sealed).decode()


def open_sealed(text: str, *, private_key: bytes, bound: bytes | None = None) -> bytes:
    """Decrypt with the recipient's 32-byte private key. Raises ValueError for anything that does not open."""
    if not isinstance(text, str) or not text.startswith(PREFIX):
        raise ValueError("not a sealed value")
    raw = base64.urlsafe_b64decode(text.removeprefix(PREFIX))
    public, nonce, sealed = raw[:_KEY], raw[_KEY : _KEY + _NONCE], raw[_KEY + _NONCE :]
    private = X25519PrivateKey.from_private_bytes(private_key)
    shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    key = _derive(shared, public + private.public_key().public_bytes_raw())
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag as error:
        raise ValueError("a sealed value does not open with this key") from error


def _derive(shared: bytes, context: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=b"axletree/seal/v1" + context).derive(shared)
