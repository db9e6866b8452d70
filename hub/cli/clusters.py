"""`axle cluster`: how clusters come, stay and go."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_FORCE_REMOVE
from hub.cli.act import annotate
from hub.cli.away import warn_if_away
from hub.cli.connect import NOT_FOUND, KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, CLUSTERS, field, key_of
from hub.cli.names import parse, resolve
from hub.cli.output import err, out
from hub.cli.standing import ClusterArgument, register
from hub.cli.verdict import seconds_of
from hub.cli.watching import following

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.watching import Followed

app = typer.Typer()
cluster_app = typer.Typer(no_args_is_help=True, help="How clusters come, stay and go.")
app.add_typer(cluster_app, name="cluster")


@cluster_app.callback()
def cluster() -> None:
    """How clusters come, stay and go."""


register(cluster_app)


@cluster_app.command()
def remove(
    name: ClusterArgument,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for its agent: what it applied stays there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for it.")] = "5m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Remove a cluster: its apps are deleted there, then the hub forgets it.

    Exit code 1: not done in time, with what is left.
    """
    with plainly():
        seconds = seconds_of(timeout)
    count = run(lambda: _apps_there(name, kubeconfig))
    if not yes:
        what = "stay there, unmanaged" if force else "are deleted from it"
        typer.confirm(f"Remove cluster {name}? {count} apps {what}.", abort=True, err=True)
    reason = run(lambda: _remove(name, force=force, seconds=seconds, kubeconfig=kubeconfig))
    if reason:
        complain(f"cluster {name} is not removed after {timeout}: {reason}")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"cluster {name} is removed")


async def _apps_there(name: str, kubeconfig: Path | None) -> int:
    async with connected(kubeconfig) as client:
        await resolve(client, parse(name, kinds=(CLUSTERS,)))
        return len(_on(name, (await client.list(APPS.path())).items))


async def _remove(name: str, *, force: bool, seconds: float, kubeconfig: Path | None) -> str:
    """What is left of it; empty where nothing is."""
    async with connected(kubeconfig) as client:
        found = await resolve(client, parse(name, kinds=(CLUSTERS,)))
        if force:
            await annotate(client, found.path, {ANNOTATION_FORCE_REMOVE: "true"})
        async with following(client, CLUSTERS.path(), APPS.path()) as followed:
            try:
                await client.delete(found.path, uid=found.obj["metadata"]["uid"])
            except ApiError as error:
                if error.status != NOT_FOUND:
                    raise
            await warn_if_away(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _until_gone(name, followed)
                    return ""
            return _left(_on(name, followed.objects(1)), force=force)


async def _until_gone(name: str, followed: Followed) -> None:
    last = -1
    while any(obj["metadata"]["name"] == name for obj in followed.objects(0)):
        count = len(_on(name, followed.objects(1)))
        if count != last:
            err.print(f"cluster {name}: {count} apps left", style="dim")
        last = count
        await followed.change()


def _left(apps: list[Manifest], *, force: bool) -> str:
    held = [key_of(app) for app in apps if field(app, "status", "deletion", "held")]
    if held:
        return f"deletions are Held: `axle approve` {', '.join(sorted(held)[:5])}"
    if not apps:
        return "no app is left there: does the hub run? (`axle status`)"
    names = ", ".join(sorted(map(key_of, apps))[:5])
    hint = "" if force else "; if its agent is gone for good: --force"
    return f"{len(apps)} apps are still there ({names}){hint}"


def _on(cluster_name: str, apps: list[Manifest]) -> list[Manifest]:
    return [app for app in apps if field(app, "spec", "cluster") == cluster_name]
