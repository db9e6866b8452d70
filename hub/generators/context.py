"""What every generator gets, and the checks that all of them make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hub.core.expansion import (
    MAX_PARAMS,
    ClusterFacts,
    ClusterSetFacts,
    GeneratorError,
    Listing,
    RepoRevision,
    TooManyChildren,
)
from hub.core.params import Params, nearest

if TYPE_CHECKING:
    from hub.core.needs import ExternalNeed, GitFilesNeed, GitListingNeed
    from hub.core.templating import TemplateEngine

GeneratorSpec: TypeAlias = Mapping[str, Any]
Generate: TypeAlias = Callable[[GeneratorSpec, "Context"], list[Params]]


@dataclass(slots=True)
class Wanted:
    """What turned out to be missing; filled while generators run."""

    listings: set[GitListingNeed] = field(default_factory=set)
    files: set[GitFilesNeed] = field(default_factory=set)
    external: set[ExternalNeed] = field(default_factory=set)
    used: dict[RepoRevision, str] = field(default_factory=dict)
    """Commits by what was read."""
    largest: int = 0
    """The most parameter sets that a product has come to."""


@dataclass(frozen=True, slots=True)
class Context:
    """The fleet, what is known of Git, and for a later child of a matrix the parameters so far."""

    engine: TemplateEngine
    clusters: tuple[ClusterFacts, ...] = ()
    """Sorted by name."""
    cluster_sets: Mapping[str, ClusterSetFacts] = field(default_factory=dict)
    listings: Mapping[RepoRevision, Listing] = field(default_factory=dict)
    contents: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    external: Mapping[ExternalNeed, list[Params]] = field(default_factory=dict)
    """What hosts and plugins answered."""
    wanted: Wanted = field(default_factory=Wanted)
    params: Params = field(default_factory=dict)


def check_keys(value: Any, known: Collection[str], *, path: str) -> GeneratorSpec:
    """The mapping itself, or `GeneratorError` where it is none or has a key that nobody reads."""
    if not isinstance(value, Mapping):
        raise GeneratorError(f"a map is expected, not {type(value).__name__}", path=path)
    for key in value:
        if key not in known:
            raise GeneratorError(f'unknown field "{key}"{nearest(str(key), known)}', path=path)
    return value


def entries(value: Any, *, path: str) -> list[Any]:
    """The list itself (empty for None), or `GeneratorError`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise GeneratorError(f"a list is expected, not {type(value).__name__}", path=path)
    return value


def text(spec: GeneratorSpec, key: str, *, path: str, default: str | None = None) -> str:
    """A text field; without a default it must be there."""
    value = spec.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise GeneratorError("text is expected", path=f"{path}.{key}")
    return value


def within_limit(count: int, *, path: str, detail: str = "") -> None:
    """Raise `TooManyChildren` where a generator gives more than anybody means."""
    if count > MAX_PARAMS:
        raise TooManyChildren(
            f"{detail or count} parameter sets are more than the {MAX_PARAMS} that a generator may give;"
            " select less, or split the set",
            path=path,
        )
