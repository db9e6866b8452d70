"""What goes into an expansion and what comes out, with their JSON forms: it runs in a worker process.

No pydantic here, nor in anything that a worker imports: it would double the worker's memory. The hub checks
the children with the API's models when they come back (`hub.core.children`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.contract.errors import TerminalError
from hub.core.needs import ExternalNeed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest

RepoRevision: TypeAlias = tuple[str, str]
MAX_CHILDREN = 20_000
"""Of one set: the API server and a person's patience end earlier."""
MAX_PARAMS = 100_000
"""Parameter sets that one generator may give, before selectors: a product grows faster than one thinks."""


def revision_key(repo_url: str, revision: str) -> str:
    """`<repoURL>@<revision>`: how plans and statuses name what they were read from."""
    return f"{repo_url}@{revision or 'HEAD'}"


class ExpansionError(TerminalError):
    """An expansion that cannot be finished: the last good plan of the set stays.

    Says where: the set (`namespace/name`), the generator's index, the field whose template it is, the line in
    that template, and the parameters (bounded text).
    """

    reason = "ExpansionFailed"

    def __init__(
        self,
        detail: str,
        *,
        set_key: str = "",
        generator: int | None = None,
        path: str = "",
        line: int | None = None,
        params: str = "",
    ) -> None:
        self.detail = detail
        self.set_key = set_key
        self.generator = generator
        self.path = path
        self.line = line
        self.params = params
        super().__init__(self._text())

    def _text(self) -> str:
        where = [f"set {self.set_key}"] if self.set_key else []
        if self.generator is not None:
            where.append(f"generators[{self.generator}]")
        if self.path:
            where.append(self.path)
        if self.line is not None:
            where.append(f"line {self.line}")
        text = ": ".join([*where, self.detail])
        return f"{text} (params: {self.params})" if self.params else text

    def located(
        self, *, set_key: str = "", generator: int | None = None, path: str = "", params: str = ""
    ) -> ExpansionError:
        """The same failure with what an outer step knows about its place. A path is put in front."""
        joined = ".".join(part for part in (path, self.path) if part).replace(".[", "[")
        return type(self)(
            self.detail,
            set_key=self.set_key or set_key,
            generator=self.generator if self.generator is not None else generator,
            path=joined,
            line=self.line,
            params=self.params or params,
        )

    def to_wire(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "detail": self.detail,
            "set": self.set_key,
            "generator": self.generator,
            "path": self.path,
            "line": self.line,
            "params": self.params,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> ExpansionError:
        kind = _BY_REASON.get(str(data["reason"]), ExpansionError)
        return kind(
            data["detail"],
            set_key=data["set"],
            generator=data["generator"],
            path=data["path"],
            line=data["line"],
            params=data["params"],
        )


class TemplateError(ExpansionError):
    reason = "TemplateError"


class UnknownClusterSet(ExpansionError):
    reason = "UnknownClusterSet"


class UnknownCluster(ExpansionError):
    reason = "UnknownCluster"


class GeneratorError(ExpansionError):
    reason = "GeneratorError"


class DuplicateName(ExpansionError):
    reason = "DuplicateName"


class InvalidChild(ExpansionError):
    reason = "InvalidChild"


class TooManyChildren(ExpansionError):
    reason = "TooManyChildren"


class RepositoryNotAllowed(ExpansionError):
    """A generator reads a repository that its project does not list."""

    reason = "RepositoryNotAllowed"


_BY_REASON: dict[str, type[ExpansionError]] = {
    kind.reason: kind
    for kind in (
        TemplateError,
        UnknownClusterSet,
        UnknownCluster,
        GeneratorError,
        DuplicateName,
        InvalidChild,
        TooManyChildren,
        RepositoryNotAllowed,
    )
}


def _fields(facts: Any) -> dict[str, Any]:
    """As `asdict`, without its deep copies."""
    return {name: getattr(facts, name) for name in facts.__slots__}


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster as generators see it: accepted, and not being removed, where `eligible`."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    eligible: bool = True
    leaving: bool = False
    """It is being removed: no child may name it any more."""


@dataclass(frozen=True, slots=True)
class ClusterSetFacts:
    """A cluster set: `selector` is the raw LabelSelector, None selects nothing."""

    name: str
    selector: Mapping[str, Any] | None = None
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Every file and directory of a commit."""

    commit: str
    files: tuple[str, ...] = ()
    dirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpandRequest:
    """One set's raw spec, the fleet, and what was read from Git so far."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    clusters: tuple[ClusterFacts, ...] = ()
    cluster_sets: tuple[ClusterSetFacts, ...] = ()
    listings: Mapping[RepoRevision, Listing] = field(default_factory=dict)
    contents: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """File texts by (repository, revision, path)."""
    external: Mapping[ExternalNeed, list[dict[str, Any]]] = field(default_factory=dict)
    """Parameter sets by what was asked."""
    part: bool = False
    """Whether the clusters are only some: what only all of them can tell is an error then."""

    @property
    def set_key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def to_wire(self) -> dict[str, Any]:
        return {
            "namespace": self.namespace,
            "name": self.name,
            "spec": self.spec,
            "clusters": [_fields(cluster) for cluster in self.clusters],
            "clusterSets": [_fields(cluster_set) for cluster_set in self.cluster_sets],
            "listings": [[*key, _fields(listing)] for key, listing in self.listings.items()],
            "contents": [[*key, text] for key, text in self.contents.items()],
            "external": [[need.kind, need.spec, rows] for need, rows in self.external.items()],
            "part": self.part,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> ExpandRequest:
        return ExpandRequest(
            namespace=data["namespace"],
            name=data["name"],
            spec=data["spec"],
            clusters=tuple(ClusterFacts(**cluster) for cluster in data["clusters"]),
            cluster_sets=tuple(ClusterSetFacts(**one) for one in data["clusterSets"]),
            listings={(repo, revision): Listing(**listing) for repo, revision, listing in data["listings"]},
            contents={(repo, revision, path): text for repo, revision, path, text in data["contents"]},
            external={ExternalNeed(kind, spec): rows for kind, spec, rows in data["external"]},
            part=data["part"],
        )


@dataclass(frozen=True, slots=True)
class Child:
    """One child: the Application's manifest, and the parameters that it came from as bounded text."""

    name: str
    manifest: Manifest
    params: str
    generator: int = 0
    origin: str = ""
    """The cluster whose parameters these are, where the generator gives each cluster's by themselves."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The children in the generators' order, and the commits read, by `<repoURL>@<revision>`."""

    children: tuple[Child, ...]
    revisions: Mapping[str, str] = field(default_factory=dict)
    largest: int = 0
    """The most parameter sets that a product came to on the way."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "children": [
                [one.name, one.manifest, one.params, one.generator, one.origin] for one in self.children
            ],
            "revisions": dict(self.revisions),
            "largest": self.largest,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> Expansion:
        children = tuple(Child(*one) for one in data["children"])
        return Expansion(children, data["revisions"], data["largest"])
