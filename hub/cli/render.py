"""`axle render`: what an Application's files come to, with no cluster at hand."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.secrets import map_secret, mask
from agent.kube.yaml import dump_all
from hub.api.application import ApplicationSpec
from hub.cli.connect import run
from hub.cli.failure import EXIT_NEGATIVE, plainly
from hub.cli.files import Document, InvalidFile, checked, fleet_of, read, repositories
from hub.cli.foreign import documents_of, objects_in
from hub.cli.offline import ClustersOption, FilesOption, RepoOption, children_of
from hub.cli.output import Format, print_value
from hub.core.model import ClusterView
from hub.fleet.tools import find_programs
from hub.render.checks import check_objects
from hub.render.hubvalues import GivenObjects
from hub.render.inputs import Inputs
from hub.render.pool import WorkerPool
from hub.sources.directory import LOCAL, DirectorySource
from hub.sources.errors import RepositoryUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.core.model import Fleet
    from hub.render.pipeline import RenderRequest, RenderResult

app = typer.Typer()
_MARKS = os.urandom(32)

AppsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--app", metavar="[NAMESPACE/]NAME", help="Only this Application; repeat.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class RenderedApp:
    """One Application and what it comes to."""

    document: Document
    cluster: str
    request: RenderRequest
    result: RenderResult
    cluster_document: Document | None = None
    """The Cluster, where one is known."""


@app.command()
def render(
    file: FilesOption,
    *,
    apps: AppsOption = None,
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    stages: Annotated[bool, typer.Option("--stages", help="Print the objects after every layer.")] = False,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="A B", help="Compare two Applications, or two stages of one."),
    ] = None,
    fmt: Annotated[Format, typer.Option("--output", "-o", help="yaml, json or name.")] = Format.YAML,
) -> None:
    """Print the manifests of Applications, also of those that ApplicationSets in the files make.

    Git is not read: name the folder of each repository. Applications of Argo CD are taken as they are. With
    `--diff`, exit code 1 says that there is a difference.
    """
    found = rendered(file, apps or (), clusters or (), repo or (), stages=stages or diff is not None)
    if diff is not None:
        lines = _difference(found, *diff)
        for line in lines:
            print(line)
        raise typer.Exit(EXIT_NEGATIVE if lines else 0)
    if stages:
        _print_stages(found, fmt)
        return
    _print([one for each in found for one in each.result.objects], fmt)


def rendered(
    files: Sequence[Path],
    names: Sequence[str],
    clusters: Sequence[Path],
    repos: Sequence[str],
    *,
    stages: bool,
) -> list[RenderedApp]:
    """The Applications in these files, rendered in this process. Ends the command where that fails."""
    with plainly():
        objects = GivenObjects(objects_in([*files, *clusters]), age=own_identities())
        ours, theirs = documents_of(files, more=clusters)
        documents = [*read(files), *ours]
        others = [*read(clusters), *theirs]
        fleet = fleet_of([*documents, *others])
        folders = repositories(repos)
    inputs = Inputs(DirectorySource(folders), objects)
    known = {one.name: one for one in (*documents, *others) if one.kind == "Cluster"}
    found = run(lambda: _rendered(documents, names, fleet, inputs, folders, stages=stages))
    return [replace(one, cluster_document=known.get(one.cluster)) for one in found]


def own_identities() -> tuple[str, ...]:
    """The person's age identities, where sops itself looks for them first. Raises `InvalidFile`."""
    found = os.environ.get("SOPS_AGE_KEY", "")
    path = os.environ.get("SOPS_AGE_KEY_FILE", "")
    try:
        return tuple(text for text in (found, Path(path).read_text() if path else "") if text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"SOPS_AGE_KEY_FILE: {path} cannot be read") from error


async def _rendered(
    documents: Sequence[Document],
    names: Sequence[str],
    fleet: Fleet,
    inputs: Inputs,
    folders: Mapping[str, Path],
    *,
    stages: bool,
) -> list[RenderedApp]:
    sets = [one for one in documents if one.kind == "ApplicationSet"]
    children = await children_of(sets, fleet, folders)
    wanted = [one for one in documents if one.kind == "Application"]
    wanted += [Document(f"a child in {one['metadata']['namespace']}", one) for one in children]
    chosen = [one for one in wanted if not names or one.name in names or one.key in names]
    missing = [name for name in names if not any(name in (one.name, one.key) for one in wanted)]
    if missing or not chosen:
        raise InvalidFile(f"there is no Application {', '.join(missing)}".rstrip() + " in these files")
    async with WorkerPool(size=1, programs=find_programs()) as pool:
        return [await _one(one, fleet, inputs, pool, stages=stages) for one in chosen]


