"""`axle graph`: the dependency graph of files, or of what a hub has now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from agent.contract.names import LABEL_SET
from hub.api.application import ApplicationSpec
from hub.api.rollout import Rollout
from hub.cli.connect import KubeconfigOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.files import Document, InvalidFile, checked, fleet_of, read, repositories
from hub.cli.offline import ClustersOption, FilesOption, RepoOption, children_of
from hub.cli.output import Format, name_of_app, out, print_value
from hub.cli.reach import reaching
from hub.cli.snapshot import snapshot
from hub.core.drawing import cycles, to_dot, to_json, to_mermaid, unmatched
from hub.core.graph import AppGraph
from hub.core.model import AppNode
from hub.core.waves import contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.core.model import AppKey, Fleet

app = typer.Typer()
_Built: TypeAlias = "tuple[AppGraph, Mapping[AppKey, str]]"
"""The graph, and whose wave contradicts what it waits for."""


class GraphFormat(StrEnum):
    TABLE = "table"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@app.command()
def graph(
    file: FilesOption = [],  # noqa: B006 - typer copies it
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    fmt: Annotated[GraphFormat, typer.Option("--output", "-o", help="How to print.")] = GraphFormat.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Draw what waits for what: of files, whose sets are expanded first, or of a hub where none is named.

    A table has levels, each of which waits only for earlier ones. Exit code 1: there is a cycle, or a wave that
    contradicts an edge, which is printed with its path.
    """
    built, inverted = (
        _of_files(file, clusters or (), repo or ()) if file else run(lambda: _of_hub(kubeconfig))
    )
    found = cycles(built)
    for cycle in found:
        complain(f"DependencyCycle: {cycle}")
    for key, words in sorted(inverted.items()):
        complain(f"WaveInversion: {key}: {words}")
    if not found or fmt in {GraphFormat.DOT, GraphFormat.MERMAID, GraphFormat.JSON, GraphFormat.YAML}:
        _print(built, fmt, inverted)
    for line in unmatched(built):
        complain(f"NoMatch: {line}")
    if found or inverted:
        raise typer.Exit(EXIT_NEGATIVE)


def graph_of(apps: Sequence[Document], fleet: Fleet) -> AppGraph:
    """The graph of these Applications, children included. Raises `InvalidFile`."""
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
                depends_on=spec.edges(),
                mode=spec.sync.mode,
            )
        )
    return built


def _of_files(files: Sequence[Path], clusters: Sequence[Path], repo: Sequence[str]) -> _Built:
    with plainly():
        documents = read(files)
        fleet = fleet_of([*documents, *read(clusters)])
        folders = repositories(repo)
        if not any(document.kind in {"Application", "ApplicationSet"} for document in documents):
            raise InvalidFile(
                f"there is neither Application nor ApplicationSet in {', '.join(map(str, files))}"
            )
    sets = [document for document in documents if document.kind == "ApplicationSet"]
    children = run(lambda: children_of(sets, fleet, folders))
    with plainly():
        apps = [document for document in documents if document.kind == "Application"]
        apps += [Document("a child", child) for child in children]
        built = graph_of(apps, fleet)
        return built, contradictions(built, {each.key: _rollout(each.obj) for each in sets}, fleet)
    raise AssertionError  # pragma: no cover - for the type checker: `plainly` always raises


async def _of_hub(kubeconfig: Path | None) -> _Built:
    async with reaching(kubeconfig) as client:
        found = await snapshot(client)
    built = found.graph()
    return built, contradictions(built, {key: _rollout(obj) for key, obj in found.sets.items()}, found.fleet)


def _rollout(obj: Manifest) -> Rollout:
    try:
        return Rollout.model_validate(obj["spec"].get("rollout") or {})
    except ValueError:
        return Rollout()  # the hub has no waves of it, either


def _print(built: AppGraph, fmt: GraphFormat, inverted: Mapping[AppKey, str]) -> None:
    match fmt:
        case GraphFormat.DOT:
            print(to_dot(built), end="")
        case GraphFormat.MERMAID:
            print(to_mermaid(built), end="")
        case GraphFormat.JSON | GraphFormat.YAML:
            print_value(to_json(built) | {"inversions": dict(sorted(inverted.items()))}, Format(fmt.value))
        case GraphFormat.NAME:
            for key in (key for level in built.order() for key in level):
                print(name_of_app(key))
        case GraphFormat.TABLE:
            _print_levels(built)


def _print_levels(built: AppGraph) -> None:
    for number, level in enumerate(built.order(), 1):
        out.print(f"{number}", style="bold", end="")
        for key in level:
            after = sorted({target for edge in built.edges_of(key) for target in edge.targets})
            out.print(f"\t{key}" + (f"  after {', '.join(after)}" if after else ""))
