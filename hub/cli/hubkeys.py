"""`axle hub rotate`: another CA and signing key for the hub, with nobody joining again."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.connect import KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import CLUSTERS, field
from hub.cli.output import err, out
from hub.cli.tokens import hub_identity
from hub.cli.verdict import seconds_of
from hub.cli.watching import following
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity, Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_NAMED = 5


def rotate(
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on without clusters that are away: some may have to join again."),
    ] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait at each stage.")] = "10m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Replace the hub's CA and signing key: every agent learns the next ones before anything uses them.

    Goes on where an earlier run stopped. Exit code 1: clusters that have not followed in time, which are named.
    """
    with plainly():
        seconds = seconds_of(timeout)
    left = run(lambda: _rotate(kubeconfig, seconds=seconds, force=force))
    if left:
        complain(left)
        raise typer.Exit(EXIT_NEGATIVE)
    out.print("the hub has another CA and signing key; take a new backup: axle hub backup")


async def _rotate(kubeconfig: Path | None, *, seconds: float, force: bool) -> str:
    """Through the stages; what is left to do, or empty."""
    async with connected(kubeconfig) as client:
        identity = await hub_identity(client)
        if identity.stage is Stage.IDLE:
            identity = await _write(client, lambda held: held.announced(now=datetime.now(UTC)))
            err.print(f"announced: generation {identity.generation} of the hub's keys", style="dim")
        if identity.stage is Stage.ANNOUNCED:
            generation = identity.generation
            away = await _behind(
                client, lambda obj: int(field(obj, "status", "agent", "keys") or 0) >= generation, seconds
            )
            if away and not force:
                return _told(
                    away, "have not learned the next keys", "they follow by themselves when they come back"
                )
            identity = await _write(client, lambda held: held.activated())
            err.print("in use: the next CA and signing key; the former ones are still trusted", style="dim")
        issuer = identity.authority.key_id
        away = await _behind(
            client, lambda obj: field(obj, "status", "certificate", "issuer") == issuer, seconds
        )
        if away and not force:
            return _told(
                away, "have no certificate of the next CA", "they have to join again when they come back"
            )
        await _write(client, lambda held: held.finished())
    return ""


async def _behind(client: RestClient, holds: Callable[[Manifest], bool], seconds: float) -> list[str]:
    """Wait for every cluster that has joined; those that are not there in time."""
    async with following(client, CLUSTERS.path()) as followed:
        last: list[str] = []

        def away() -> list[str]:
            joined = (obj for obj in followed.objects() if field(obj, "status", "fingerprint"))
            return sorted(obj["metadata"]["name"] for obj in joined if not holds(obj))

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while left := away():
                    if len(left) != len(last):
                        err.print(f"{len(left)} clusters to go", style="dim")
                    last = left
                    await followed.change()
        return away()


async def _write(client: RestClient, step: Callable[[HubIdentity], HubIdentity]) -> HubIdentity:
    """One step of the identity, unless someone else took it."""
    path = paths.secret(SECRET_NAME)
    held = await client.get(path)
    identity = step(HubIdentity.from_secret(held))
    secret = identity.to_secret()
    secret["metadata"] = held["metadata"]
    await client.replace(path, secret)
    return identity


def _told(away: list[str], what: str, forced: str) -> str:
    more = f" and {len(away) - _NAMED} more" if len(away) > _NAMED else ""
    return (
        f"{len(away)} clusters {what}: {', '.join(away[:_NAMED])}{more}. Run this again when they are back, or go on "
        f"without them by --force: {forced}"
    )
