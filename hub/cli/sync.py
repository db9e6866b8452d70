"""`axle sync`: a person lets apps of mode Manual go to exactly their targets, or has one object applied again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.errors import AxletreeError
from agent.contract.names import ANNOTATION_SYNC, ANNOTATION_SYNC_OBJECT
from agent.contract.objectsync import MAX_OBJECT, ObjectSyncReport, ObjectSyncState
from hub.cli.act import annotate
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.asking import ask
from hub.cli.connect import KubeconfigOption, NamespaceOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field, key_of
from hub.cli.names import Found, InvalidReference, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.cli.verdict import seconds_of

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest

app = typer.Typer()


class NothingReleased(AxletreeError):
    """Nothing of the app runs yet, so that there is no object to apply again."""

    reason = "NothingReleased"


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
    let go: one object of the release that runs is put back, whatever the app does about drift. Exit code 1: nothing
    waits for it, or the object could not be applied.
    """
    with plainly():
        reference = (
            parse(name, namespace=namespace, kinds=(APPS,)) if object_ else parse(name, namespace=namespace)
        )
        seconds = seconds_of(timeout)
        _check(object_)
    if object_:
        _tell(*run(lambda: _sync_object(reference, object_, kubeconfig, seconds=seconds)))
        return
    found, asked = run(lambda: _sync(reference, kubeconfig))
    if not asked:
        complain(f"nothing of {found} waits for a sync")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in asked:
        out.print(line)


async def _sync(reference: Reference, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        asked = []
        for obj in await apps_of(client, found):
            target = waiting_target(obj)
            if target:
                await annotate(client, Found(APPS, obj).path, {ANNOTATION_SYNC: target})
                asked.append(f"{key_of(obj)} may go to {target[:SHORT_ID]}")
        return found, asked


def waiting_target(obj: Manifest) -> str:
    """The digest that a Manual app waits to be let go to; empty where there is none."""
    target = str(field(obj, "status", "sync", "target"))
    released = str(field(obj, "status", "sync", "released"))
    asked = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_SYNC)
    manual = field(obj, "spec", "sync", "mode") == "Manual"
    return target if manual and target and target not in {released, asked} else ""


def _check(what: str) -> None:
    kind, slash, name = what.partition("/")
    if what and not (kind and slash and name and len(what) <= MAX_OBJECT and what.isprintable()):
        raise InvalidReference(f"{what[:80]!r}: write KIND/NAME, such as deployment/web")


async def _sync_object(
    reference: Reference, what: str, kubeconfig: Path | None, *, seconds: float
) -> tuple[Manifest, ObjectSyncReport | None]:
    """Ask the app's agent about the release that runs there, and wait for what it says."""
    async with connected(kubeconfig) as client:
        obj = (await resolve(client, reference)).obj
        digest = str(field(obj, "status", "sync", "released"))
        if not digest:
            raise NothingReleased(
                f"{key_of(obj)}: nothing of it is released yet; `axle why` says what it waits for"
            )
        request = secrets.token_hex(8)
        asked = await ask(
            client,
            [obj],
            ANNOTATION_SYNC_OBJECT,
            lambda _: f"{digest}/{request}/{what}",
            seconds=seconds,
            over=lambda one: _final(one, request) or digest != field(one, "status", "sync", "released"),
        )
        return (asked[0], _answer(asked[0], request)) if asked else (obj, None)


def _answer(obj: Manifest, request: str) -> ObjectSyncReport | None:
    said = field(obj, "status", "objectSync")
    if not isinstance(said, dict) or said.get("request") != request:
        return None
    return ObjectSyncReport.model_validate(said)


def _final(obj: Manifest, request: str) -> bool:
    said = _answer(obj, request)
    return said is not None and said.final


def _tell(obj: Manifest, said: ObjectSyncReport | None) -> None:
    """One line of what came of it. Raises `typer.Exit` unless the object was applied."""
    key, cluster = key_of(obj), field(obj, "spec", "cluster")
    if said is not None and said.state is ObjectSyncState.APPLIED:
        more = f": {said.message}" if said.message else ""
        out.print(f"{said.ref} of {key} on {cluster}: {said.action.lower()}{more}")
        return
    if said is None:
        complain(
            f"{key}: the agent of {cluster} has not answered: it is away, older than this command, or the app moved to "
            "another release meanwhile"
        )
    elif said.state is ObjectSyncState.WAITING:
        complain(f"{key}: its release has to be applied in full first: {said.message}")
    else:
        complain(f"{key}: {said.ref + ': ' if said.ref else ''}{said.message}")
    raise typer.Exit(EXIT_NEGATIVE)
