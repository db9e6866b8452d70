"""Common labels, annotations and namespace: the last layer. Pure.

Labels go on the objects alone. Pod templates and selectors keep theirs: those of a running workload cannot
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.manifest import GroupKind, ref_of
from hub.render.scopes import CLUSTER_SCOPED, defined_scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest


def with_common(objects: Iterable[Manifest], common: Mapping[str, Any]) -> list[Manifest]:
    """Copies of the objects with `labels`, `annotations` and `namespace` of `common`."""
    found = list(objects)
    scopes = defined_scopes(found)
    return [_changed(one, common, scopes) for one in found]


def _changed(one: Manifest, common: Mapping[str, Any], scopes: Mapping[GroupKind, bool]) -> Manifest:
    metadata = dict(one["metadata"])
    for key in ("labels", "annotations"):
        if common.get(key):
            metadata[key] = {**(metadata.get(key) or {}), **common[key]}
    kind = ref_of(one).group_kind
    if common.get("namespace") and not scopes.get(kind, kind in CLUSTER_SCOPED):
        metadata["namespace"] = common["namespace"]
    return {**one, "metadata": metadata}
