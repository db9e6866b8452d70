"""What the hub asks of a place for bundles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.contract.bundle import StoredBundle

_BLOB = re.compile(r"[0-9a-f]{64}")


class BundleStore(Protocol):
    """Stored bundles by their blob. Content under a name never changes, so anything may be repeated.

    The methods block, shortly: a bundle is some kilobytes, and a thread's hand-over costs what reading one
    does.
    """

    def put(self, stored: StoredBundle) -> None:
        """Keep it. `BundleCorrupt` where its bytes do not have its hash."""
        ...

    def get(self, blob: str) -> bytes | None:
        """The stored bytes, verified; None where there are none (any more)."""
        ...

    def has(self, blob: str) -> bool: ...

    def collect(self, live: AbstractSet[str], *, older_than: float, now: float) -> int:
        """Remove what is not `live` and was put over `older_than` seconds before `now`; how many."""
        ...


def is_blob(name: str) -> bool:
    """Whether the text is a blob's name: it comes from the wire, and becomes a path."""
    return _BLOB.fullmatch(name) is not None
