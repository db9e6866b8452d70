"""What the hub knows of one kind, reading its own writes.

A reflector's cache is always a little behind. A reconciler that has just written must not decide again on the
state before its write: so both watch events and the answers to writes land here, and the newer one wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from agent.contract.manifest import Manifest, as_number

ChangeCallback = Callable[[Manifest | None, Manifest | None], None]


class Objects:
    """Objects of one kind by `namespace/name` (`name` alone for cluster-scoped kinds)."""

    def __init__(self) -> None:
        self._items: dict[str, Manifest] = {}
        self._deleted: dict[str, int] = {}
        self._callbacks: list[ChangeCallback] = []

    def subscribe(self, callback: ChangeCallback) -> None:
        """Called with (old, new) after each change, whichever way it came."""
        self._callbacks.append(callback)

    def observe(self, old: Manifest | None, new: Manifest | None) -> None:
        """A watch event, or the answer to a write as `(None, answer)`."""
        if new is None:
            if old is not None:
                self._remove(old)
            return
        key = key_of(new)
        version = version_of(new)
        current = self._items.get(key)
        if current is not None and version_of(current) >= version:
            return
        if current is None and version <= self._deleted.get(key, -1):
            return
        self._items[key] = new
        self._deleted.pop(key, None)
        self._notify(current, new)

    def _remove(self, old: Manifest) -> None:
        key = key_of(old)
        current = self._items.get(key)
        if current is None:
            return
        if current["metadata"].get("uid") != old["metadata"].get("uid"):
            return  # it was made again meanwhile
        del self._items[key]
        self._deleted[key] = max(version_of(old), version_of(current))
        self._notify(current, None)

    def _notify(self, old: Manifest | None, new: Manifest | None) -> None:
        for callback in self._callbacks:
            callback(old, new)

    def get(self, key: str) -> Manifest | None:
        return self._items.get(key)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> list[Manifest]:
        return list(self._items.values())

    def view(self) -> Mapping[str, Manifest]:
        return self._items


def key_of(obj: Manifest) -> str:
    """`namespace/name`, or `name` where there is no namespace."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def version_of(obj: Manifest) -> int:
    """The resourceVersion as a number; -1 for one that is absent or opaque."""
    number = as_number(str(obj["metadata"].get("resourceVersion", "")))
    return -1 if number is None else number


def split(key: str) -> tuple[str, str]:
    """`namespace/name` -> both; a name alone has the empty namespace."""
    namespace, slash, name = key.rpartition("/")
    return (namespace, name) if slash else ("", key)
