"""Files of a person: documents of our kinds, and the fleet that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from agent.contract.errors import TerminalError
from agent.contract.names import API_VERSION, GROUP, HUB_CLUSTER
from agent.kube.yaml import load_all
from hub.api.cluster import ClusterSetSpec, ClusterSpec
from hub.api.model import ApiModel
from hub.api.project import ProjectSpec
from hub.core.children import problems
from hub.core.model import ClusterSetView, ClusterView, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.contract.manifest import Manifest

Model = TypeVar("Model", bound=ApiModel)
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
DEFAULT_NAMESPACE = "default"


class InvalidFile(TerminalError):
    """A file that cannot be read, or a document in it that the API server would refuse."""

    reason = "InvalidFile"


@dataclass(frozen=True, slots=True)
class Document:
    """One object and where it stands."""

    source: str
    obj: Manifest

    @property
    def kind(self) -> str:
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"].get("namespace") or DEFAULT_NAMESPACE)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def spec(self) -> dict[str, Any]:
        return self.obj.get("spec") or {}


def read(paths: Iterable[Path]) -> list[Document]:
    """Our documents in these files and, below folders, in every YAML and JSON file. Raises `InvalidFile`.

    Other kinds are left out. So are, below folders, files that do not mention our API: a chart's or template's
    file need not even parse.
    """
    return [one for file, named in files_in(paths) for one in _documents(file, optional=not named)]


def files_in(paths: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """These files and, below folders, every YAML and JSON file; True for those that were named themselves."""
    for path in paths:
        if path.is_dir():
            found = (each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
            yield from ((file, False) for file in sorted(found))
        else:
            yield path, True


def fleet_of(documents: Iterable[Document]) -> Fleet:
    """The clusters, sets and projects among them. A cluster that does not say otherwise is accepted and there.

    So is the hub's own, which every hub has: Argo CD's `in-cluster`, too.
    """
    clusters, sets, projects = {HUB_CLUSTER: ClusterView(HUB_CLUSTER)}, {}, {}
    for document in documents:
        metadata = document.obj["metadata"]
        if document.kind == "Cluster":
            spec = checked(ClusterSpec, document)
            clusters[document.name] = ClusterView(
                name=document.name,
                labels=metadata.get("labels") or {},
                annotations=metadata.get("annotations") or {},
                values=spec.values,
                accepted=document.spec.get("accepted", True) is not False,
                windows=tuple(spec.maintenance_windows),
            )
        elif document.kind == "ClusterSet":
            members = checked(ClusterSetSpec, document)
            sets[document.name] = ClusterSetView(
                name=document.name,
                selector=members.selector,
                clusters=tuple(members.clusters),
                drift=members.drift,
                priority=members.priority,
            )
        elif document.kind == "Project":
            projects[document.namespace] = checked(ProjectSpec, document)
    return Fleet(clusters=clusters, cluster_sets=sets, projects=projects)


def checked(model: type[Model], document: Document) -> Model:
    """A document's spec as its model, unknown fields refused. Raises `InvalidFile` with file, object and field."""
    try:
        return model.model_validate(document.spec, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        said = "; ".join(problems(error, model, at="spec"))
        raise InvalidFile(f"{document.source}: {document.kind} {document.name}: {said}") from error


def repositories(mappings: Sequence[str]) -> Mapping[str, Path]:
    """`URL=DIR` as given on the command line. Raises `InvalidFile`."""
    found = {}
    for mapping in mappings:
        url, equals, folder = mapping.rpartition("=")
        if not equals or not url:
            raise InvalidFile(f"{mapping!r}: say --repo URL=DIR")
        if not Path(folder).is_dir():
            raise InvalidFile(f"--repo {url}: {folder} is no folder")
        found[url] = Path(folder)
    return found


def text_of(file: Path) -> str:
    """What stands in a file. Raises `InvalidFile`."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"{file}: {getattr(error, 'strerror', None) or error}") from error


def _documents(file: Path, *, optional: bool) -> list[Document]:
    text = text_of(file)
    if optional and f"{GROUP}/" not in text:
        return []
    objects = load_all(text, source=str(file))
    return [_document(str(file), obj) for obj in objects if obj.get("apiVersion") == API_VERSION]


def _document(source: str, obj: Manifest) -> Document:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not isinstance(obj.get("kind"), str):
        raise InvalidFile(f"{source}: a document without kind or metadata.name")
    if not isinstance(metadata.get("namespace", ""), str):
        raise InvalidFile(f"{source}: {obj['kind']} {name}: metadata.namespace is no text; put it in quotes")
    if not isinstance(obj.get("spec") or {}, dict):
        raise InvalidFile(f"{source}: {obj['kind']} {name}: spec is no map")
    return Document(source, obj)
