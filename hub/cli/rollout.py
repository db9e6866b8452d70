"""`axle rollout` and `axle events`: what a pipeline asks, over the hub's API, with no kubeconfig of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.api import ApiOption, CaOption, TokenOption, client_of
from hub.cli.connect import run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.names import InvalidReference
from hub.cli.output import Format, err, out, print_value
from hub.cli.verdict import seconds_of
from hub.sources.errors import RevisionRefused
from hub.web.asked import EventQuery, RolloutQuery
from hub.web.connection import ApiProblem, ApiUnavailable
from hub.web.models import RolloutState

if TYPE_CHECKING:
    from hub.web.client import Client
    from hub.web.models import Rollout

app = typer.Typer()

_A_LOOK = 60.0
"""Seconds of one call: a proxy between may have limits of its own."""
_PAUSE = 2.0
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@app.command()
def rollout(
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/SET", help="An ApplicationSet.")],
    revision: Annotated[str, typer.Option("--revision", help="The commit, seven digits or more.")],
    *,
    api: ApiOption = "",
    ca: CaOption = None,
    token: TokenOption = "",
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
            raise InvalidReference(f"{name!r}: write NAMESPACE/SET")
        commit = _commit(revision)
        seconds = seconds_of(timeout)
    found = run(lambda: _rollout(namespace, short, commit, seconds=seconds, client=client_of(api, ca, token)))
    _print(found, fmt)
    if found.state is not RolloutState.HEALTHY:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def events(
    *,
    api: ApiOption = "",
    ca: CaOption = None,
    token: TokenOption = "",
    last: Annotated[int, typer.Option("--after", help="The id of the last event that was seen.")] = 0,
    namespace: Annotated[list[str] | None, typer.Option("--namespace", "-n", help="Only there.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only these: HealthChanged, Released, ...")] = None,
    count: Annotated[int, typer.Option(help="End after so many; 0: never.")] = 0,
    fmt: Annotated[Format, typer.Option("--output", "-o", help="table or json (one a line).")] = Format.TABLE,
) -> None:
    """Print what happens, as it happens; a hub that was away is followed again where it was."""
    query = EventQuery(namespace=namespace or [], reason=reason or [])
    run(lambda: _events(query, last=last, count=count, fmt=fmt, client=client_of(api, ca, token)))


def _commit(text: str) -> str:
    """Raises `RevisionRefused`: what a branch is called does not say which commit is waited for."""
    if _COMMIT.fullmatch(text.lower()) is None:
        raise RevisionRefused(f"--revision {text!a}: say the commit, by its first seven digits or more")
    return text.lower()


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
            except (ApiUnavailable, ApiProblem) as error:
                if left <= _PAUSE or (isinstance(error, ApiProblem) and not error.passing):
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
    async with client, contextlib.aclosing(client.follow(query, last=last, away=_away)) as found:
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


def _away(error: ApiUnavailable) -> None:
    complain(f"{error.reason}: {error}; it is asked again until it answers")


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