async def _one(
    document: Document, fleet: Fleet, inputs: Inputs, pool: WorkerPool, *, stages: bool
) -> RenderedApp:
    spec = checked(ApplicationSpec, document)
    cluster = fleet.clusters.get(spec.cluster) or ClusterView(spec.cluster)
    commits = dict.fromkeys(spec.origins(), LOCAL)
    try:
        found = await inputs.of(document.key, spec, cluster=cluster, commits=commits)
        request = await found.request(stages=stages)
    except RepositoryUnreachable as error:
        raise InvalidFile(f"{document.key}: {error}: map it with --repo URL=DIR") from error
    result = await pool.render(request)
    where = ", ".join(dict.fromkeys(one.where for one in request.sources))
    check_objects(result.objects, namespace=spec.namespace, where=where)
    return RenderedApp(document, spec.cluster, request, result)


def _print(objects: Sequence[Manifest], fmt: Format) -> None:
    match fmt:
        case Format.JSON:
            print_value({"apiVersion": "v1", "kind": "List", "items": list(objects)}, fmt)
        case Format.NAME | Format.TABLE:
            for one in objects:
                print(name_of(one))
        case Format.YAML:
            print(dump_all(list(objects)), end="")


def name_of(one: Manifest) -> str:
    """`deployment/web`, with its namespace before where it says one."""
    metadata = one["metadata"]
    namespace = metadata.get("namespace")
    name = f"{str(one['kind']).lower()}/{metadata['name']}"
    return f"{namespace}/{name}" if namespace else name


def _print_stages(found: Sequence[RenderedApp], fmt: Format) -> None:
    if fmt is Format.JSON:
        value = [
            {
                "app": one.document.key,
                "stages": [
                    replace(stage, objects=masked(stage.objects)).to_wire() for stage in one.result.stages
                ],
            }
            for one in found
        ]
        print_value(value, fmt)
        return
    for each in found:
        for number, stage in enumerate(each.result.stages, 1):
            said = f": not by itself: {stage.problem}" if stage.problem else ""
            print(f"# {each.document.key} on {each.cluster}: stage {number}, {stage.name}{said}")
            _print(masked(stage.objects), fmt)


def _difference(found: Sequence[RenderedApp], first: str, second: str) -> list[str]:
    """A unified diff of two sets of objects, sorted; empty where they are equal."""
    before, after = _texts(found, first), _texts(found, second)
    return [line.rstrip("\n") for line in difflib.unified_diff(before, after, first, second, n=4)]


def _texts(found: Sequence[RenderedApp], name: str) -> list[str]:
    for one in found:
        if name in (one.document.name, one.document.key):
            return _sorted(one.result.objects)
    if len(found) == 1:
        for number, stage in enumerate(found[0].result.stages, 1):
            if name in (str(number), stage.name):
                return _sorted(stage.objects)
    known = [one.document.key for one in found] if len(found) > 1 else _stage_names(found[0])
    with plainly():
        raise InvalidFile(f"{name!r} is none of these: {', '.join(known)}")
    raise typer.Exit(EXIT_NEGATIVE)  # pragma: no cover - for the type checker: `plainly` always raises


def _stage_names(one: RenderedApp) -> list[str]:
    return [f"{number} ({stage.name})" for number, stage in enumerate(one.result.stages, 1)]


def _sorted(objects: Iterable[Manifest]) -> list[str]:
    return dump_all(sorted(masked(objects), key=name_of)).splitlines(keepends=True)


def masked(objects: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """With a mark in the place of each value of a Secret: equal for equal values, and another one in each process.

    Manifests go to whoever asked for them; what compares or explains them ends in the logs of CI.
    """
    return tuple(
        map_secret(one, lambda value: f"(secret {mask(value, key=_MARKS).removeprefix('hmac:')[:8]})")
        for one in objects
    )
