"""What rendering takes from the hub itself: values from ConfigMaps and Secrets beside the Application, and keys.

Nothing is read that is not meant for it: values carry one label, keys another.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent.contract.names import LABEL_CREDENTIALS, LABEL_VALUES
from hub.render.chart import ValuesLayer
from hub.render.plain import ManifestError
from hub.render.sops import DecryptionKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.contract.manifest import Manifest
    from hub.api.application import ApplicationSpec
    from hub.api.source import ValuesFrom

SECRET = "Secret"  # noqa: S105 - the kind's name
SOPS = "sops"
"""The value of the label `axletree.dev/credentials` of a Secret with keys for SOPS."""


class HubObjects(Protocol):
    """ConfigMaps and Secrets of the hub as they are now."""

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The object, if it is meant for values."""
        ...

    def keys(self, namespace: str) -> DecryptionKeys:
        """What opens the encrypted files of that project."""
        ...


@dataclass(frozen=True, slots=True)
class CachedObjects:
    """From caches that hold what carries the label alone, by `namespace/name`."""

    config_maps: Callable[[str], Manifest | None]
    secrets: Callable[[str], Manifest | None]
    credentials: Callable[[], Iterable[Manifest]]

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return (self.secrets if kind == SECRET else self.config_maps)(f"{namespace}/{name}")

    def keys(self, namespace: str) -> DecryptionKeys:
        return keys_of(self.credentials(), namespace)


class GivenObjects:
    """From a person's own files, where values need no label and no namespace. `age` are the person's own identities."""

    def __init__(self, objects: Iterable[Manifest], *, age: tuple[str, ...] = ()) -> None:
        self._objects = list(objects)
        self._age = age

    def find(self, kind: str, namespace: str, name: str) -> Manifest | None:
        found = [one for one in self._objects if one.get("kind") == kind and one["metadata"]["name"] == name]
        return next((one for one in found if one["metadata"].get("namespace") == namespace), None) or next(
            (one for one in found if not one["metadata"].get("namespace")), None
        )

    def keys(self, namespace: str) -> DecryptionKeys:
        found = keys_of(self._objects, namespace)
        return DecryptionKeys((*found.age, *self._age), found.pgp)


def keys_of(secrets: Iterable[Manifest], namespace: str) -> DecryptionKeys:
    """From Secrets of the namespace that are labelled `axletree.dev/credentials: sops`."""
    found: dict[str, list[str]] = {".agekey": [], ".asc": []}
    for one in secrets:
        metadata = one["metadata"]
        labels = metadata.get("labels") or {}
        if metadata.get("namespace", namespace) != namespace or labels.get(LABEL_CREDENTIALS) != SOPS:
            continue
        for key in sorted({**(one.get("data") or {}), **(one.get("stringData") or {})}):
            suffix = next((each for each in found if key.endswith(each)), None)
            text = _text(one, key, f"Secret {namespace}/{metadata['name']}", "") if suffix else None
            if suffix and text:
                found[suffix].append(text)
    return DecryptionKeys(tuple(found[".agekey"]), tuple(found[".asc"]))


def values_from(
    wanted: Iterable[ValuesFrom], objects: HubObjects | None, *, namespace: str, where: str
) -> list[ValuesLayer]:
    """Layers in the order that is asked for. Raises `ManifestError`, whose text holds no value."""
    found: list[ValuesLayer] = []
    for one in wanted:
        kind, what = str(one.kind), f"{one.kind} {namespace}/{one.name}"
        obj = objects.find(kind, namespace, one.name) if objects is not None else None
        text = _text(obj, one.values_key, what, where) if obj is not None else None
        if text is None:
            if one.optional:
                continue
            missing = (
                f"there is no {what} with the label {LABEL_VALUES}"
                if obj is None
                else f"{what} has no key {one.values_key}"
            )
            raise ManifestError(missing, where=where, reason="ValuesNotFound")
        name, secret = f"{what}: {one.values_key}", kind == SECRET
        if one.target_path:
            parameter = {"name": one.target_path, "value": text, "forceString": True}
            found.append(ValuesLayer(f"{name} at {one.target_path}", parameters=(parameter,), secret=secret))
        else:
            found.append(ValuesLayer(name, text=text, secret=secret))
    return found


def versions_of(spec: ApplicationSpec, objects: HubObjects | None, *, namespace: str) -> list[str]:
    """What changes with each object that the Application takes values from."""
    found: list[str] = []
    for source in spec.sources:
        for one in source.helm.values_from if source.helm else ():
            obj = objects.find(str(one.kind), namespace, one.name) if objects is not None else None
            metadata = obj["metadata"] if obj else {}
            found.append(f"{metadata.get('uid', '')} {metadata.get('resourceVersion', '')}")
    return found


def _text(obj: Manifest, key: str, what: str, where: str) -> str | None:
    for field in ("stringData", "data") if obj.get("kind") == SECRET else ("data",):
        value = (obj.get(field) or {}).get(key)
        if not isinstance(value, str):
            continue
        if field == "stringData" or obj.get("kind") != SECRET:
            return value
        try:
            return base64.b64decode(value, validate=True).decode("utf-8-sig")
        except (binascii.Error, UnicodeDecodeError):
            # the decoder's own messages quote the bytes
            raise ManifestError(
                f"{what}: {key} is not UTF-8 text", where=where, reason="ValuesNotFound"
            ) from None
    return None
