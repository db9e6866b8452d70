"""`axle get`: lists of what the hub has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import CLUSTERS, RESOURCES, key_of, nearest, resource_of
from hub.cli.liveness import LEASES, hub_life, unheard, with_liveness
from hub.cli.names import missing, parse
from hub.cli.output import Format, FormatOption, print_objects
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.kinds import Resource
    from hub.cli.reach import Reach

app = typer.Typer()


class NoSuchKind(AxletreeError):
    reason = "NoSuchKind"


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help="clusters, clustersets, apps, appsets or projects.")],
    name: Annotated[str, typer.Argument(help="NAME or NAMESPACE/NAME.", show_default=False)] = "",
    *,
    namespace: NamespaceOption = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="The default; for habit's sake.")
    ] = False,
    selector: Annotated[
        str, typer.Option("--selector", "-l", help="A label selector, as kubectl's.", show_default=False)
    ] = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """List clusters, cluster sets, apps, application sets or projects; all namespaces unless one is named.

    Exit code 1: there is nothing of that NAME.
    """
    with plainly():
        resource = _resource(kind)
        chosen = "" if all_namespaces else namespace
        if name:
            reference = parse(name, namespace=chosen, kinds=(resource,))
            chosen, name = reference.namespace, reference.names[0]
    objects = run(
        lambda: _objects(resource, name, namespace=chosen, selector=selector, kubeconfig=kubeconfig)
    )
    if not objects and name:
        raise typer.Exit(EXIT_NEGATIVE)
    if not objects and fmt is Format.TABLE:
        where = f" in namespace {chosen}" if chosen else ""
        complain(f"there are no {resource.title}s{where}")
        return
    print_objects(
        objects,
        fmt,
        columns=resource.columns,
        row=resource.row,
        single=bool(name) and len(objects) == 1,
    )


async def _objects(
    resource: Resource, name: str, *, namespace: str, selector: str, kubeconfig: Path | None
) -> list[Manifest]:
    field_selector = f"metadata.name={name}" if name else ""
    async with reaching(kubeconfig) as client:
        listing = await client.list(
            resource.path(namespace), label_selector=selector, field_selector=field_selector
        )
        if name and not listing.items:
            complain(str(await missing(client, parse(name, namespace=namespace, kinds=(resource,)))))
        objects = sorted(listing.items, key=key_of)
        return await _live(client, objects) if resource is CLUSTERS else objects


async def _live(hub: Reach, clusters: list[Manifest]) -> list[Manifest]:
    leases, now = (await hub.list(LEASES)).items, datetime.now(UTC)
    found = with_liveness(clusters, leases, now)
    return unheard(found) if hub.stopped or not hub_life(leases, now).running else found


def _resource(word: str) -> Resource:
    found = resource_of(word)
    if found is None:
        known = [each.words[0] for each in RESOURCES]
        raise NoSuchKind(f"{word!r} is none of {', '.join(known)}{nearest(word, known)}")
    return found
