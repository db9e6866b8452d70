"""`axle rollback`: an app, or every child of a set, back to an earlier release, as a pin that everyone sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.act import about
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS
from hub.cli.names import Found, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.cli.reach import reaching
from hub.operator.ordering import dependents_first

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer()


@app.command()
def rollback(
    name: NameArgument,
    namespace: NamespaceOption = "",
    to: Annotated[int, typer.Option("--to", metavar="N", help="The release of an app; see `history`.")] = 0,
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the pin away: go to what the plan wants.")
    ] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Pin an app at its last good release, or at release N; of a set, every child that has one.

    The pin holds until a commit changes what the plan wants, or until --undo. Exit code 1: there is nothing to go
    back to, or no pin.
    """
    with plainly():
        reference = (
            parse(name, namespace=namespace, kinds=(APPS,)) if to else parse(name, namespace=namespace)
        )
    found, done = run(lambda: _rollback(reference, kubeconfig, to=to, undo=undo))
    if not done:
        complain(f"{found} has no pin" if undo else f"{found} has no other release that was well")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in done:
        out.print(line)


async def _rollback(
    reference: Reference, kubeconfig: Path | None, *, to: int, undo: bool
) -> tuple[Found, list[str]]:
    from hub.web.asked import RollbackRequest  # noqa: PLC0415 - models, which other commands do not need

    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        said: list[str] = []
        for obj in dependents_first(await apps_of(hub, found)):
            done = await hub.act("rollback", Found(APPS, obj), RollbackRequest(release=to, undo=undo))
            said += about(obj, done.changed) if done is not None else []
        return found, said
