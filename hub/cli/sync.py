"""`axle sync`: a person lets apps of mode Manual go to exactly the targets that they have now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.names import ANNOTATION_SYNC
from hub.cli.act import annotate
from hub.cli.connect import KubeconfigOption, NamespaceOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field, key_of
from hub.cli.names import Found, Reference, apps_of, parse, resolve
from hub.cli.output import out

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest

app = typer.Typer()

NameArgument = Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME, appset/NAME or app/NAME.")]


@app.command()
def sync(name: NameArgument, namespace: NamespaceOption = "", kubeconfig: KubeconfigOption = None) -> None:
    """Let an app of mode Manual go to its target; of a set, every child that waits for that.

    It means exactly the target of now: what a later commit wants has to be asked for again. Exit code 1: nothing
    waits for it.
    """
    with plainly():
        reference = parse(name, namespace=namespace)
    found, asked = run(lambda: _sync(reference, kubeconfig))
    if not asked:
        complain(f"nothing of {found} waits for a sync")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in asked:
        out.print(line)


async def _sync(reference: Reference, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        asked = []
        for obj in await apps_of(client, found):
            target = waiting_target(obj)
            if target:
                await annotate(client, Found(APPS, obj).path, {ANNOTATION_SYNC: target})
                asked.append(f"{key_of(obj)} may go to {target[:SHORT_ID]}")
        return found, asked


def waiting_target(obj: Manifest) -> str:
    """The digest that a Manual app waits to be let go to; empty where there is none."""
    target = str(field(obj, "status", "sync", "target"))
    released = str(field(obj, "status", "sync", "released"))
    asked = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_SYNC)
    manual = field(obj, "spec", "sync", "mode") == "Manual"
    return target if manual and target and target not in {released, asked} else ""
