"""`axle get`: lists of what the hub has."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import CLUSTERS, RESOURCES, key_of, nearest, resource_of
from hub.cli.liveness import LEASES, hub_life, unheard, with_liveness
from hub.cli.names import candidates, missing, parse
from hub.cli.output import Format, FormatOption, print_objects
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.kinds import Resource
    from hub.cli.names import Reference
    from hub.cli.reach import Reach

app = typer.Typer()


class NoSuchKind(AxletreeError):
    reason = "NoSuchKind"


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help="clusters, clustersets, apps, appsets or projects.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="NAME or NAMESPACE/NAME, several too.", show_default=False)
    ] = None,
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

    Exit code 1: there is nothing of one of the NAMEs.
    """
    with plainly():
        resource = _resource(kind)
        chosen = "" if all_namespaces else namespace
        named = [parse(each, namespace=chosen, kinds=(resource,)) for each in dict.fromkeys(names or ())]
    question = partial(_named, named) if named else partial(_all, namespace=chosen)
    objects, lacking = run(lambda: question(resource, selector=selector, kubeconfig=kubeconfig))
    for each in lacking:
        complain(each)
    if not objects and not named and fmt is Format.TABLE:
        where = f" in namespace {chosen}" if chosen else ""
        complain(f"there are no {resource.title}s{where}")
        return
    if objects or not named:
        single = len(named) == len(objects) == 1
        print_objects(objects, fmt, columns=resource.columns, row=resource.row, single=single)
    if lacking:
        raise typer.Exit(EXIT_NEGATIVE)


async def _all(
    resource: Resource, *, namespace: str, selector: str, kubeconfig: Path | None
) -> tuple[list[Manifest], list[str]]:
    async with reaching(kubeconfig) as client:
        listing = await client.list(resource.path(namespace), label_selector=selector)
        return await _shown(client, resource, sorted(listing.items, key=key_of)), []


async def _named(
    references: Sequence[Reference], resource: Resource, *, selector: str, kubeconfig: Path | None
) -> tuple[list[Manifest], list[str]]:
    """What is called so, in the order of the names, each once; and what is said of names that nothing has."""
    objects: dict[str, Manifest] = {}
    lacking = []
    async with reaching(kubeconfig) as client:
        for reference in references:
            found = [each.obj for each in await candidates(client, reference, label_selector=selector)]
            objects |= {key_of(obj): obj for obj in sorted(found, key=key_of)}
            if not found:
                lacking.append(str(await missing(client, reference)))
        return await _shown(client, resource, list(objects.values())), lacking


async def _shown(hub: Reach, resource: Resource, objects: list[Manifest]) -> list[Manifest]:
    return await _live(hub, objects) if resource is CLUSTERS else objects


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
