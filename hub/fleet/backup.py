"""A hub in one file: its identity, what people declared on it, and what it knows of its spokes.

Restoring adds what is missing, and never changes or deletes what is there. Decisions to delete are left out on both
ways: whatever was decided before the backup may have been taken back after it, and a hub decides anew by Git.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.contract.errors import ApiError, TerminalError
from agent.contract.names import API_VERSION, HUB_NAMESPACE, LABEL_CREDENTIALS, LABEL_JOIN_TOKEN
from hub.gateway.identity import SECRET_NAME, HubIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

FORMAT = "axletree-hub-backup/1"
_SEALED = b"axletree-sealed-backup/1\n"
_SALT, _NONCE = 16, 12
_NOT_FOUND, _CONFLICT = 404, 409
_KINDS = ("projects", "clustersets", "clusters", "applicationsets", "applications", "assignments")
_CORE = "/api/v1"
_OWN_TYPES = ("kubernetes.io/service-account-token", "helm.sh/release.v1")
_OF_THIS_SERVER = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "selfLink",
)


class BackupInvalid(TerminalError):
    """The file is no backup of a hub, was cut, or does not open with that passphrase."""

    reason = "BackupInvalid"


class OtherHub(TerminalError):
    """Another hub's identity is there already: it is not replaced."""

    reason = "OtherHub"


@dataclass(frozen=True, slots=True)
class Backup:
    """`items` are manifests with their status, in the order in which they are restored."""

    taken_at: datetime
    hub_id: str
    items: tuple[Manifest, ...]

    @property
    def identity(self) -> HubIdentity:
        for item in self.items:
            if item["kind"] == "Secret" and item["metadata"]["name"] == SECRET_NAME:
                return HubIdentity.from_secret(item)
        raise BackupInvalid("the backup holds no identity of a hub")

    def dump(self, passphrase: str = "") -> bytes:
        """Give the bytes of the file: compressed, and with a passphrase encrypted (scrypt, AES-256-GCM)."""
        content = {
            "format": FORMAT,
            "takenAt": self.taken_at.isoformat(),
            "hubId": self.hub_id,
            "items": list(self.items),
        }
        plain = gzip.compress(json.dumps(content).encode(), mtime=0)
        if not passphrase:
            return plain
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        return _SEALED + salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, _SEALED)

    @classmethod
    def load(cls, data: bytes, passphrase: str = "") -> Backup:
        """Read it back. Raises `BackupInvalid`."""
        if data.startswith(_SEALED):
            data = _opened(data[len(_SEALED) :], passphrase)
        try:
            content = json.loads(gzip.decompress(data))
            if content["format"] != FORMAT:
                raise BackupInvalid(f"the file says that it is {content['format']!r}, not {FORMAT!r}")
            taken = datetime.fromisoformat(content["takenAt"])
            return cls(taken_at=taken, hub_id=content["hubId"], items=tuple(content["items"]))
        except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
            raise BackupInvalid(f"the file does not read: {type(error).__name__}") from error


async def take(client: RestClient, *, now: datetime) -> Backup:
    """Read everything. Raises what the client raises; half a backup is none."""
    secrets = await _all(client, f"{_CORE}/namespaces/{HUB_NAMESPACE}/secrets")
    kept = [each for each in secrets if _is_ours(each)]
    elsewhere = await client.list(f"{_CORE}/secrets", label_selector=LABEL_CREDENTIALS)
    kept += [each for each in elsewhere.items if each["metadata"]["namespace"] != HUB_NAMESPACE]
    maps = await _all(client, f"{_CORE}/namespaces/{HUB_NAMESPACE}/configmaps")
    kept_maps = [each for each in maps if each["metadata"]["name"] != "kube-root-ca.crt"]
    items = [
        *(_plain(each, "v1", "Secret") for each in kept),
        *(_plain(each, "v1", "ConfigMap") for each in kept_maps),
    ]
    for plural in _KINDS:
        listing = await client.list(f"/apis/{API_VERSION}/{plural}")
        items += [_undecided(_plain(each, API_VERSION, each["kind"])) for each in listing.items]
    spaces = sorted({name for each in items if (name := each["metadata"].get("namespace"))})
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces]
    made = Backup(now.astimezone(UTC), "", (*namespaces, *items))
    return Backup(made.taken_at, made.identity.hub_id, made.items)


async def restore(client: RestClient, items: Iterable[Manifest]) -> dict[str, int]:
    """Make what is missing, with its status; gives how many of each kind were made."""
    made: dict[str, int] = {}
    for item in items:
        if item["kind"] == "Secret" and item["metadata"]["name"] == SECRET_NAME:
            continue
        bare = {key: value for key, value in item.items() if key != "status"}
        try:
            await client.create(_path(item), bare, field_manager="axle")
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            continue
        made[item["kind"]] = made.get(item["kind"], 0) + 1
        if item.get("status") and item["apiVersion"] == API_VERSION:
            path = f"{_path(item)}/{item['metadata']['name']}"
            await client.merge_patch(path, {"status": item["status"]}, subresource="status")
    return made


async def forget_decisions(client: RestClient) -> int:
    """Take every decision to delete back that this API server holds; gives how many there were."""
    taken = 0
    for plural in ("applications", "assignments"):
        path = f"/apis/{API_VERSION}/{plural}"
        for obj in (await client.list(path)).items:
            metadata = obj["metadata"]
            own = f"/apis/{API_VERSION}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
            if (obj.get("status") or {}).get("deletion"):
                await client.merge_patch(own, {"status": {"deletion": None}}, subresource="status")
                taken += 1
            if (obj.get("spec") or {}).get("tombstones"):
                await client.merge_patch(own, {"spec": {"tombstones": []}})
                taken += 1
    return taken


async def _all(client: RestClient, path: str) -> list[Manifest]:
    return (await client.list(path)).items


def _is_ours(secret: Manifest) -> bool:
    labels = secret["metadata"].get("labels") or {}
    return LABEL_JOIN_TOKEN not in labels and secret.get("type") not in _OWN_TYPES


def _plain(obj: Manifest, api_version: str, kind: str) -> Manifest:
    """The object as it could be made elsewhere."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THIS_SERVER}
    return {**obj, "apiVersion": api_version, "kind": kind, "metadata": metadata}


def _undecided(obj: Manifest) -> Manifest:
    """Without decisions to delete."""
    if obj["kind"] == "Assignment":
        return {**obj, "spec": {**obj["spec"], "tombstones": []}}
    status: dict[str, Any] = {
        key: value for key, value in (obj.get("status") or {}).items() if key != "deletion"
    }
    return {**obj, "status": status} if status else {key: obj[key] for key in obj if key != "status"}


def _path(item: Manifest) -> str:
    """The collection that an item belongs to."""
    namespace = item["metadata"].get("namespace")
    root = _CORE if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{item['kind'].lower()}s"


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase.encode())


def _opened(data: bytes, passphrase: str) -> bytes:
    if not passphrase:
        raise BackupInvalid("the backup is encrypted: name the file with its passphrase")
    salt, nonce, sealed = data[:_SALT], data[_SALT : _SALT + _NONCE], data[_SALT + _NONCE :]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, _SEALED)
    except InvalidTag as error:
        raise BackupInvalid("the backup does not open with that passphrase") from error
