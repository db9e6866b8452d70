"""`axle wait`: for scripts and pipelines. It watches, so that it returns when it happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.away import is_away
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.names import Found, Reference, missing, one_of, parse
from hub.cli.output import err, out
from hub.cli.reach import reaching
from hub.cli.verdict import Wanted, at_last, reached, seconds_of, state

if TYPE_CHECKING:
    from pathlib import Path

    from hub.cli.watching import Followed

app = typer.Typer()


@app.command()
def wait(
    name: Annotated[str, typer.Argument(help="NAME, NAMESPACE/NAME, appset/NAME or app/NAME.")],
    *,
    wanted: Annotated[Wanted, typer.Option("--for", help="What to wait for.")] = Wanted.HEALTHY,
    timeout: Annotated[str, typer.Option(help="How long: 90s, 5m, 1h30m.")] = "5m",
    namespace: NamespaceOption = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Wait until an app or a set is there; what does not exist yet is waited for, too.

    Healthy means Healthy at its target: what was asked for last, and reported in full. Exit code 1: not in time,
    with the reason.
    """
    with plainly():
        reference = parse(name, namespace=namespace)
        seconds = seconds_of(timeout)
    reason = run(lambda: _wait(reference, wanted, seconds=seconds, quiet=quiet, kubeconfig=kubeconfig))
    if reason:
        complain(f"{reference} is not {wanted} after {timeout}: {reason}")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"{reference} is {wanted}")


async def _wait(
    reference: Reference, wanted: Wanted, *, seconds: float, quiet: bool, kubeconfig: Path | None
) -> str:
    """Why it is not there in time; empty where it is."""
    async with reaching(kubeconfig) as hub:
        paths = [kind.path(reference.namespace) for kind in reference.kinds]
        async with hub.following(*paths, name=reference.names[0]) as followed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _until(reference, wanted, followed, quiet=quiet)
                    return ""
            found = _current(reference, followed)
        if found is None and wanted is not Wanted.DELETED:
            reason = str(await missing(hub, reference))
        else:
            reason = at_last(found.obj if found is not None else None)
        return f"{reason}; the hub is not running (`axle status`)" if await is_away(hub) else reason


async def _until(reference: Reference, wanted: Wanted, followed: Followed, *, quiet: bool) -> None:
    last = ""
    while True:
        found = _current(reference, followed)
        obj = found.obj if found is not None else None
        if reached(obj, wanted):
            return
        now = state(obj)
        if now != last and not quiet:
            err.print(f"{found or reference} {now}", style="dim")
        last = now
        await followed.change()


def _current(reference: Reference, followed: Followed) -> Found | None:
    found = [
        Found(kind, obj) for index, kind in enumerate(reference.kinds) for obj in followed.objects(index)
    ]
    return one_of(reference, found)
