"""What the spoke remembers without its hub: the assignment, each app as it is enforced, and the inventories.

Secrets in the agent's own namespace, each of which is complete in itself, so that a kill at any instruction
leaves the old or the new one:

- one for the assignment: the document as signed, with its signature;
- one an app: which release of it is enforced, and that release's bundle as received (values of Secrets stay
  sealed). The entry is in the same object as the bundle, so that neither can be there without the other. What
  exceeds one Secret goes to chunks, which are named by the bundle's hash and written first;
- one an app for its inventory, which the apply layer shapes.

All carry the uid of the cluster that they were written on: those of another one, from a restored or cloned
backup, are left aside.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import logging
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import sha256_hex
from agent.contract.names import (
    AGENT_NAMESPACE,
    ANNOTATION_APP,
    GROUP,
    LABEL_AGENT_CLUSTER,
    LABEL_HUB,
    LABEL_STATE,
    short_hash,
)
from agent.contract.wire import AssignedApp, AssignmentDocument
from agent.link.assignment import SignedAssignment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest
    from agent.link.secrets import SecretWriter

logger = logging.getLogger(__name__)

CHUNK = 700 * 1024
"""Bytes in one Secret: as base64 in JSON, one request stays below 1 MiB."""
ANNOTATION_UID = f"{GROUP}/cluster-uid"
_ASSIGNMENT, _APP, _CHUNK, _INVENTORY = "assignment", "app", "chunk", "inventory"


@dataclass(frozen=True, slots=True)
class SavedApp:
    """An app as it is enforced: its entry, and its bundle as received."""

    assigned: AssignedApp
    data: bytes
    passed: bool = True
    """What it waits for was Healthy once: it is not held again, in particular not by a restart."""
    applied: bool = False
    """It was applied in full. Kept only for apps whose drift is not corrected: they are not applied again."""
    order: tuple[int, int] = (0, 0)
    """(epoch, seq) of the document that assigned it: the kept document may be older."""
    hooks: tuple[str, ...] = ()
    """Hooks of the release that ended, and how: they do not run again for it."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """All that was found. `corrupt` names what could not be read; nothing follows from its absence."""

    assignment: SignedAssignment | None = None
    apps: dict[str, SavedApp] = field(default_factory=dict)
    inventories: dict[str, Manifest] = field(default_factory=dict)
    corrupt: tuple[str, ...] = ()


class _Unreadable(Exception):
    """One Secret of the state does not read."""


class StateStore:
    """The state of one agent: (hub, cluster) on a cluster with this uid."""

    def __init__(self, secrets: SecretWriter, *, hub_id: str, cluster: str, cluster_uid: str) -> None:
        self._secrets = secrets
        self._uid = cluster_uid
        self._scope = f"{hub_id}|{cluster}"
        self._labels = {LABEL_HUB: short_hash(hub_id), LABEL_AGENT_CLUSTER: short_hash(cluster)}
        self._chunks: dict[str, list[str]] = {}

    async def load(self) -> SavedState:
        """Read everything with one list. What does not read is named, logged and left where it is."""
        selector = ",".join(f"{key}={value}" for key, value in self._labels.items())
        found: dict[str, dict[str, Manifest]] = {}
        for secret in await self._secrets.list(selector):
            metadata = secret["metadata"]
            if (metadata.get("annotations") or {}).get(ANNOTATION_UID) != self._uid:
                logger.warning("state: the Secret %s was written on another cluster", metadata["name"])
                continue
            found.setdefault(metadata["labels"].get(LABEL_STATE, ""), {})[metadata["name"]] = secret
        corrupt: list[str] = []
        assignment: SignedAssignment | None = None
        for name, secret in found.get(_ASSIGNMENT, {}).items():
            try:
                assignment = _read_assignment(secret)
            except _Unreadable as error:
                corrupt.append(name)
                logger.error("state: %s: %s", name, error)  # noqa: TRY400 - a stack says nothing about data
        chunks = found.get(_CHUNK, {})
        apps: dict[str, SavedApp] = {}
        for name, secret in found.get(_APP, {}).items():
            try:
                saved = _read_app(secret, chunks)
            except _Unreadable as error:
                corrupt.append(name)
                logger.error("state: %s: %s", name, error)  # noqa: TRY400 - as above
                continue
            apps[saved.assigned.app] = saved
            self._chunks[name] = [part for part in chunks if part.startswith(f"{name}-")]
        inventories = {
            (secret["metadata"].get("annotations") or {}).get(ANNOTATION_APP, name): secret
            for name, secret in found.get(_INVENTORY, {}).items()
        }
        return SavedState(assignment, apps, inventories, tuple(corrupt))

    async def save_assignment(self, signed: SignedAssignment) -> None:
        """The newest document; its bytes stay as they were signed."""
        data = {
            "document": gzip.compress(signed.raw, compresslevel=6, mtime=0),
            "signature": signed.signature.encode(),
            "etag": signed.etag.encode(),
        }
        name = f"axletree-{short_hash(self._scope)}-assignment"
        await self._secrets.put(self._secret(name, _ASSIGNMENT, data))

    async def save_app(self, saved: SavedApp) -> None:
        """Enforce this release from now on: chunks first, then the one write that counts."""
        assigned = saved.assigned
        name = self._app_name(assigned.app)
        first, *rest = _split(saved.data)
        parts: list[str] = []
        for index, piece in enumerate(rest, start=1):
            part = f"{name}-{assigned.blob[:16]}-{index}"
            await self._secrets.put(self._secret(part, _CHUNK, {"bundle": piece}, app=assigned.app))
            parts.append(part)
        flags = {"passed": saved.passed, "applied": saved.applied, "order": saved.order, "hooks": saved.hooks}
        entry = json.dumps({"assigned": assigned.wire(), "chunks": parts, **flags}).encode()
        secret = self._secret(name, _APP, {"app.json": entry, "bundle": first}, app=assigned.app)
        await self._secrets.put(secret)
        old = [part for part in self._chunks.pop(name, []) if part not in parts]
        self._chunks[name] = parts
        await self._secrets.delete(old)

    async def save_inventory(self, app: str, secret: Manifest) -> None:
        """Write an inventory Secret as the apply layer made it, marked as part of this state."""
        metadata = secret["metadata"]
        marked: Manifest = {
            **secret,
            "metadata": {
                **metadata,
                "labels": {**(metadata.get("labels") or {}), **self._labels, LABEL_STATE: _INVENTORY},
                "annotations": {
                    **(metadata.get("annotations") or {}),
                    ANNOTATION_APP: app,
                    ANNOTATION_UID: self._uid,
                },
            },
        }
        await self._secrets.put(marked)

    async def drop_app(self, app: str, *, inventory: str) -> None:
        """Forget an app that is gone, its entry last. `inventory`: the name of its inventory Secret."""
        name = self._app_name(app)
        await self._secrets.delete([inventory, *self._chunks.pop(name, []), name])

    def _app_name(self, app: str) -> str:
        return f"axletree-app-{short_hash(f'{self._scope}|{app}', 20)}"

    def _secret(self, name: str, state: str, data: dict[str, bytes], *, app: str = "") -> Manifest:
        annotations = {ANNOTATION_UID: self._uid}
        if app:
            annotations[ANNOTATION_APP] = app
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": f"{GROUP}/state",
            "metadata": {
                "name": name,
                "namespace": AGENT_NAMESPACE,
                "labels": {**self._labels, LABEL_STATE: state},
                "annotations": annotations,
            },
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


def _split(data: bytes) -> Iterator[bytes]:
    for start in range(0, max(1, len(data)), CHUNK):
        yield data[start : start + CHUNK]


def _data(secret: Manifest, key: str) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {})[key], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise _Unreadable(f"no readable {key}") from error


def _read_assignment(secret: Manifest) -> SignedAssignment:
    try:
        raw = gzip.decompress(_data(secret, "document"))
        document = AssignmentDocument.model_validate_json(raw)
        return SignedAssignment(
            document, raw, _data(secret, "signature").decode(), _data(secret, "etag").decode()
        )
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise _Unreadable(type(error).__name__) from error


def _read_app(secret: Manifest, chunks: dict[str, Manifest]) -> SavedApp:
    try:
        entry: dict[str, Any] = json.loads(_data(secret, "app.json"))
        assigned = AssignedApp.model_validate(entry["assigned"])
        parts = [chunks[name] for name in entry.get("chunks") or ()]
        epoch, seq = entry.get("order") or (0, 0)
        order = int(epoch), int(seq)
        hooks = tuple(str(each) for each in entry.get("hooks") or ())
    except (ValueError, KeyError, TypeError) as error:
        raise _Unreadable(type(error).__name__) from error
    data = b"".join(_data(part, "bundle") for part in (secret, *parts))
    if sha256_hex(data) != assigned.blob:
        raise _Unreadable("the bundle does not have its hash")
    passed, applied = bool(entry.get("passed", True)), bool(entry.get("applied"))
    return SavedApp(assigned, data, passed, applied, order, hooks)
