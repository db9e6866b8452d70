"""`axle tree`: what belongs to what, and how it is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.forest import grow
from hub.cli.kinds import APPS, CLUSTERS, SETS, short, why
from hub.cli.liveness import LEASES, hub_life, unheard, with_liveness
from hub.cli.names import NoSuchObject, parse, resolve
from hub.cli.output import STYLES, Format, FormatOption, age, err, out, print_value, styled
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hub.cli.forest import Branch
    from hub.cli.reach import Reach

app = typer.Typer()

_QUIET = frozenset({"Healthy", "Synced"})


@app.command()
def tree(
    name: Annotated[
        str, typer.Argument(help="A root, a set or an app. Default: everything.", show_default=False)
    ] = "",
    namespace: NamespaceOption = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print roots, their sets and their children: sync, health, cluster, and how old that is."""
    trees, stale = run(lambda: _trees(name, namespace=namespace, kubeconfig=kubeconfig))
    if fmt is Format.NAME:
        for branch in (each for top in trees for each in top.walk()):
            print(f"{branch.kind.kind.lower()}.axletree.dev/{branch.key}")
    elif fmt is not Format.TABLE:
        print_value([branch.to_json() for branch in trees], fmt)
    else:
        print_trees(trees, stale=stale)


async def _trees(
    name: str, *, namespace: str, kubeconfig: Path | None
) -> tuple[list[Branch], Mapping[str, str]]:
    async with reaching(kubeconfig) as hub:
        trees, stale = await load(hub)
        if not name:
            return [each for top in trees for each in topmost(top, namespace)], stale
        wanted = await resolve(hub, parse(name, namespace=namespace))
        uid = wanted.obj["metadata"]["uid"]
    found = (each for top in trees for each in top.walk() if each.obj["metadata"]["uid"] == uid)
    branch = next(found, None)
    if branch is None:
        raise NoSuchObject(f"{wanted} went just now")
    return [branch], stale


async def load(hub: Reach) -> tuple[list[Branch], Mapping[str, str]]:
    """Every tree, and for each cluster that is not Connected its word."""
    apps, sets, clusters, leases, identity = await asyncio.gather(
        hub.list(APPS.path()),
        hub.list(SETS.path()),
        hub.list(CLUSTERS.path()),
        hub.list(LEASES),
        hub.hub_id(),
    )
    now = datetime.now(UTC)
    live = with_liveness(clusters.items, leases.items, now)
    if hub.stopped or not hub_life(leases.items, now).running:
        live = unheard(live)
        err.print("axle: the hub is not running: this is what it last wrote", style="yellow")
    words = {each["metadata"]["name"]: str(each["status"]["connected"]) for each in live}
    stale = {cluster: word for cluster, word in words.items() if word != "Connected"}
    return grow(apps.items, sets.items, hub_id=identity), stale


def print_trees(trees: Sequence[Branch], *, stale: Mapping[str, str]) -> None:
    """One rich tree a root."""
    now = datetime.now(UTC)
    for top in trees:
        drawn = Tree(_label(top, now, stale), guide_style="dim")
        _grow(drawn, top, now, stale)
        out.print(drawn, soft_wrap=True)
    if not trees:
        err.print("axle: there are no Applications and no ApplicationSets here")


def _grow(drawn: Tree, branch: Branch, now: datetime, stale: Mapping[str, str]) -> None:
    for child in branch.children:
        _grow(drawn.add(_label(child, now, stale)), child, now, stale)


def _label(branch: Branch, now: datetime, stale: Mapping[str, str]) -> Text:
    """`app shop/web  eu1  Synced  Healthy  4s ago`, and why not where it is not."""
    label = Text()
    label.append("set " if branch.kind is SETS else "app ", style="dim")
    label.append(branch.key, style="bold")
    if branch.cluster:
        label.append(f"  {branch.cluster}")
        if branch.cluster in stale:
            label.append(f" ({stale[branch.cluster]})", style=STYLES.get(stale[branch.cluster], ""))
    label.append("  ").append_text(styled(branch.sync or "Unknown"))
    label.append(" Synced" if branch.kind is SETS else "")
    label.append("  ").append_text(styled(branch.health or "Unknown"))
    if branch.observed_at:
        label.append(f"  {age(branch.observed_at, now)} ago", style="dim")
    message = short(why(branch.obj))
    if message and not {branch.health, "Synced" if branch.kind is SETS else branch.sync} <= _QUIET:
        label.append(f"  {message}", style="yellow")
    return label


def topmost(branch: Branch, namespace: str) -> list[Branch]:
    """The highest branches that are in a namespace, with all that they hold; an empty one is any."""
    if namespace in {"", branch.obj["metadata"]["namespace"]}:
        return [branch]
    return [each for child in branch.children for each in topmost(child, namespace)]
