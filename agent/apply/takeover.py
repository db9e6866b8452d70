"""Taking an object over from `kubectl apply`: pure.

What kubectl applied client-side is owned by its own manager, as an update: a field that the bundle drops
would stay for ever. Its field set moves into ours, and the next apply removes what is not wanted, as by
`csaupgrade` in client-go: https://pkg.go.dev/k8s.io/client-go/util/csaupgrade
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.apply.prepare import LAST_APPLIED

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

PREDECESSOR = "kubectl-client-side-apply"


def needs_takeover(live: Manifest) -> bool:
    metadata = live["metadata"]
    return LAST_APPLIED in (metadata.get("annotations") or {}) or any(
        _predecessor(entry) for entry in metadata.get("managedFields") or ()
    )


def takeover_patch(live: Manifest, manager: str) -> list[dict[str, Any]]:
    """The JSON patch that hands kubectl's fields to `manager`, which has applied before.

    It holds only for the version it was made from: managedFields are replaced whole.
    """
    metadata = live["metadata"]
    entries = metadata.get("managedFields") or []
    merged: dict[str, Any] = {}
    for entry in entries:
        if _predecessor(entry) or _ours(entry, manager):
            merged = _union(merged, entry.get("fieldsV1") or {})
    ((merged.get("f:metadata") or {}).get("f:annotations") or {}).pop(f"f:{LAST_APPLIED}", None)
    moved = [
        {**entry, "fieldsV1": merged} if _ours(entry, manager) else entry
        for entry in entries
        if not _predecessor(entry)
    ]
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": moved},
    ]
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        pointer = LAST_APPLIED.replace("~", "~0").replace("/", "~1")
        patch.append({"op": "remove", "path": f"/metadata/annotations/{pointer}"})
    return patch


def _predecessor(entry: dict[str, Any]) -> bool:
    return (
        entry.get("manager") == PREDECESSOR
        and entry.get("operation") == "Update"
        and not entry.get("subresource")
    )


def _ours(entry: dict[str, Any], manager: str) -> bool:
    return (
        entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
    )


def _union(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    result = dict(left)
    for key, value in right.items():
        result[key] = _union(result[key], value) if key in result else _union({}, value)
    return result
