"""`axle cluster join|accept|revoke|rotate`: who an agent is to its hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError
from hub.cli.act import annotate
from hub.cli.away import warn_if_away
from hub.cli.connect import KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import CLUSTERS, field
from hub.cli.names import parse, resolve
from hub.cli.output import err, out
from hub.cli.reach import MANAGER
from hub.cli.tokens import (
    AllowLabelOption,
    AutoAcceptOption,
    LabelOption,
    TtlOption,
    Wanted,
)
from hub.cli.verdict import seconds_of
from hub.cli.watching import following
from hub.fleet.home import home
from hub.fleet.layout import LOOPBACK
from hub.gateway.clusters import revoke as cut_off
from hub.gateway.peers import ANNOTATION_RETURNING, ANNOTATION_ROTATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.contract.manifest import Manifest

ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster's name.")]
TimeoutOption = Annotated[str, typer.Option(help="How long to wait for it.")]


class NoHubAddress(AxletreeError):
    reason = "NoHubAddress"


class NoCertificate(AxletreeError):
    """A cluster that has not joined, or was revoked: there is nothing to rotate."""

    reason = "NoCertificate"


def register(group: typer.Typer) -> None:
    """Make these commands of `axle cluster`."""
    for command in (join, accept, revoke, rotate):
        group.command()(command)


def join(
    name: ClusterArgument,
    *,
    hub: Annotated[str, typer.Option("--hub", help="Where agents reach the hub: https://HOST:PORT.")] = "",
    ttl: TtlOption = "1h",
    auto_accept: AutoAcceptOption = False,
    label: LabelOption = None,
    allow_label: AllowLabelOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until its agent is connected.")] = False,
    timeout: TimeoutOption = "10m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the command that makes a cluster a spoke of this hub. Its token works once, and is a secret.

    Exit code 1: with --wait, not connected in time.
    """
    with plainly():
        seconds = seconds_of(timeout)
        address = hub or _local_hub()
        wanted = Wanted.of(name, ttl=ttl, labels=label, auto_accept=auto_accept, allow=allow_label)
    text = run(lambda: wanted.make(kubeconfig))
    err.print(f"axle: run this within {ttl}, with the kubeconfig of {name}:", style="dim")
    print(f"axle agent install --hub {address} --token {text} --apply --kubeconfig SPOKE_KUBECONFIG")
    if not auto_accept:
        err.print(f"axle: then let it in: axle cluster accept {name}", style="dim")
    if wait:
        err.print(f"axle: waiting until {name} is connected, for {timeout} at most", style="dim")
    if wait and not run(lambda: _until(name, _connected, seconds=seconds, kubeconfig=kubeconfig)):
        complain(f"cluster {name} is not connected after {timeout}")
        raise typer.Exit(EXIT_NEGATIVE)


def accept(name: ClusterArgument, kubeconfig: KubeconfigOption = None) -> None:
    """Accept a cluster that asked to join, or to come back, or say that a clone of it is settled."""

    async def work() -> str:
        async with connected(kubeconfig) as client:
            found = await resolve(client, parse(name, kinds=(CLUSTERS,)))
            said = []
            if field(found.obj, "status", "clone"):
                patch: Manifest = {"status": {"clone": None}}
                await client.merge_patch(found.path, patch, field_manager=MANAGER, subresource="status")
                said.append("has one agent again, which may delete what it is told to")
            if not field(found.obj, "spec", "accepted"):
                await client.merge_patch(found.path, {"spec": {"accepted": True}}, field_manager=MANAGER)
                returning = field(found.obj, "metadata", "annotations", ANNOTATION_RETURNING)
                said.append(
                    f"is accepted, with the certificate {returning[:12]}" if returning else "is accepted"
                )
            return " and ".join(said) or "is accepted already"

    out.print(f"cluster {name} {run(work)}")


def revoke(
    name: ClusterArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Cut a cluster's agent off, waiting requests included. What runs there stays, and is kept as it is."""

    async def look() -> Manifest:
        async with connected(kubeconfig) as client:
            return (await resolve(client, parse(name, kinds=(CLUSTERS,)))).obj

    found = run(look)
    fingerprint = field(found, "status", "fingerprint")
    if not fingerprint:
        out.print(f"cluster {name} has no certificate in force")
        return
    if not yes:
        typer.confirm(
            f"Cut off the agent of {name}? It comes back by a new token only.", abort=True, err=True
        )

    async def work() -> None:
        async with connected(kubeconfig) as client:
            await cut_off(client, name)

    run(work)
    out.print(
        f"cluster {name}: the certificate {fingerprint[:12]} is revoked; back by: axle cluster join {name}"
    )


def rotate(
    name: ClusterArgument, *, timeout: TimeoutOption = "2m", kubeconfig: KubeconfigOption = None
) -> None:
    """Give a cluster's agent a new certificate and new keys now. Exit code 1: not done in time."""
    with plainly():
        seconds = seconds_of(timeout)

    async def work() -> bool:
        async with connected(kubeconfig) as client:
            found = await resolve(client, parse(name, kinds=(CLUSTERS,)))
            before = field(found.obj, "status", "fingerprint")
            if not before:
                raise NoCertificate(f"cluster {name} has no certificate in force: axle cluster join {name}")
            await annotate(client, found.path, {ANNOTATION_ROTATE: before})
            err.print(f"axle: waiting for the agent of {name}, for {timeout} at most", style="dim")
            await warn_if_away(client)
        return await _until(
            name,
            lambda obj: field(obj, "status", "fingerprint") not in ("", before),
            seconds=seconds,
            kubeconfig=kubeconfig,
        )

    if not run(work):
        complain(f"cluster {name}: its agent has not renewed after {timeout}; it does when it is heard again")
        raise typer.Exit(EXIT_NEGATIVE)
    out.print(f"cluster {name} has a new certificate and new keys")


async def _until(
    name: str, holds: Callable[[Manifest], bool], *, seconds: float, kubeconfig: Path | None
) -> bool:
    """Whether the Cluster comes to be so, in time."""
    async with connected(kubeconfig) as client, following(client, CLUSTERS.path(), name=name) as followed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not any(holds(obj) for obj in followed.objects()):
                    await followed.change()
                return True
        return False


def _connected(obj: Manifest) -> bool:
    return bool(field(obj, "status", "connected") == "Connected")


def _local_hub() -> str:
    """The local fleet's hub, if there is one."""
    try:
        port = json.loads((home() / "services" / "ports.json").read_text())["hub"]
    except (OSError, ValueError, KeyError) as error:
        raise NoHubAddress("say where agents reach the hub: --hub https://HOST:PORT") from error
    return f"https://{LOOPBACK}:{port}"
