"""`axle sync`: a person lets apps of mode Manual go to exactly their targets, or has one object applied again."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import ApiError
from agent.contract.objectsync import MAX_OBJECT, ObjectSyncReport, ObjectSyncState
from hub.cli.act import about
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import NOT_FOUND, KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SETS, field, key_of
from hub.cli.names import Found, InvalidReference, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.cli.reach import reaching
from hub.cli.verdict import seconds_of
from hub.web.acts import waiting_target
from hub.web.asked import SyncRequest
from hub.web.problems import NothingReleased, WebError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.cli.reach import Reach

app = typer.Typer()


_PACE = 0.3
"""Seconds between two looks."""


@app.command()
def sync(
    name: NameArgument,
    namespace: NamespaceOption = "",
    *,
    object_: Annotated[
        str,
        typer.Option("--object", metavar="KIND/NAME", help="Apply this object of what runs again, now."),
    ] = "",
    timeout: Annotated[str, typer.Option(help="With --object: how long to wait for the agent.")] = "1m",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let an app of mode Manual go to its target; of a set, every child that waits for that.

    It means exactly the target of now: what a later commit wants has to be asked for again. With --object nothing is
    let go: one object of the release that runs is put back, whatever the app does about drift; of a set, that object of
    every child. Exit code 1: nothing
    waits for it, or the object could not be applied.
    """
    with plainly():
        reference = parse(name, namespace=namespace)
        seconds = seconds_of(timeout)
        _check(object_)
    if object_:
        told = run(lambda: _sync_object(reference, object_, kubeconfig, seconds=seconds))
        applied = [_tell(obj, said) for obj, said in told]
        if not all(applied):
            raise typer.Exit(EXIT_NEGATIVE)
        return
    found, asked = run(lambda: _sync(reference, kubeconfig))
    if not asked:
        complain(f"nothing of {found} waits for a sync")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in asked:
        out.print(line)


async def _sync(reference: Reference, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        asked: list[str] = []
        for obj in await apps_of(hub, found):
            done = await hub.act("sync", Found(APPS, obj)) if waiting_target(obj) else None
            asked += about(obj, done.changed) if done is not None else []
        return found, asked


def _check(what: str) -> None:
    kind, slash, name = what.partition("/")
    if what and not (kind and slash and name and len(what) <= MAX_OBJECT and what.isprintable()):
        raise InvalidReference(f"{what[:80]!r}: write KIND/NAME, such as deployment/web")


async def _sync_object(
    reference: Reference, what: str, kubeconfig: Path | None, *, seconds: float
) -> list[tuple[Manifest, ObjectSyncReport | None]]:
    """Ask the agents about the releases that run there, and wait for what they say; then it is not asked any more."""
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        asked: dict[str, tuple[Found, str]] = {}
        try:
            for obj in await apps_of(hub, found):
                if found.kind is SETS and not field(obj, "status", "sync", "released"):
                    continue
                done = await hub.act("sync", Found(APPS, obj), SyncRequest(object=what))
                if done is not None:
                    asked[key_of(obj)] = (Found(APPS, obj), done.request)
            if not asked:
                raise NothingReleased(
                    f"{found}: nothing of it is released yet; `axle why` says what it waits for"
                )
            return await _answers(hub, found, asked, seconds=seconds)
        finally:
            for one, _ in asked.values():
                await _take_back(hub, one)


async def _take_back(hub: Reach, one: Found) -> None:
    """An app that is deleted by now is not asked anything."""
    try:
        await hub.act("sync", one, SyncRequest(undo=True))
    except (ApiError, WebError) as error:
        if error.status != NOT_FOUND:
            raise


async def _answers(
    hub: Reach, found: Found, asked: Mapping[str, tuple[Found, str]], *, seconds: float
) -> list[tuple[Manifest, ObjectSyncReport | None]]:
    """What each app's agent says, or None of those that did not in time, or moved to another release meanwhile."""
    now: dict[str, Manifest] = {}

    def over(key: str) -> bool:
        one, request = asked[key]
        obj, released = now.get(key), field(one.obj, "status", "sync", "released")
        return obj is None or _final(obj, request) or field(obj, "status", "sync", "released") != released

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                now = {key_of(obj): obj for obj in await _again(hub, found)}
                if all(map(over, asked)):
                    break
                await asyncio.sleep(_PACE * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
    return [
        (now.get(key, one.obj), _answer(now[key], request) if key in now else None)
        for key, (one, request) in asked.items()
    ]


async def _again(hub: Reach, found: Found) -> list[Manifest]:
    """The apps as they are now. One that is deleted meanwhile is left out."""
    if found.kind is SETS:
        return await apps_of(hub, found)
    return (
        await hub.list(
            found.path.rpartition("/")[0], field_selector=f"metadata.name={found.obj['metadata']['name']}"
        )
    ).items


def _answer(obj: Manifest, request: str) -> ObjectSyncReport | None:
    said = field(obj, "status", "objectSync")
    if not isinstance(said, dict) or said.get("request") != request:
        return None
    return ObjectSyncReport.model_validate(said)


def _final(obj: Manifest, request: str) -> bool:
    said = _answer(obj, request)
    return said is not None and said.final


def _tell(obj: Manifest, said: ObjectSyncReport | None) -> bool:
    """One line of what came of it; gives whether the object was applied."""
    key, cluster = key_of(obj), field(obj, "spec", "cluster")
    if said is not None and said.state is ObjectSyncState.APPLIED:
        more = f": {said.message}" if said.message else ""
        out.print(f"{said.ref} of {key} on {cluster}: {said.action.lower()}{more}")
        return True
    if said is None:
        complain(
            f"{key}: the agent of {cluster} has not answered: it is away, older than this command, or the app moved to "
            "another release meanwhile"
        )
    elif said.state is ObjectSyncState.WAITING:
        complain(f"{key}: its release has to be applied in full first: {said.message}")
    else:
        complain(f"{key}: {said.ref + ': ' if said.ref else ''}{said.message}")
    return False
