"""Kubernetes objects as plain JSON, and references to them."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Manifest: TypeAlias = dict[str, Any]
"""One Kubernetes object as decoded JSON. Typed models are 15 times slower, and know no custom kinds."""


class GroupKind(NamedTuple):
    """A kind without its version: the same object is seen through any version of its group."""

    group: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


class ObjectRef(NamedTuple):
    """Which object, whatever version it is read in. `namespace` is empty for cluster-scoped kinds.

    A tuple, since all that is known of objects is kept by it: a dataclass is hashed and compared in Python.
    """

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> GroupKind:
        return GroupKind(self.group, self.kind)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.group_kind} {where}"


def group_of(api_version: str) -> str:
    """`apps/v1` -> `apps`; `v1` -> the empty core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def ref_of(manifest: Manifest) -> ObjectRef:
    """The reference of an object that carries apiVersion, kind and metadata.name."""
    metadata = manifest.get("metadata") or {}
    return ObjectRef(
        group_of(manifest.get("apiVersion", "")),
        manifest.get("kind", ""),
        metadata.get("namespace") or "",
        metadata.get("name") or "",
    )


def as_number(version: str) -> int | None:
    """A resourceVersion as a number, None for an opaque one.

    Opaque by the letter of the API; versions of one collection are ordered numbers where Kubernetes itself serves
    it (KEP-5504).
    """
    return int(version) if version.isascii() and version.isdecimal() else None
