"""`axle explain`: which layer made a field what it is."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import plainly
from hub.cli.files import InvalidFile, repositories
from hub.cli.offline import ClustersOption, RepoOption  # noqa: TC001 - typer reads them
from hub.cli.output import Format, out, print_value
from hub.cli.places import with_places
from hub.cli.render import rendered
from hub.render.chart import ChartSource
from hub.render.explain import (
    ABSENT,
    CHART_DEFAULTS,
    DEFAULTS_FILE,
    explain,
    find_object,
    parse_path,
    path_text,
)
from hub.render.plain import PlainSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.cli.render import RenderedApp
    from hub.render.explain import Touch

app = typer.Typer()

_LONGEST = 400


@app.command("explain")
def explain_(
    name: Annotated[str, typer.Argument(metavar="APP", help="[NAMESPACE/]NAME of an Application.")],
    what: Annotated[str, typer.Argument(metavar="KIND/NAME", help="One of its objects.")],
    field: Annotated[str, typer.Argument(metavar="[FIELD]", help="Such as .spec.replicas; none: all.")] = "",
    *,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Files with the Application; without, it is read from the hub."),
    ] = None,
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = None,
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    fmt: Annotated[
        Format, typer.Option("--output", "-o", help="table, yaml, json or name (of the layers).")
    ] = Format.TABLE,
) -> None:
    """Print the layers that touched an object or one field of it, in order, with the value before and after.

    A chart is rendered once for each of its layers of values, a kustomization once for each folder it builds on.
    Values of Secrets are not printed.
    """
    if file:
        found = rendered(file, [name], clusters or (), repo or (), stages=True)
    else:
        found = [run(lambda: _from_hub(name, namespace, kubeconfig, repo or ()))]
    with plainly():
        if len(found) > 1:
            raise InvalidFile(f"{name} is {', '.join(one.document.key for one in found)}: name one of these")
        touches = _explained(found[0], what, field)
    if fmt in {Format.JSON, Format.YAML}:
        print_value([one.to_json() for one in touches], fmt)
        return
    if fmt is Format.NAME:
        for layer in dict.fromkeys(one.stage for one in touches):
            print(layer)
        return
    _print(found[0], what, touches)


async def _from_hub(name: str, namespace: str, kubeconfig: Path | None, repos: Sequence[str]) -> RenderedApp:
    from hub.cli.fromhub import rendered_from_hub  # noqa: PLC0415 - Git and HTTP, which files do not need

    return await rendered_from_hub(
        name, namespace=namespace, kubeconfig=kubeconfig, folders=repositories(repos)
    )


def _explained(one: RenderedApp, what: str, field: str) -> list[Touch]:
    kind, slash, name = what.partition("/")
    if not slash or not name:
        raise InvalidFile(f"{what!r}: write KIND/NAME, such as deployment/web")
    target = find_object(one.result.objects, kind, name)
    touches = explain(one.result.stages, target, parse_path(field), texts=_texts(one))
    return with_places(touches, one)


def _texts(one: RenderedApp) -> dict[str, str]:
    """Contents in which a line can be looked for, by the name of a stage or a file."""
    found: dict[str, str] = {}
    for source in one.request.sources:
        match source:
            case PlainSource():
                found |= source.files
            case ChartSource():
                found |= {layer.name: layer.text for layer in source.layers if layer.text is not None}
                found |= {path: text for path, text in source.files.items() if isinstance(text, str)}
                found[CHART_DEFAULTS] = found.get(DEFAULTS_FILE, "")
    return found


def _print(one: RenderedApp, what: str, touches: list[Touch]) -> None:
    out.print(f"{what} of {one.document.key} on {one.cluster}", style="bold")
    stage = ""
    for touch in touches:
        if touch.stage != stage:
            stage = touch.stage
            out.print(f"  {stage}", style="cyan")
        at = f"  ({touch.at})" if touch.at else ""
        out.print(f"    {path_text(touch.path) or '.'}: {_shown(touch.before)} -> {_shown(touch.after)}{at}")


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
