"""`axle pause`, `axle resume`: nothing new is let go to a set, an app or a cluster for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.names import ANNOTATION_PAUSED
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, CLUSTERS, SETS
from hub.cli.names import Found, Reference, parse, resolve
from hub.cli.output import out
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer()

NameArgument = Annotated[
    str, typer.Argument(help="NAME, NAMESPACE/NAME, appset/NAME, app/NAME or cluster/NAME.")
]


@app.command()
def pause(name: NameArgument, namespace: NamespaceOption = "", kubeconfig: KubeconfigOption = None) -> None:
    """Let nothing new go to a set, an app or a cluster. What runs is kept as it is, drift included."""
    found, _ = _set(name, namespace, kubeconfig, paused=True)
    out.print(f"{found} is paused")


@app.command()
def resume(name: NameArgument, namespace: NamespaceOption = "", kubeconfig: KubeconfigOption = None) -> None:
    """End a pause. Exit code 1: it was not paused."""
    found, was = _set(name, namespace, kubeconfig, paused=False)
    if not was:
        complain(f"{found} is not paused")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"{found} goes on")


def _set(name: str, namespace: str, kubeconfig: Path | None, *, paused: bool) -> tuple[Found, bool]:
    with plainly():
        cluster = name.partition("/")[0].lower() in CLUSTERS.words
        kinds = (CLUSTERS,) if cluster else (APPS, SETS)
        reference = parse(name, namespace=namespace, kinds=kinds)
    return run(lambda: _mark(reference, kubeconfig, paused=paused))


async def _mark(reference: Reference, kubeconfig: Path | None, *, paused: bool) -> tuple[Found, bool]:
    """Returns what is meant, and whether it was paused before."""
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        was = (found.obj["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true"
        verbs = ("cordon", "uncordon") if found.kind is CLUSTERS else ("pause", "resume")
        if was != paused:
            await hub.act(verbs[0] if paused else verbs[1], found)
        return found, was
