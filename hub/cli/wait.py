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
from hub.cli.verdict import Wanted, reached, seconds_of, state
from hub.cli.watching import any_change, together

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hub.cli.reach import Reach
    from hub.cli.watching import Followed

app = typer.Typer()


@app.command()
def wait(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="NAME, NAMESPACE/NAME, appset/NAME or app/NAME; all of several."
        ),
    ],
    *,
    wanted: Annotated[Wanted, typer.Option("--for", help="What to wait for.")] = Wanted.HEALTHY,
    timeout: Annotated[str, typer.Option(help="How long: 90s, 5m, 1h30m; for all together.")] = "5m",
    namespace: NamespaceOption = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Wait until apps or sets are there, all of them; what does not exist yet is waited for, too.

    Healthy means Healthy at its target: what was asked for last, and reported in full. Exit code 1: one is not in
    time, with the reason.
    """
    with plainly():
        references = [parse(each, namespace=namespace) for each in dict.fromkeys(names)]
        seconds = seconds_of(timeout)
    reasons = run(lambda: _all(references, wanted, seconds=seconds, quiet=quiet, kubeconfig=kubeconfig))
    for reference, reason in zip(references, reasons, strict=True):
        if reason:
            complain(f"{reference} is not {wanted} after {timeout}: {reason}")
        else:
            out.print(f"{reference} is {wanted}")
    if any(reasons):
        raise typer.Exit(EXIT_NEGATIVE)


async def _all(
    references: Sequence[Reference], wanted: Wanted, *, seconds: float, quiet: bool, kubeconfig: Path | None
) -> list[str]:
    """Of each, why it is not there in time; empty where it is."""
    async with reaching(kubeconfig) as hub:
        waits = (_wait(hub, each, wanted, seconds=seconds, quiet=quiet) for each in references)
        reasons = await together(waits)
        away = any(reasons) and await is_away(hub)
        return [
            f"{reason}; the hub is not running (`axle status`)" if reason and away else reason
            for reason in reasons
        ]


async def _wait(hub: Reach, reference: Reference, wanted: Wanted, *, seconds: float, quiet: bool) -> str:
    paths = [kind.path(reference.namespace) for kind in reference.kinds]
    async with contextlib.AsyncExitStack() as stack:
        followed = [
            await stack.enter_async_context(hub.following(*paths, name=name)) for name in reference.names
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _until(reference, wanted, followed, quiet=quiet)
                return ""
        found = _current(reference, followed)
    if found is None and wanted is not Wanted.DELETED:
        return str(await missing(hub, reference))
    return state(found.obj if found is not None else None)


async def _until(reference: Reference, wanted: Wanted, followed: Sequence[Followed], *, quiet: bool) -> None:
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
        await any_change(followed)


def _current(reference: Reference, followed: Sequence[Followed]) -> Found | None:
    found = [
        Found(kind, obj)
        for each in followed
        for index, kind in enumerate(reference.kinds)
        for obj in each.objects(index)
        if reference.means(obj)
    ]
    return one_of(reference, found)
