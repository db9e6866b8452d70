"""What the hub asks of a source of files; whoever answers, the answers mean the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.sources.signing import Trusted

MAX_BYTES = 16 * 1024 * 1024
"""What may be read for one application, in bytes, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class RepoListing:
    """Every path of one commit, sorted.

    A symlink is a file here, whatever it points to; submodules are left out.
    """

    files: tuple[str, ...]
    dirs: tuple[str, ...]


class Source(Protocol):
    """Files by repository, commit and path. Errors are those of `hub.sources.errors`."""

    def seen_by(self, namespace: str) -> Source:
        """The same as the Project of this namespace may read it: with credentials that are for it, and no others."""
        ...

    def reader(self, repo_url: str) -> str:
        """A name for whose credentials are used: for equal names an address gives equal answers. Never raises."""
        ...

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        """The commit that a branch, tag, full commit id or `HEAD` ("") names now, or the highest of a range.

        `fresh` asks the repository again even when it was asked a moment ago: for webhooks and refreshes.
        """
        ...

    async def tree_id(self, repo_url: str, commit: str, path: str) -> str | None:
        """What changes exactly when something below the path changes; None where nothing is there."""
        ...

    async def listing(self, repo_url: str, commit: str) -> RepoListing: ...

    async def files(
        self, repo_url: str, commit: str, path: str, *, limit_bytes: int = MAX_BYTES
    ) -> dict[str, bytes]:
        """Every file below the path by its name relative to it; one file by its own name."""
        ...

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """The named files, under the names they were asked by. `PathNotFound` where one is missing."""
        ...

    async def verify(
        self, repo_url: str, commit: str, keys: Sequence[Trusted], *, revision: str = ""
    ) -> None:
        """Return where the commit is signed by one of these public keys, or the tag that `revision` names is.

        Raises `SignatureError`. What is signed is another thing in each kind of source; a folder is not asked.
        """
        ...

    def known_at(self, repo_url: str) -> float | None:
        """The loop's time as of which the repository is known; None before it first answered."""
        ...

    async def close(self) -> None: ...
