"""What the hub asks of a place for bundles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from agent.contract.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.contract.bundle import StoredBundle

_BLOB = re.compile(r"[0-9a-f]{64}")
_RETRY = 5.0


class StoreAway(TransientError):
    """The place where bundles are shared cannot be reached, or refuses. What runs goes on; nothing is deleted."""

    reason = "StoreAway"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=_RETRY)


class BundleStore(Protocol):
    """Stored bundles by their blob. Content under a name never changes, so anything may be repeated.

    `keep` and `fetch` may cross the network; the others are about what this process has at hand, and block shortly: a
    bundle is some kilobytes, and a thread's hand-over costs what reading one does.
    """

    async def keep(self, stored: StoredBundle) -> None:
        """Keep it where every process of the hub finds it.

        Raises `BundleCorrupt` where its bytes do not have its hash, `StoreAway`, `OSError` of a disk.
        """
        ...

    async def fetch(self, blob: str) -> bytes | None:
        """The stored bytes, verified; None where there are none (any more). Raises `StoreAway`."""
        ...

    def get(self, blob: str) -> bytes | None:
        """Those that this process has at hand, verified."""
        ...

    def has(self, blob: str) -> bool:
        """Whether this process has kept it. Who asks is about to use it: that keeps it from being collected."""
        ...

    def collect(self, live: AbstractSet[str], *, older_than: float, now: float) -> int:
        """Remove what is not `live` and was put over `older_than` seconds before `now`; how many.

        For a thread. Raises `StoreAway` and `OSError`, and has then deleted nothing that it should not have.
        """
        ...

    def close(self) -> None: ...


def is_blob(name: str) -> bool:
    """Whether the text is a blob's name: it comes from the wire, and becomes a path."""
    return _BLOB.fullmatch(name) is not None
