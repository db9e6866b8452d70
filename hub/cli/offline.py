"""`axle expand`: what files would make, with no cluster at hand."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.connect import run
from hub.cli.failure import plainly
from hub.cli.files import InvalidFile, fleet_of, read, repositories
from hub.cli.foreign import documents_of, objects_in
from hub.cli.limits import TimedRunner
from hub.cli.output import Format, FormatOption, print_objects
from hub.core.children import validate_set
from hub.hosts.ask import Asker
from hub.hosts.objects import FileObjects
from hub.render.expansion import expand_set
from hub.sources.directory import DirectorySource
from hub.sources.errors import RepositoryUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.files import Document
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
    ApplicationSets and cluster Secrets of Argo CD are taken as they are; what has no equal is told on stderr.
    """
    with plainly():
        documents, others = _read(file, clusters or ())
        fleet = fleet_of([*documents, *others])
        sets = [document for document in documents if document.kind == "ApplicationSet"]
        if not sets:
            raise InvalidFile(f"there is no ApplicationSet in {', '.join(map(str, file))}")
        for key, count in Counter(document.key for document in sets).items():
            if count > 1:
                raise InvalidFile(f"ApplicationSet {key} is there {count} times")
        folders = repositories(repo or ())
        objects = objects_in([*file, *(clusters or ())])
    children = run(lambda: children_of(sets, fleet, folders, objects=objects))
    print_objects(children, fmt, columns=("NAMESPACE", "NAME", "CLUSTER", "PATHS"), row=_row)


def _read(files: Sequence[Path], clusters: Sequence[Path]) -> tuple[list[Document], list[Document]]:
    """Our documents, and what Argo CD's become, of both options."""
    ours, theirs = documents_of(files, more=clusters)
    return [*read(files), *ours], [*read(clusters), *theirs]


async def children_of(
    sets: Sequence[Document],
    fleet: Fleet,
    folders: Mapping[str, Path],
    *,
    objects: Sequence[Manifest] = (),
) -> list[Manifest]:
    """The children of these sets as manifests. Raises `InvalidFile`, and the errors of expansion.

    `objects` are what generators that ask somebody need: Secrets, ConfigMaps, decisions.
    """
    asker = Asker(FileObjects(objects), clock=time.monotonic)
    try:
        return [child for one in sets for child in await _expanded(one, fleet, folders, asker)]
    finally:
        await asker.close()


async def _expanded(
    document: Document, fleet: Fleet, folders: Mapping[str, Path], asker: Asker
) -> list[Manifest]:
    source, runner = DirectorySource(folders), TimedRunner()
    validate_set(document.spec, set_key=document.key)
    try:
        expansion = await expand_set(
            document.namespace,
            document.name,
            document.spec,
            fleet=fleet,
            source=source,
            runner=runner,
            asker=asker,
        )
    except RepositoryUnreachable as error:
        raise InvalidFile(f"set {document.key}: {error}: map it with --repo URL=DIR") from error
    return [child.manifest for child in expansion.children]


def _row(obj: Manifest) -> Sequence[str]:
    sources = obj["spec"].get("sources") or ()
    return (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        str(obj["spec"].get("cluster", "")),
        ",".join(str(source.get("path", ".")) for source in sources),
    )
