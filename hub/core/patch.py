"""Strategic merge, as `templatePatch` means it: `kubectl patch` on the rendered child, with no API server.

* Maps merge key by key; null takes a key away.
* `$patch: replace` in a map takes its place whole, `$patch: delete` takes it away.
* Lists are replaced, but for those in `MERGE_KEYS`, whose items are found again by that key; such an item with
  `$patch: delete` goes. Items of the patch that are new come after those that were there.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from typing import Any

DIRECTIVE = "$patch"
MERGE_KEYS: dict[tuple[str, ...], str] = {
    ("spec", "outputs"): "name",
    ("spec", "inputs"): "as",
}
"""Lists whose items have an identity, by their path in an Application."""


class PatchError(Exception):
    """A patch that cannot be read; `path` is where in it."""

    def __init__(self, message: str, *, path: tuple[str, ...]) -> None:
        super().__init__(message)
        self.path = ".".join(path)


def strategic_merge(base: Any, patch: Any, *, path: tuple[str, ...] = ()) -> Any:
    """`patch` over `base`, neither of which is changed. Raises `PatchError`."""
    if isinstance(patch, dict):
        return _map(base if isinstance(base, dict) else {}, patch, path)
    if isinstance(patch, list) and path in MERGE_KEYS:
        return _keyed(base if isinstance(base, list) else [], patch, path)
    return patch


def _map(base: dict[str, Any], patch: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    directive = patch.get(DIRECTIVE, "merge")
    if directive not in ("merge", "replace", "delete"):
        raise PatchError('"$patch" is merge, replace or delete', path=path)
    if directive == "delete":
        return {}
    merged = {} if directive == "replace" else dict(base)
    for key, value in patch.items():
        if key == DIRECTIVE:
            continue
        if key.startswith("$"):
            raise PatchError(f'the directive "{key}" is not known; "$patch" is', path=path)
        if value is None or (isinstance(value, dict) and value.get(DIRECTIVE) == "delete"):
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge(merged.get(key), value, path=(*path, key))
    return merged


def _keyed(base: list[Any], patch: list[Any], path: tuple[str, ...]) -> list[Any]:
    key = MERGE_KEYS[path]
    merged = {_identity(item, key, path): item for item in base}
    for item in patch:
        identity = _identity(item, key, path)
        if item.get(DIRECTIVE) == "delete":
            merged.pop(identity, None)
        else:
            merged[identity] = strategic_merge(merged.get(identity), item, path=(*path, key))
    return list(merged.values())


def _identity(item: Any, key: str, path: tuple[str, ...]) -> str:
    if not isinstance(item, dict) or not isinstance(item.get(key), str):
        raise PatchError(f'each item needs "{key}", by which it is found', path=path)
    identity: str = item[key]
    return identity
