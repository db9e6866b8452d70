"""Join tokens: each lets one key join as one cluster, within its time.

The cluster is named, or whichever first comes with the labels that the token asks for.

Kept as a Secret with the sha256 of the token's secret: of 256 random bits, so a slow hash would add nothing.
The Secret also keeps what the token was used for, so that a lost answer can be given again, by any gateway.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from agent.contract.names import HUB_CLUSTER, HUB_NAMESPACE, LABEL_JOIN_TOKEN
from agent.contract.token import JoinToken
from hub.gateway import paths
from hub.gateway.errors import TokenRefused

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.gateway.identity import HubIdentity

_PREFIX = "axletree-join-"
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What the hub remembers of a token."""

    id: str
    cluster: str
    secret_hash: str
    expires_at: datetime
    auto_accept: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    allow_labels: tuple[str, ...] = ()
    """Label keys that the spoke itself may set; an entry that ends in `/` allows a whole prefix."""
    match: tuple[tuple[str, str], ...] = ()
    """Of a token that names no cluster: labels that the spoke must say of itself."""
    used_by: str = ""
    """Hex sha256 of the public key that used it; empty: not used yet."""
    certificate: str = ""
    """PEM of what was issued, to give the same answer again."""
    enrolled: bool = False
    """The Cluster was written. A repeat then only repeats the answer: it must not undo a revocation."""
    resource_version: str = ""

    def allowed(self, labels: dict[str, str]) -> dict[str, str]:
        """Those of a spoke's own labels that this token lets it have."""
        exact = {key for key in self.allow_labels if not key.endswith("/")} | {key for key, _ in self.match}
        prefixes = tuple(key for key in self.allow_labels if key.endswith("/"))
        return {
            key: value
            for key, value in labels.items()
            if key in exact or (prefixes and key.startswith(prefixes))
        }

    def fits(self, labels: dict[str, str]) -> bool:
        """Whether a spoke with these labels of its own is one that the token is for."""
        return all(labels.get(key) == value for key, value in self.match)

    def to_secret(self) -> Manifest:
        content = {
            "cluster": self.cluster,
            "secretHash": self.secret_hash,
            "expiresAt": self.expires_at.isoformat(),
            "autoAccept": json.dumps(self.auto_accept),
            "labels": json.dumps(dict(self.labels), sort_keys=True),
            "allowLabels": json.dumps(self.allow_labels),
            "match": json.dumps(dict(self.match), sort_keys=True),
            "usedBy": self.used_by,
            "certificate": self.certificate,
            "enrolled": json.dumps(self.enrolled),
        }
        metadata = {
            "name": secret_name(self.id),
            "namespace": HUB_NAMESPACE,
            "labels": {LABEL_JOIN_TOKEN: "true"},
        }
        if self.resource_version:
            metadata["resourceVersion"] = self.resource_version
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()},
        }

    @classmethod
    def from_secret(cls, secret: Manifest) -> TokenRecord:
        """Read it back. Raises `TokenRefused` for a Secret that is no token of ours."""
        metadata = secret["metadata"]
        try:
            _ = metadata["labels"][LABEL_JOIN_TOKEN]  # any other Secret is no token, whatever is in it
            data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
            return cls(
                id=metadata["name"].removeprefix(_PREFIX),
                cluster=data["cluster"],
                secret_hash=data["secretHash"],
                expires_at=datetime.fromisoformat(data["expiresAt"]),
                auto_accept=json.loads(data["autoAccept"]) is True,
                labels=tuple(sorted(json.loads(data["labels"]).items())),
                allow_labels=tuple(json.loads(data["allowLabels"])),
                match=tuple(sorted(json.loads(data.get("match", "{}")).items())),
                used_by=data["usedBy"],
                certificate=data["certificate"],
                enrolled=json.loads(data["enrolled"]) is True,
                resource_version=metadata.get("resourceVersion", ""),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise TokenRefused("the token's record on the hub does not read") from error


def secret_name(token_id: str) -> str:
    return f"{_PREFIX}{token_id}"


def verify(
    record: TokenRecord,
    *,
    token: JoinToken,
    cluster: str,
    key: str,
    hub_id: str,
    now: datetime,
    labels: dict[str, str] | None = None,
) -> None:
    """Raise `TokenRefused` unless this token lets this key (its fingerprint) join as this cluster, now.

    The secret comes first: who does not have it learns nothing about the token. A key that used it in time
    may come back later: its cluster may be accepted after the token expired, and answers get lost.
    """
    if not hmac.compare_digest(record.secret_hash, _hash(token.secret)) or token.id != record.id:
        raise TokenRefused("there is no such token")
    if token.hub != hub_id:
        raise TokenRefused("the token is for another hub")
    if record.cluster and cluster != record.cluster:
        raise TokenRefused(f"the token is not for cluster {cluster}")
    if not record.cluster and cluster == HUB_CLUSTER:
        raise TokenRefused("the hub's own cluster joins by a token for that name alone")
    if not record.cluster and not record.fits(labels or {}):
        wanted = ", ".join(f"{name}={value}" for name, value in record.match)
        raise TokenRefused(f"the token is for clusters with the labels {wanted}")
    if record.used_by and record.used_by != key:
        raise TokenRefused("the token was used, with another key")
    if not record.used_by and now >= record.expires_at:
        raise TokenRefused(f"the token expired at {record.expires_at.isoformat(timespec='seconds')}")


async def create_token(
    client: RestClient,
    identity: HubIdentity,
    *,
    cluster: str,
    ttl: timedelta,
    now: datetime,
    labels: dict[str, str] | None = None,
    auto_accept: bool = False,
    allow_labels: tuple[str, ...] = (),
    match: dict[str, str] | None = None,
) -> str:
    """Make a token and give its text, which is nowhere else: the hub keeps a hash.

    Without a `cluster`, `match` says which one may come: at least one label.
    """
    if bool(cluster) == bool(match):
        raise ValueError("a token is for a cluster's name or for labels")
    token = JoinToken(
        id=secrets.token_hex(6),
        secret=secrets.token_urlsafe(32),
        hub=identity.hub_id,
        ca=identity.ca_hash,
        cluster=cluster,
    )
    record = TokenRecord(
        id=token.id,
        cluster=cluster,
        secret_hash=_hash(token.secret),
        expires_at=now + ttl,
        auto_accept=auto_accept,
        labels=tuple(sorted((labels or {}).items())),
        allow_labels=allow_labels,
        match=tuple(sorted((match or {}).items())),
    )
    await client.create(paths.SECRETS, record.to_secret())
    return token.encode()


async def load(client: RestClient, token_id: str) -> TokenRecord:
    """Read the record of a token. Raises `TokenRefused` where there is none."""
    try:
        return TokenRecord.from_secret(await client.get(paths.secret(secret_name(token_id))))
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        raise TokenRefused("there is no such token") from error


async def save(client: RestClient, record: TokenRecord) -> TokenRecord:
    """Write it unless someone else did since it was read (a 409 `ApiError`)."""
    return TokenRecord.from_secret(
        await client.replace(paths.secret(secret_name(record.id)), record.to_secret())
    )


async def delete_expired(client: RestClient, *, now: datetime, keep: timedelta = timedelta(days=30)) -> int:
    """Delete tokens that nobody used in time, and used ones that expired longer than `keep` ago."""
    listing = await client.list(paths.SECRETS, label_selector=LABEL_JOIN_TOKEN)
    deleted = 0
    for secret in listing.items:
        try:
            record = TokenRecord.from_secret(secret)
        except TokenRefused:
            continue
        if now < record.expires_at + (keep if record.used_by else timedelta()):
            continue
        try:
            await client.delete(
                paths.secret(secret_name(record.id)), resource_version=record.resource_version or None
            )
        except ApiError as error:
            if error.transient:
                raise
            continue
        deleted += 1
    return deleted


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
