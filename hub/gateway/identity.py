"""Who this hub is, for all its life: one Secret to back up.

A hub that lost it is another hub to its agents, which is meant: they pin the CA and the hub id. So a Secret
that does not read is an error, never a reason to make a new one.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.errors import ApiError
from agent.contract.names import HUB_NAMESPACE
from agent.contract.signing import sign
from hub.gateway import paths
from hub.gateway.certificates import Authority, KeyPair, read_csr
from hub.gateway.errors import IdentityInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography import x509

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

SECRET_NAME = "axletree-hub-identity"  # noqa: S105 - a name
DIGEST_KEY_BYTES = 32
_NOT_FOUND, _CONFLICT = 404, 409


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """The hub's id, CA, signing keys, digest key and epoch. `signing` holds two keys while one is rotated."""

    hub_id: str
    authority: Authority
    signing: Mapping[str, Ed25519PrivateKey] = field(repr=False)
    active: str
    """The id of the key that signs."""
    digest_key: bytes = field(repr=False)
    epoch: int = 1
    """Raised by recovery from a backup: a higher one outranks every seq of a lower."""

    @classmethod
    def create(cls, *, now: datetime) -> HubIdentity:
        """Make a new hub."""
        hub_id = secrets.token_hex(8)
        active = f"k{secrets.token_hex(4)}"
        return cls(
            hub_id=hub_id,
            authority=Authority.create(hub_id, now=now),
            signing={active: Ed25519PrivateKey.generate()},
            active=active,
            digest_key=secrets.token_bytes(DIGEST_KEY_BYTES),
        )

    @classmethod
    async def load_or_create(cls, client: RestClient, *, now: datetime) -> HubIdentity:
        """Load the one in the cluster; where there is none, make one. Of two hubs at once, one creates it.

        Raises `IdentityInvalid` for a Secret that does not read, and what the client raises.
        """
        path = paths.secret(SECRET_NAME)
        try:
            return cls.from_secret(await client.get(path))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
        identity = cls.create(now=now)
        try:
            await client.create(paths.SECRETS, identity.to_secret())
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            return cls.from_secret(await client.get(path))
        return identity

    @property
    def ca_pem(self) -> str:
        return self.authority.pem

    @property
    def ca_hash(self) -> str:
        """Hex sha256 of the CA in DER, as in join tokens."""
        return self.authority.fingerprint

    @property
    def public_keys(self) -> dict[str, str]:
        """Key id -> base64 of the Ed25519 public key, as agents pin them."""
        return {
            name: base64.b64encode(key.public_key().public_bytes_raw()).decode()
            for name, key in sorted(self.signing.items())
        }

    def sign(self, data: bytes) -> str:
        """Give the signature header's value over exactly these bytes."""
        return sign(data, key_id=self.active, key=self.signing[self.active])

    def issue_client(self, csr: x509.CertificateSigningRequest | str, cluster: str, now: datetime) -> str:
        """Issue a 90-day client certificate, PEM, whose one SAN is `axletree://cluster/<cluster>`."""
        request = read_csr(csr) if isinstance(csr, str) else csr
        return self.authority.issue_client(request, cluster=cluster, now=now)

    def issue_server(self, hosts: tuple[str, ...], now: datetime) -> KeyPair:
        """Issue a certificate for the gateway's listener."""
        return self.authority.issue_server(hosts, now=now)

    def recovered(self) -> HubIdentity:
        """Give the same hub, one epoch later."""
        return replace(self, epoch=self.epoch + 1)

    def to_secret(self) -> Manifest:
        keys = {
            name: base64.b64encode(key.private_bytes_raw()).decode() for name, key in self.signing.items()
        }
        content = {
            "hub-id": self.hub_id.encode(),
            "epoch": str(self.epoch).encode(),
            "ca.crt": self.authority.pem.encode(),
            "ca.key": self.authority.key_pem.encode(),
            "signing-keys": json.dumps(keys, sort_keys=True).encode(),
            "signing-active": self.active.encode(),
            "digest-key": self.digest_key,
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": HUB_NAMESPACE},
            "type": "Opaque",
            "data": {name: base64.b64encode(value).decode() for name, value in content.items()},
        }

    @classmethod
    def from_secret(cls, secret: Manifest) -> HubIdentity:
        """Read it back. Raises `IdentityInvalid`, whose message never repeats a value."""
        try:
            data = {name: base64.b64decode(value) for name, value in secret["data"].items()}
            keys = {
                name: Ed25519PrivateKey.from_private_bytes(base64.b64decode(value))
                for name, value in json.loads(data["signing-keys"]).items()
            }
            identity = cls(
                hub_id=data["hub-id"].decode(),
                authority=Authority.load(data["ca.crt"], data["ca.key"]),
                signing=keys,
                active=data["signing-active"].decode(),
                digest_key=data["digest-key"],
                epoch=int(data["epoch"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise IdentityInvalid(
                f"Secret {HUB_NAMESPACE}/{SECRET_NAME} does not read ({type(error).__name__}): restore it "
                "from its backup; without it every agent has to join again"
            ) from None
        if identity.active not in keys or len(identity.digest_key) != DIGEST_KEY_BYTES or not identity.hub_id:
            raise IdentityInvalid(
                f"Secret {HUB_NAMESPACE}/{SECRET_NAME} is not whole: restore it from its backup"
            )
        return identity
