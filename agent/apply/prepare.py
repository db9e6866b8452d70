"""From a bundle's object to what is sent: pure.

Labels that mark membership are stamped here, outside the bundle's digest: the digest is what people approved.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.apply.errors import ObjectInvalid
from agent.apply.options import DEFAULT, Options
from agent.apply.order import built_in
from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.manifest import GroupKind, ref_of
from agent.contract.names import ANNOTATION_APP, ANNOTATION_KEEP, APPLYSET_PART_OF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest, ObjectRef

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
CRD = GroupKind("apiextensions.k8s.io", "CustomResourceDefinition")
NAMESPACE = GroupKind("", "Namespace")
JOB = GroupKind("batch", "Job")
SECRET = GroupKind("", "Secret")


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as it is applied. `digest` identifies the content, stamps included."""

    ref: ObjectRef
    api_version: str
    manifest: Manifest = field(repr=False)
    digest: str
    options: Options = DEFAULT

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


def prepare(obj: Manifest, *, ref: ObjectRef, applyset: str, app: str, options: Options = DEFAULT) -> Desired:
    """Stamp, and drop what only a server sets: people paste `kubectl get -o yaml`."""
    metadata = {
        key: value
        for key, value in (obj.get("metadata") or {}).items()
        if key not in _SERVER_METADATA and value is not None
    }
    metadata["labels"] = {**(metadata.get("labels") or {}), APPLYSET_PART_OF: applyset}
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION_APP: app}
    annotations.pop(LAST_APPLIED, None)
    metadata["annotations"] = annotations
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    content = {**obj, "metadata": metadata}
    if built_in(ref.group):  # a custom kind's status may be plain data
        content.pop("status", None)
    if ref.group_kind == SECRET:
        _encode_string_data(content)
    return Desired(
        ref=ref,
        api_version=obj["apiVersion"],
        manifest=content,
        digest=sha256_hex(canonical_json(content)),
        options=options,
    )


def identity(obj: Manifest) -> ObjectRef:
    """The reference as written. Raises `ObjectInvalid` for what has none that holds."""
    metadata = obj.get("metadata") or {}
    ref = ref_of(obj)
    if not obj.get("apiVersion") or not ref.kind:
        raise ObjectInvalid(f"an object has no apiVersion or no kind (name {ref.name!r})")
    if not ref.name:
        hint = (
            "generateName makes a new object each time; name it"
            if metadata.get("generateName")
            else "no name"
        )
        raise ObjectInvalid(f"{ref.group_kind}: {hint}")
    return ref


def declared_scopes(objects: Iterable[Manifest]) -> dict[GroupKind, bool]:
    """Kinds that the bundle's own CRDs define -> namespaced: the server cannot know them yet."""
    scopes: dict[GroupKind, bool] = {}
    for obj in objects:
        if ref_of(obj).group_kind == CRD:
            spec = obj.get("spec") or {}
            kind = GroupKind(str(spec.get("group", "")), str((spec.get("names") or {}).get("kind", "")))
            scopes[kind] = spec.get("scope") == "Namespaced"
    return scopes


def kept(obj: Mapping[str, Any]) -> bool:
    """Whether a person asked to keep this object when it would be deleted: in our words, Helm's or Argo CD's.

    Whatever stands there and is no plain no, a typing error for instance, is a reason not to delete.
    """
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if str(annotations.get(ANNOTATION_KEEP, "")).strip().lower() not in {"", "false", "no", "0", "off"}:
        return True
    if annotations.get("helm.sh/resource-policy") == "keep":
        return True
    theirs = {word.strip() for word in str(annotations.get("argocd.argoproj.io/sync-options", "")).split(",")}
    return not theirs.isdisjoint({"Prune=false", "Delete=false"})


def _encode_string_data(content: Manifest) -> None:
    """`stringData` as `data`: the API server forgets the former, so that a key removed there would stay."""
    plain = content.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode((value or "").encode()).decode() for key, value in plain.items()}
        content["data"] = {**(content.get("data") or {}), **encoded}
