"""Who this hub is, for all its life: one Secret to back up.

A hub that lost it is another hub to its agents, which is meant: they pin the CA and the hub id. So a Secret
that does not read is an error, never a reason to make a new one.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.canonical import canonical_json
from agent.contract.errors import ApiError
from agent.contract.names import HUB_NAMESPACE
from agent.contract.signing import sign
from agent.contract.wire import KeysDocument, SignedKeys
from hub.gateway import paths
from hub.gateway.certificates import Authority, KeyPair, read_csr
from hub.gateway.errors import IdentityInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

SECRET_NAME = "axletree-hub-identity"  # noqa: S105 - a name
DIGEST_KEY_BYTES = 32
_CA_WARNING = timedelta(days=365)
"""Before its CA ends a hub says so for so long."""
_CHAIN = 64
"""Generations that are kept: two a replacement."""
_NOT_FOUND, _CONFLICT = 404, 409


class Stage(StrEnum):
    """How far a replacement of the CA and the signing key is."""

    IDLE = "Idle"
    ANNOUNCED = "Announced"
    """Agents learn the next ones; nothing uses them yet."""
    ACTIVE = "Active"
    """The next ones are in use; the former ones are still trusted."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """When this hub was recovered, and from a backup of when: what agents did in between it has to be told."""

    at: datetime
    backup: datetime


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
    other: Authority | None = None
    """The next CA while it is announced, the former one while the next is in use."""
    stage: Stage = Stage.IDLE
    generation: int = 0
    """Of the CAs and keys that agents trust."""
    chain: tuple[SignedKeys, ...] = ()
    """Every generation, signed by a key of the one before, so that an agent can follow from any of them."""
    recovery: Recovery | None = None

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
        """Of the CA in use alone: what tokens name."""
        return self.authority.pem

    @property
    def trust_pem(self) -> str:
        """Of all CAs that are trusted, the one in use first."""
        return "".join(each.pem for each in self.authorities)

    @property
    def authorities(self) -> tuple[Authority, ...]:
        return (self.authority,) if self.other is None else (self.authority, self.other)

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

    def recovered(self, recovery: Recovery | None = None) -> HubIdentity:
        """Give the same hub, one epoch later."""
        return replace(self, epoch=self.epoch + 1, recovery=recovery or self.recovery)

    def announced(self, *, now: datetime) -> HubIdentity:
        """Make the next CA and signing key, and have agents learn them. Raises ValueError while others are."""
        self._at(Stage.IDLE)
        name = f"k{secrets.token_hex(4)}"
        following = replace(
            self,
            other=Authority.create(self.hub_id, now=now),
            signing={**self.signing, name: Ed25519PrivateKey.generate()},
            stage=Stage.ANNOUNCED,
        )
        return _handed_on(following, by=self)

    def activated(self) -> HubIdentity:
        """Use the next ones, and go on trusting the former."""
        self._at(Stage.ANNOUNCED)
        if self.other is None:
            raise ValueError("there is no next CA")
        (active,) = set(self.signing) - {self.active}
        return replace(self, authority=self.other, other=self.authority, active=active, stage=Stage.ACTIVE)

    def finished(self) -> HubIdentity:
        """Trust the former ones no longer."""
        self._at(Stage.ACTIVE)
        signing = {self.active: self.signing[self.active]}
        return _handed_on(replace(self, other=None, signing=signing, stage=Stage.IDLE), by=self)

    def ending(self, *, now: datetime) -> str:
        """What to do where the CA in use ends within a year; empty before."""
        ends = self.authority.certificate.not_valid_after_utc
        if ends - now > _CA_WARNING:
            return ""
        return (
            f"the hub's CA ends at {ends:%Y-%m-%d}, and then all agents have to join again: axle hub rotate"
        )

    def _at(self, stage: Stage) -> None:
        if self.stage is not stage:
            raise ValueError(f"a replacement of the keys is {self.stage}, not {stage}")

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
        content |= self._kept_of_changes()
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": HUB_NAMESPACE},
            "type": "Opaque",
            "data": {name: base64.b64encode(value).decode() for name, value in content.items()},
        }

    def _kept_of_changes(self) -> dict[str, bytes]:
        """What only a hub has that was recovered, or whose keys were once replaced."""
        kept: dict[str, bytes] = {}
        if self.generation:
            chain = [link.wire() for link in self.chain]
            kept |= {"generation": str(self.generation).encode(), "keys-chain": json.dumps(chain).encode()}
        if self.other is not None:
            kept |= {"other-ca.crt": self.other.pem.encode(), "other-ca.key": self.other.key_pem.encode()}
        if self.stage is not Stage.IDLE:
            kept["stage"] = self.stage.encode()
        if self.recovery is not None:
            kept["recovered-at"] = self.recovery.at.isoformat().encode()
            kept["backup-at"] = self.recovery.backup.isoformat().encode()
        return kept

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
                **_changes(data),
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


def _handed_on(identity: HubIdentity, *, by: HubIdentity) -> HubIdentity:
    """The next generation, with the document that leads to it from the one before."""
    generation = by.generation + 1
    content = KeysDocument(
        hub_id=identity.hub_id,
        generation=generation,
        ca=identity.trust_pem,
        signing_keys=identity.public_keys,
    )
    text = canonical_json(content.wire())
    link = SignedKeys(document=text.decode(), signature=by.sign(text))
    return replace(identity, generation=generation, chain=(*by.chain, link)[-_CHAIN:])


def _changes(data: Mapping[str, bytes]) -> dict[str, Any]:
    """Read what `_kept_of_changes` wrote. Raises what `from_secret` turns into `IdentityInvalid`."""
    found: dict[str, Any] = {
        "stage": Stage(data.get("stage", b"Idle").decode()),
        "generation": int(data.get("generation", b"0")),
        "chain": tuple(SignedKeys.model_validate(each) for each in json.loads(data.get("keys-chain", b"[]"))),
    }
    if "other-ca.crt" in data:
        found["other"] = Authority.load(data["other-ca.crt"], data["other-ca.key"])
    if "recovered-at" in data:
        at, backup = (datetime.fromisoformat(data[name].decode()) for name in ("recovered-at", "backup-at"))
        found["recovery"] = Recovery(at=at, backup=backup)
    return found
