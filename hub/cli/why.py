"""`axle why`: what an app waits for, and on to what a person should look at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from agent.contract.errors import ApiError
from agent.contract.names import GROUP
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.chain import MAX_LINKS, Link, link_of
from hub.cli.connect import NOT_FOUND, KubeconfigOption, NamespaceOption, run
from hub.cli.failure import plainly
from hub.cli.kinds import APPS, field, key_of
from hub.cli.kinds import why as summary
from hub.cli.names import Found, Reference, apps_of, parse, resolve
from hub.cli.output import Format, FormatOption, name_of_app, out, print_value
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.reach import Reads

app = typer.Typer()

_SET = "set "


@app.command()
def why(
    name: NameArgument,
    namespace: NamespaceOption = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the chain from an app to the root cause of its wait; of a set, from its worst children."""
    with plainly():
        reference = parse(name, namespace=namespace)
    chains = run(lambda: _chains(reference, kubeconfig))
    if fmt is Format.TABLE:
        for chain in chains:
            _print(chain)
    elif fmt is Format.NAME:
        for root in dict.fromkeys(_name(chain[-1]) for chain in chains):
            print(root)
    else:
        found = [_json(chain) for chain in chains]
        print_value(found[0] if reference.kinds == (APPS,) and found else found, fmt)


async def _chains(reference: Reference, kubeconfig: Path | None) -> list[list[Link]]:
    async with reaching(kubeconfig) as client:
        found = await resolve(client, reference)
        now = datetime.now(UTC)
        if found.kind is APPS:
            return [await _chain(client, found.obj, now)]
        return await _of_set(client, found, now)


async def _of_set(client: Reads, found: Found, now: datetime) -> list[list[Link]]:
    """What the set says of itself, then the chains of its children that are not well, one for each root."""
    obj = found.obj
    said = summary(obj)
    own = Link(
        key_of(obj),
        f"{_SET}{key_of(obj)}",
        f"is {field(obj, 'status', 'health', 'state') or 'not planned yet'}" + (f": {said}" if said else ""),
    )
    chains, roots = [[own]], set()
    for child in await apps_of(client, found):
        if _well(child):
            continue
        chain = await _chain(client, child, now)
        root = chain[-1].app
        if root not in roots:
            roots.add(root)
            chains.append(chain)
    return chains


def _name(link: Link) -> str:
    of_set = link.title.startswith(_SET)
    return f"applicationset.{GROUP}/{link.app}" if of_set else name_of_app(link.app)


def _well(obj: Manifest) -> bool:
    sync, health = field(obj, "status", "sync", "state"), field(obj, "status", "health", "state")
    return (sync, health) == ("Synced", "Healthy") and not field(obj, "status", "deletion")


async def _chain(client: Reads, obj: Manifest, now: datetime) -> list[Link]:
    """Follow the first wait of each that another Application can end; a cycle ends at its first member."""
    links = [link_of(obj, now)]
    seen = {links[0].app}
    while len(links) < MAX_LINKS:
        key = next((wait.next for wait in links[-1].waits if wait.next), "")
        if not key or key in seen:
            break
        seen.add(key)
        namespace, _, name = key.partition("/")
        try:
            further = await client.get(APPS.path(namespace, name))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            break
        links.append(link_of(further, now))
    return links


def _print(chain: list[Link]) -> None:
    for depth, link in enumerate(chain):
        indent = "  " * depth
        out.print(f"{indent}{link.title} {link.state}")
        for wait in link.waits:
            rule = "" if wait.rule == "Dependency" else f"{wait.rule}: "
            out.print(f"{indent}  waits: {rule}{wait.message}")


def _json(chain: list[Link]) -> dict[str, Any]:
    first = chain[0]
    roots = [wait.root for wait in first.waits if wait.root]
    root = roots[0] if roots else f"{chain[-1].title} {chain[-1].state}"
    return {"app": first.app, "root": root, "chain": [link.to_json() for link in chain]}
