"""`axle expand`, `axle graph`: what files would do, with no cluster at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.names import LABEL_SET
from hub.api.application import ApplicationSpec
from hub.cli.connect import run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.files import Document, InvalidFile, checked, fleet_of, read, repositories
from hub.cli.output import Format, FormatOption, out, print_objects, print_value
from hub.core.children import validate_set
from hub.core.graph import AppGraph
from hub.core.model import AppNode
from hub.render.expansion import expand_set
from hub.render.runner import InlineRunner
from hub.sources.directory import DirectorySource
from hub.sources.errors import RepositoryUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.core.model import Fleet

app = typer.Typer()

FilesOption = Annotated[
    list[Path], typer.Option("--file", "-f", help="A file, or a folder of files; repeat.", show_default=False)
]
ClustersOption = Annotated[
    list[Path] | None,
    typer.Option("--clusters", help="Files with Clusters and ClusterSets; repeat.", show_default=False),
]
RepoOption = Annotated[
    list[str] | None,
    typer.Option("--repo", metavar="URL=DIR", help="Read this repository from a folder; repeat."),
]


@app.command()
def expand(
    file: FilesOption,
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    fmt: FormatOption = Format.YAML,
) -> None:
    """Print the children of ApplicationSets as Applications, in the order of their generators.

    Clusters and ClusterSets may stand in either file. A Cluster that does not say `accepted: false` is accepted.
    """
    with plainly():
        documents = read(file)
        fleet = fleet_of([*documents, *read(clusters or ())])
        sets = [document for document in documents if document.kind == "ApplicationSet"]
        if not sets:
            raise InvalidFile(f"there is no ApplicationSet in {', '.join(map(str, file))}")
        folders = repositories(repo or ())
    children = run(lambda: _children(sets, fleet, folders))
    print_objects(children, fmt, columns=("NAMESPACE", "NAME", "CLUSTER", "PATHS"), row=_row)


@app.command()
def graph(
    file: FilesOption,
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Print the order in which Applications are released, in levels; sets are expanded first.

    Exit code 1: there is a cycle, which is printed with its path.
    """
    with plainly():
        documents = read(file)
        fleet = fleet_of([*documents, *read(clusters or ())])
        folders = repositories(repo or ())
    sets = [document for document in documents if document.kind == "ApplicationSet"]
    children = run(lambda: _children(sets, fleet, folders))
    with plainly():
        apps = [document for document in documents if document.kind == "Application"]
        apps += [Document("a child", child) for child in children]
        built = _graph(apps, fleet)
    cycles = [built.cycle_text(min(members)) for members in built.cycles()]
    for cycle in cycles:
        complain(f"DependencyCycle: {cycle}")
    if cycles:
        raise typer.Exit(EXIT_NEGATIVE)
    _print_order(built, fmt)
    for line in _unmatched(built):
        complain(f"NoMatch: {line}")


async def _children(sets: Sequence[Document], fleet: Fleet, folders: Mapping[str, Path]) -> list[Manifest]:
    source, runner = DirectorySource(folders), InlineRunner()
    found: list[Manifest] = []
    for document in sets:
        validate_set(document.spec, set_key=document.key)
        try:
            expansion = await expand_set(
                document.namespace, document.name, document.spec, fleet=fleet, source=source, runner=runner
            )
        except RepositoryUnreachable as error:
            raise InvalidFile(f"set {document.key}: {error}: map it with --repo URL=DIR") from error
        found += [child.manifest for child in expansion.children]
    return found


def _graph(apps: Sequence[Document], fleet: Fleet) -> AppGraph:
    built = AppGraph()
    for view in fleet.clusters.values():
        built.upsert_cluster(view)
    for document in apps:
        if document.key in built:
            raise InvalidFile(f"{document.source}: Application {document.key} is there twice")
        spec = checked(ApplicationSpec, document)
        labels = document.obj["metadata"].get("labels") or {}
        owner = f"{document.namespace}/{labels[LABEL_SET]}" if LABEL_SET in labels else None
        built.upsert(
            AppNode(
                key=document.key,
                cluster=spec.cluster,
                labels=labels,
                owner=owner,
                depends_on=tuple(spec.depends_on),
            )
        )
    return built


def _print_order(built: AppGraph, fmt: Format) -> None:
    levels = built.order()
    if fmt in {Format.JSON, Format.YAML}:
        print_value(levels, fmt)
        return
    if fmt is Format.NAME:
        for key in (key for level in levels for key in level):
            print(key)
        return
    for number, level in enumerate(levels, 1):
        out.print(f"{number}", style="bold", end="")
        for key in level:
            after = sorted({target for edge in built.edges_of(key) for target in edge.targets})
            out.print(f"\t{key}" + (f"  after {', '.join(after)}" if after else ""))


def _unmatched(built: AppGraph) -> list[str]:
    """Edges that would hold their app for ever: nothing in these files is meant."""
    lines = []
    for node in sorted(built, key=lambda node: node.key):
        for index, edge in enumerate(built.edges_of(node.key)):
            empty = not edge.targets and not edge.dependency.optional
            if edge.problem or edge.missing or empty:
                where = f" on {', '.join(edge.missing)}" if edge.missing else ""
                said = edge.problem or f"nothing in these files is meant{where}"
                lines.append(f"{node.key}: spec.dependsOn[{index}]: {said}")
    return lines


def _row(obj: Manifest) -> Sequence[str]:
    sources = obj["spec"].get("sources") or ()
    return (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        str(obj["spec"].get("cluster", "")),
        ",".join(str(source.get("path", ".")) for source in sources),
    )
