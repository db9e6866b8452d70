"""What an expansion must read before it can go on, with its JSON form: it asks from within a worker process.

Light, as all that a worker imports (`hub.core.expansion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, order=True)
class GitListingNeed:
    repo_url: str
    revision: str


@dataclass(frozen=True, slots=True, order=True)
class GitFilesNeed:
    repo_url: str
    revision: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class ExternalNeed:
    """What a host, a plugin or another controller must be asked: the generator's kind and its fields as JSON."""

    kind: str
    spec: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read before the expansion can go on; then it is asked again, with all of it."""

    listings: tuple[GitListingNeed, ...] = ()
    files: tuple[GitFilesNeed, ...] = ()
    external: tuple[ExternalNeed, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        return {
            "listings": [[need.repo_url, need.revision] for need in self.listings],
            "files": [[need.repo_url, need.revision, list(need.paths)] for need in self.files],
            "external": [[need.kind, need.spec] for need in self.external],
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> Needs:
        return Needs(
            tuple(GitListingNeed(repo, revision) for repo, revision in data["listings"]),
            tuple(GitFilesNeed(repo, revision, tuple(paths)) for repo, revision, paths in data["files"]),
            tuple(ExternalNeed(kind, spec) for kind, spec in data["external"]),
        )
