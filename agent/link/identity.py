"""Who this agent is to its hub, kept in a Secret on its own cluster.

The keys are written before the first join request: an agent that is killed between the hub's answer and its
own write asks again with the same key, and gets the same answer. The Secret carries the cluster's uid, so that
a restored or cloned backup does not speak in the original's name.
"""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError
from agent.contract.handover import mark_key
from agent.contract.names import AGENT_NAMESPACE, LABEL_AGENT_CLUSTER, LABEL_STATE, short_hash
from agent.contract.sealing import new_keypair, public_of
from agent.kube.config import load_identity

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.link.secrets import SecretWriter

_KEY = "identity.json"
_OLD_KEYS = 3


class IdentityOfAnotherCluster(TerminalError):
    """The identity was written on a cluster with another uid: a clone, or a restored backup."""

    reason = "IdentityOfAnotherCluster"


class IdentityCorrupt(TerminalError):
    reason = "IdentityCorrupt"


@dataclass(frozen=True, slots=True)
class Identity:
    """Keys, and what the hub gave for them; without a certificate it has yet to join."""

    cluster: str
    cluster_uid: str
    private_key: str = field(repr=False)
    """PEM, PKCS 8, EC P-256."""
    sealing_key: bytes = field(repr=False)
    """X25519, 32 raw bytes; values of Secrets are sealed to its public half."""
    sealing_public: bytes
    hub_id: str = ""
    certificate: str = ""
    ca: str = ""
    signing_keys: dict[str, str] = field(default_factory=dict)
    renew_at: float = 0.0
    """Seconds since the epoch: about two thirds of the certificate's life."""
    expires_at: float = 0.0
    """Seconds since the epoch; 0: not known."""
    renewals: int = 0
    keys: int = 0
    """The generation of `ca` and `signing_keys`."""
    token_id: str = ""
    """Of the token that this identity joined with: another one in the configuration is a person's answer."""
    next_key: str = field(default="", repr=False)
    """PEM of the key that the next certificate is asked for with: kept before it is asked."""
    next_sealing: str = field(default="", repr=False)
    """base64, as `sealing_old`."""
    sealing_old: tuple[str, ...] = field(default=(), repr=False)
    """base64 of former sealing keys, newest first: what is kept on the spoke may be sealed to them."""

    marking: str = field(default="", repr=False)
    """base64 of what marks of sealed outputs are made with, once the first sealing key was replaced."""

    @property
    def mark_key(self) -> bytes:
        """The same for as long as this identity lives: what did not change is not told as something new."""
        return base64.b64decode(self.marking) if self.marking else mark_key(self.sealing_key)

    @property
    def joined(self) -> bool:
        return bool(self.certificate)

    @property
    def sealing_keys(self) -> tuple[bytes, ...]:
        """All that may open a value, the newest first."""
        return (self.sealing_key, *(base64.b64decode(key) for key in self.sealing_old))

    def dump(self) -> bytes:
        plain: dict[str, Any] = asdict(self)
        plain["sealing_key"] = base64.b64encode(self.sealing_key).decode()
        plain["sealing_public"] = base64.b64encode(self.sealing_public).decode()
        return json.dumps(plain).encode()

    @classmethod
    def load(cls, data: bytes) -> Identity:
        """Raise `IdentityCorrupt` for anything but what `dump` wrote."""
        try:
            plain = json.loads(data)
            plain["sealing_key"] = base64.b64decode(plain["sealing_key"])
            plain["sealing_public"] = base64.b64decode(plain["sealing_public"])
            known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain}
            known["sealing_old"] = tuple(known.get("sealing_old") or ())
            return _checked(cls(**known))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise IdentityCorrupt(
                f"the identity Secret does not read ({type(error).__name__}): restore it, or delete it and give this "
                "agent a new token. What runs stays as it is meanwhile"
            ) from None


def _checked(identity: Identity) -> Identity:
    """The same, if whatever needs it later will be able to. Raises what `load` turns into `IdentityCorrupt`."""
    float(identity.renew_at + identity.expires_at + identity.renewals + identity.keys)
    dict(identity.signing_keys)
    public, *_former = map(public_of, identity.sealing_keys)
    if public != identity.sealing_public:
        raise ValueError("the halves of the sealing key do not belong together")
    if identity.joined:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=identity.ca)
        load_identity(context, certificate=identity.certificate, key=identity.private_key)
    return identity


