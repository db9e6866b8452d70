"""`axle release`: what holds an app, and, by a person's own will, past it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.arguments import AppArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field
from hub.cli.names import Found, Reference, parse, resolve
from hub.cli.output import out
from hub.cli.reach import reaching

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest

app = typer.Typer()


@app.command()
def release(
    name: AppArgument,
    namespace: NamespaceOption = "",
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Let it go to its target past edges, waves, windows and pauses.")
    ] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say what holds an app; with --force let it go to the target of now all the same, which stays in its history.

    Exit code 1: something holds it, or with --force: it is at its target already.
    """
    with plainly():
        reference = parse(name, namespace=namespace, kinds=(APPS,))
    found, held, goes = run(lambda: _release(reference, kubeconfig, force=force))
    if not goes and (force or not _waits(found.obj)):
        complain(f"{found} waits for no release")
        if force:
            raise typer.Exit(EXIT_NEGATIVE)
        return
    for each in held:
        out.print(f"{'past ' if force else ''}{each['edge']}: {each.get('message', '')}")
    if force:
        out.print(f"{found} goes to {_target(found.obj)[:SHORT_ID]}")
    elif held:
        complain("say --force to let it go past that")
        raise typer.Exit(EXIT_NEGATIVE)


async def _release(
    reference: Reference, kubeconfig: Path | None, *, force: bool
) -> tuple[Found, list[dict[str, Any]], bool]:
    """The app, what holds it, and whether it goes past that."""
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        held: list[dict[str, Any]] = field(found.obj, "status", "blockedBy") or []
        return found, held, force and await hub.act("release", found) is not None


def _target(obj: Manifest) -> str:
    return str(field(obj, "status", "sync", "target"))


def _waits(obj: Manifest) -> bool:
    return _target(obj) != str(field(obj, "status", "sync", "released")) or not _target(obj)
