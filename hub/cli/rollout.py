"""`axle rollout` and `axle events`: what a pipeline asks, over the hub's API, with no kubeconfig of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError
from hub.cli.connect import run
from hub.cli.failure import EXIT_NEGATIVE, plainly
from hub.cli.output import Format, err, out, print_value
from hub.cli.verdict import seconds_of
from hub.web.asked import EventQuery, RolloutQuery
from hub.web.client import Client
from hub.web.connection import ApiUnavailable
from hub.web.models import RolloutState

if TYPE_CHECKING:
    from hub.web.models import Rollout

app = typer.Typer()

_A_LOOK = 60.0
"""Seconds of one call: a proxy between may have limits of its own."""
_PAUSE = 2.0

ApiOption = Annotated[
    str, typer.Option("--api", envvar="AXLETREE_API", help="https://HOST:PORT of the hub's API.")
]
CaOption = Annotated[
    Path, typer.Option("--ca", envvar="AXLETREE_CA", help="A file with the hub's CA.", dir_okay=False)
]
TokenOption = Annotated[
    str,
    typer.Option("--token", envvar="AXLETREE_TOKEN", help="A Kubernetes token of the hub's cluster."),
]


class ApiNotNamed(AxletreeError):
    """Which API is meant, whom it trusts, or as whom, is not said."""

    reason = "ApiNotNamed"


@app.command()
def rollout(
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/SET", help="An ApplicationSet.")],
    revision: Annotated[str, typer.Option("--revision", help="The commit, seven digits or more.")],
    *,
    api: ApiOption,
    ca: CaOption,
    token: TokenOption,
    timeout: Annotated[str, typer.Option(help="How long: 90s, 5m, 1h30m.")] = "10m",
    fmt: Annotated[Format, typer.Option("--output", "-o", help="table, yaml, json or name.")] = Format.TABLE,
) -> None:
    """Wait until a commit of a set is everywhere and well, or cannot be any more.

    Exit code 1: it failed, another commit is wanted by now, or it is not there in time; what is not as it should
    be is printed.
    """
    with plainly():
        namespace, slash, short = name.partition("/")
        if not slash or not short:
            raise ApiNotNamed(f"{name!r}: write NAMESPACE/SET")
        seconds = seconds_of(timeout)
    found = run(lambda: _rollout(namespace, short, revision, seconds=seconds, client=_client(api, ca, token)))
    _print(found, fmt)
    if found.state is not RolloutState.HEALTHY:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def events(
    *,
    api: ApiOption,
    ca: CaOption,
    token: TokenOption,
    last: Annotated[int, typer.Option("--after", help="The id of the last event that was seen.")] = 0,
    namespace: Annotated[list[str] | None, typer.Option("--namespace", "-n", help="Only there.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only these: HealthChanged, Released, ...")] = None,
    count: Annotated[int, typer.Option(help="End after so many; 0: never.")] = 0,
    fmt: Annotated[Format, typer.Option("--output", "-o", help="table or json (one a line).")] = Format.TABLE,
) -> None:
    """Print what happens, as it happens; a hub that was away is followed again where it was."""
    query = EventQuery(namespace=namespace or [], reason=reason or [])
    run(lambda: _events(query, last=last, count=count, fmt=fmt, client=_client(api, ca, token)))


def _client(api: str, ca: Path, token: str) -> Client:
    try:
        trusted = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ApiNotNamed(f"{ca} is no CA: {error}") from error
    return Client(api, token=token, ca=trusted)


async def _rollout(namespace: str, name: str, revision: str, *, seconds: float, client: Client) -> Rollout:
    """The verdict when it is over, or the last one. A hub that is away is asked again while there is time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    last = ""
    async with client:
        while True:
            left = max(0.0, deadline - loop.time())
            query = RolloutQuery(revision=revision, wait=f"{min(left, _A_LOOK):.0f}s", until="Change")
            try:
                found = await client.rollout(namespace, name, query)
            except ApiUnavailable:
                if left <= _PAUSE:
                    raise
                await asyncio.sleep(_PAUSE)
                continue
            if found.over or not left:
                return found
            now = f"{found.state}: {found.healthy}/{found.children} Healthy"
            if now != last:
                err.print(now, style="dim")
            last = now


async def _events(query: EventQuery, *, last: int, count: int, fmt: Format, client: Client) -> None:
    told = 0
    async with client, contextlib.aclosing(client.follow(query, last=last)) as found:
        async for each in found:
            if fmt is Format.JSON:
                print(each.model_dump_json(by_alias=True), flush=True)
            else:
                about = f"{each.namespace}/{each.name}" if each.namespace else each.name
                change = " -> ".join(part for part in (each.old, each.new) if part)
                out.print(
                    f"{each.id}  {each.at}  {each.kind} {about}  {each.reason}  {change}  {each.message}"
                )
            told += 1
            if count and told >= count:
                return


def _print(found: Rollout, fmt: Format) -> None:
    if fmt in {Format.JSON, Format.YAML}:
        print_value(found.model_dump(mode="json", by_alias=True), fmt)
        return
    if fmt is Format.NAME:
        print(found.state.value)
        return
    message = f": {found.message}" if found.message else ""
    out.print(f"{found.revision} is {found.state} ({found.healthy}/{found.children} Healthy){message}")
    for each in found.where:
        out.print(f"  {each.application} on {each.cluster}: {each.sync}, {each.health}: {each.message}")