def new_identity(cluster: str, cluster_uid: str) -> Identity:
    """Fresh keys for a cluster that has yet to join."""
    private, public = new_keypair()
    return Identity(
        cluster=cluster,
        cluster_uid=cluster_uid,
        private_key=new_private_key(),
        sealing_key=private,
        sealing_public=public,
    )


def new_private_key() -> str:
    """PEM, PKCS 8, EC P-256."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only at a join or a renewal
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


def with_next_keys(identity: Identity, *, sealing: bool = False) -> Identity:
    """Have a key for the next certificate, and, where asked, one to seal to; those that are there stay.

    The hub may have seen them already, in a request whose answer was lost.
    """
    if not identity.next_key:
        identity = replace(identity, next_key=new_private_key())
    if sealing and not identity.next_sealing:
        identity = replace(identity, next_sealing=base64.b64encode(new_keypair()[0]).decode())
    return identity


def next_sealing_public(identity: Identity) -> bytes:
    """The public half of the next sealing key; empty where the present one stays."""
    return public_of(base64.b64decode(identity.next_sealing)) if identity.next_sealing else b""


def promoted(identity: Identity) -> Identity:
    """The next keys as the present ones; the former sealing key is kept for what it still has to open."""
    certified = replace(identity, private_key=identity.next_key or identity.private_key, next_key="")
    if not identity.next_sealing:
        return certified
    old = (base64.b64encode(identity.sealing_key).decode(), *identity.sealing_old)
    sealing = base64.b64decode(identity.next_sealing)
    return replace(
        certified,
        sealing_key=sealing,
        sealing_public=public_of(sealing),
        sealing_old=old[:_OLD_KEYS],
        marking=base64.b64encode(identity.mark_key).decode(),
        next_sealing="",
    )


def unjoined(identity: Identity) -> Identity:
    """The same keys without what the hub gave: a cluster that has to join again."""
    return replace(
        identity,
        hub_id="",
        certificate="",
        ca="",
        signing_keys={},
        renew_at=0.0,
        expires_at=0.0,
        renewals=0,
        keys=0,
        token_id="",
    )


def identity_name(cluster: str) -> str:
    """The Secret's name: by cluster, since a restarted agent knows no hub id before it has read it."""
    return f"axletree-{short_hash(cluster)}-identity"


class IdentityStore:
    """Loads and saves one agent's identity."""

    def __init__(self, secrets: SecretWriter, cluster: str) -> None:
        self._secrets = secrets
        self._cluster = cluster

    async def load(self, cluster_uid: str) -> Identity | None:
        """None where there is none yet. Raises `IdentityOfAnotherCluster`, `IdentityCorrupt`, `ApiError`."""
        secret = await self._secrets.get(identity_name(self._cluster))
        if secret is None:
            return None
        raw = (secret.get("data") or {}).get(_KEY)
        if raw is None:
            raise IdentityCorrupt(f"the Secret {identity_name(self._cluster)} has no {_KEY}")
        identity = Identity.load(base64.b64decode(raw))
        if identity.cluster != self._cluster:
            raise IdentityCorrupt(f"the identity is for the cluster {identity.cluster}, not {self._cluster}")
        if identity.cluster_uid != cluster_uid:
            raise IdentityOfAnotherCluster(
                f"the identity of {self._cluster} was made on another cluster (uid {identity.cluster_uid}, "
                f"here {cluster_uid}): delete the Secret {AGENT_NAMESPACE}/{identity_name(self._cluster)} "
                "and the state beside it, and join with a new token"
            )
        return identity

    async def save(self, identity: Identity) -> None:
        await self._secrets.put(_manifest(identity))


def _manifest(identity: Identity) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "axletree.dev/identity",
        "metadata": {
            "name": identity_name(identity.cluster),
            "namespace": AGENT_NAMESPACE,
            "labels": {LABEL_STATE: "identity", LABEL_AGENT_CLUSTER: short_hash(identity.cluster)},
        },
        "data": {_KEY: base64.b64encode(identity.dump()).decode()},
    }
