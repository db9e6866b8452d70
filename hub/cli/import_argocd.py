"""`axle import`: what other tools have, as ours."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.files import InvalidFile
from hub.cli.foreign import imported, read_foreign
from hub.cli.output import Format, FormatOption, print_objects

app = typer.Typer()
import_app = typer.Typer(no_args_is_help=True, help="What other tools have, as ours.")
app.add_typer(import_app, name="import")


@import_app.callback()
def import_() -> None:
    """What other tools have, as ours."""


@import_app.command("argocd")
def argocd(
    file: Annotated[list[Path], typer.Argument(help="Files, or folders of files.", show_default=False)],
    *,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="For all of it, instead of one a project.")
    ] = "",
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="URL=NAME", help="The cluster at this address; repeat."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 where something has no equal.")
    ] = False,
    fmt: FormatOption = Format.YAML,
) -> None:
    """Print ApplicationSets, Applications, AppProjects and cluster Secrets of Argo CD as ours.

    What has no equal, and what means something else, is listed on stderr; nothing is dropped in silence.
    """
    with plainly():
        objects = read_foreign(file)
        if not objects:
            raise InvalidFile(f"there is nothing of Argo CD in {', '.join(map(str, file))}")
        done = imported(objects, namespace=namespace, servers=_servers(server or []))
    for note in done.notes:
        complain(str(note))
    print_objects(
        [obj for _, obj in done.objects],
        fmt,
        columns=("KIND", "NAMESPACE", "NAME"),
        row=lambda obj: (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]),
    )
    if strict and any(note.lost for note in done.notes):
        raise typer.Exit(EXIT_NEGATIVE)


def _servers(mappings: list[str]) -> dict[str, str]:
    found = {}
    for mapping in mappings:
        url, equals, name = mapping.rpartition("=")
        if not equals or not url or not name:
            raise InvalidFile(f"{mapping!r}: say --server URL=NAME")
        found[url] = name
    return found
