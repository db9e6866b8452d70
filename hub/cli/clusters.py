"""`axle token`, `axle cluster`: how clusters come and go."""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import GROUP
from hub.cli.act import MANAGER, annotate
from hub.cli.connect import NOT_FOUND, KubeconfigOption, NoHub, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, CLUSTERS, field, key_of
from hub.cli.names import parse, resolve
from hub.cli.output import err, out
from hub.cli.verdict import InvalidDuration, seconds_of
from hub.cli.watching import following
from hub.core.labels import is_label_key, is_label_value
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity
from hub.gateway.tokens import create_token

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.cli.watching import Followed

ANNOTATION_FORCE = f"{GROUP}/force-remove"

app = typer.Typer()
token_app = typer.Typer(no_args_is_help=True, help="Join tokens.")
cluster_app = typer.Typer(no_args_is_help=True, help="Accept and remove clusters.")
app.add_typer(token_app, name="token")
app.add_typer(cluster_app, name="cluster")

ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster's name.")]


_CLUSTER_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?")


class InvalidLabel(AxletreeError):
    reason = "InvalidLabel"


class InvalidClusterName(AxletreeError):
    reason = "InvalidClusterName"


@token_app.callback()
def token() -> None:
    """Join tokens."""


@token_app.command("create")
def create(
    name: ClusterArgument,
    *,
    ttl: Annotated[str, typer.Option(help="How long it may be used: 30m, 1h, 24h.")] = "1h",
    auto_accept: Annotated[
        bool, typer.Option("--auto-accept", help="Accept the cluster when it joins.")
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Set on the Cluster; repeat.")
    ] = None,
    allow_label: Annotated[
        list[str] | None,
        typer.Option("--allow-label", metavar="KEY", help="A label that the spoke may set itself; repeat."),
    ] = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Make a one-time token that lets an agent join as CLUSTER. It is printed once; the hub keeps a hash."""
    with plainly():
        labels = _labels(label or ())
        life = timedelta(seconds=seconds_of(ttl))
        if not _CLUSTER_NAME.fullmatch(name):
            raise InvalidClusterName(
                f"{name!a}: at most 63 of a-z, 0-9, - and ., with a letter or digit at both ends"
            )
        if life <= timedelta():
            raise InvalidDuration(f"--ttl {ttl}: nobody could use that token")

    async def work() -> str:
        async with connected(kubeconfig) as client:
            return await create_token(
                client,
                await _identity(client),
                cluster=name,
                ttl=life,
                now=datetime.now(UTC),
                labels=labels,
                auto_accept=auto_accept,
                allow_labels=tuple(allow_label or ()),
            )

    text = run(work)
    err.print(f"axle: this token lets one agent join as {name} within {ttl}; keep it secret", style="dim")
    print(text)


@cluster_app.callback()
def cluster() -> None:
    """Accept and remove clusters."""


@cluster_app.command()
def accept(name: ClusterArgument, kubeconfig: KubeconfigOption = None) -> None:
    """Accept a cluster that asked to join."""

    async def work() -> bool:
        async with connected(kubeconfig) as client:
            found = await resolve(client, parse(name, kinds=(CLUSTERS,)))
            if field(found.obj, "spec", "accepted"):
                return False
            await client.merge_patch(found.path, {"spec": {"accepted": True}}, field_manager=MANAGER)
            return True

    out.print(f"cluster {name} is accepted" + ("" if run(work) else " already"))


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
            await annotate(client, found.path, {ANNOTATION_FORCE: "true"})
        async with following(client, CLUSTERS.path(), APPS.path()) as followed:
            try:
                await client.delete(found.path, uid=found.obj["metadata"]["uid"])
            except ApiError as error:
                if error.status != NOT_FOUND:
                    raise
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


async def _identity(client: RestClient) -> HubIdentity:
    """The hub's own; a token for a hub that never ran would be for no hub."""
    try:
        return HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        raise NoHub("no hub has run on this API server yet: start it first") from error


def _labels(pairs: list[str] | tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InvalidLabel(f"{pair!r} is no label: say KEY=VALUE")
        if not (is_label_key(key) and is_label_value(value)):
            raise InvalidLabel(f"{pair!r} is nothing that Kubernetes takes as a label")
        labels[key] = value
    return labels
