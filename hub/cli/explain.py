"""`axle explain`: which layer made a field what it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.api import client_of, is_named
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import plainly
from hub.cli.files import InvalidFile, repositories
from hub.cli.kinds import APPS
from hub.cli.offline import ClustersOption, RepoOption  # noqa: TC001 - typer reads them
from hub.cli.output import Format, out, print_value
from hub.cli.render import rendered
from hub.render.explain import ABSENT, explain, find_object, parse_path, texts_of
from hub.render.places import with_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.cli.render import RenderedApp
    from hub.render.explain import Touch
    from hub.web.models import Layer

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
    if not file and not repo and kubeconfig is None and is_named():
        told = run(lambda: _over_api(name, namespace, what, field))
    else:
        told = _here(name, what, field, file=file, clusters=clusters, repo=repo, at=(namespace, kubeconfig))
    if fmt in {Format.JSON, Format.YAML}:
        print_value(told.layers, fmt)
        return
    if fmt is Format.NAME:
        for layer in dict.fromkeys(one["stage"] for one in told.layers):
            print(layer)
        return
    _print(told, what)


@dataclass(frozen=True, slots=True)
class _Told:
    """Of which Application on which cluster; the layers as JSON has them."""

    app: str
    cluster: str
    layers: list[dict[str, Any]]


async def _over_api(name: str, namespace: str, what: str, field: str) -> _Told:
    """The hub's own workers render it, and hide what is secret."""
    from hub.cli.names import parse, resolve  # noqa: PLC0415 - as everything of a hub, which files do not need
    from hub.cli.overapi import OverApi  # noqa: PLC0415
    from hub.web.asked import ExplainQuery  # noqa: PLC0415

    reference = parse(name, namespace=namespace, kinds=(APPS,))
    _parts(what)
    async with client_of() as client:
        found = (await resolve(OverApi(client), reference)).obj["metadata"]
        query = ExplainQuery(object=what, field=field)
        said = await client.explain(found["namespace"], found["name"], query)
    return _Told(said.application, said.cluster, [_json(each) for each in said.layers])


def _json(layer: Layer) -> dict[str, Any]:
    found: dict[str, Any] = {"stage": layer.stage, "field": layer.field}
    found |= {} if layer.change == "Added" else {"before": layer.before}
    found |= {} if layer.change == "Removed" else {"after": layer.after}
    return {**found, "at": layer.at} if layer.at else found


def _here(
    name: str,
    what: str,
    field: str,
    *,
    file: Sequence[Path] | None,
    clusters: Sequence[Path] | None,
    repo: Sequence[str] | None,
    at: tuple[str, Path | None],
) -> _Told:
    """Rendered by this process, or by a worker of its own."""
    if file:
        found = rendered(file, [name], clusters or (), repo or (), stages=True)
    else:
        found = [run(lambda: _from_hub(name, *at, repo or ()))]
    with plainly():
        if len(found) > 1:
            raise InvalidFile(f"{name} is {', '.join(one.document.key for one in found)}: name one of these")
        touches = _explained(found[0], what, field)
    return _Told(found[0].document.key, found[0].cluster, [one.to_json() for one in touches])


async def _from_hub(name: str, namespace: str, kubeconfig: Path | None, repos: Sequence[str]) -> RenderedApp:
    from hub.cli.fromhub import rendered_from_hub  # noqa: PLC0415 - Git and HTTP, which files do not need

    return await rendered_from_hub(
        name, namespace=namespace, kubeconfig=kubeconfig, folders=repositories(repos)
    )


def _explained(one: RenderedApp, what: str, field: str) -> list[Touch]:
    kind, name = _parts(what)
    target = find_object(one.result.objects, kind, name)
    touches = explain(one.result.stages, target, parse_path(field), texts=texts_of(one.request.sources))
    return with_places(touches, app=one.document, cluster=one.cluster_document)


def _parts(what: str) -> tuple[str, str]:
    kind, slash, name = what.partition("/")
    if not slash or not name:
        raise InvalidFile(f"{what!r}: write KIND/NAME, such as deployment/web")
    return kind, name


def _print(told: _Told, what: str) -> None:
    out.print(f"{what} of {told.app} on {told.cluster}", style="bold")
    stage = ""
    for one in told.layers:
        if one["stage"] != stage:
            stage = one["stage"]
            out.print(f"  {stage}", style="cyan")
        at = f"  ({one['at']})" if one.get("at") else ""
        before, after = (_shown(one.get(each, ABSENT)) for each in ("before", "after"))
        out.print(f"    {one['field'] or '.'}: {before} -> {after}{at}")


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
