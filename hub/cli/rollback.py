"""`axle rollback`: an app, or every child of a set, back to an earlier release, as a pin that everyone sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.errors import AxletreeError
from agent.contract.names import ANNOTATION_PIN
from hub.cli.act import MANAGER
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field, key_of
from hub.cli.names import Found, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.cli.snapshot import Snapshot
from hub.core.pins import BY_PERSON, history_of, last_good, pin_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agent.contract.manifest import Manifest

app = typer.Typer()


class NoSuchRelease(AxletreeError):
    """There is no release of that number any more, or its bundle is not kept."""

    reason = "NoSuchRelease"


@app.command()
def rollback(
    name: NameArgument,
    namespace: NamespaceOption = "",
    to: Annotated[int, typer.Option("--to", metavar="N", help="The release of an app; see `history`.")] = 0,
    *,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the pin away: go to what the plan wants.")
    ] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Pin an app at its last good release, or at release N; of a set, every child that has one.

    The pin holds until a commit changes what the plan wants, or until --undo. Exit code 1: there is nothing to go
    back to, or no pin.
    """
    with plainly():
        reference = (
            parse(name, namespace=namespace, kinds=(APPS,)) if to else parse(name, namespace=namespace)
        )
    found, done = run(lambda: _rollback(reference, kubeconfig, to=to, undo=undo))
    if not done:
        complain(f"{found} has no pin" if undo else f"{found} has no other release that was well")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in done:
        out.print(line)


async def _rollback(
    reference: Reference, kubeconfig: Path | None, *, to: int, undo: bool
) -> tuple[Found, list[str]]:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        done = []
        for obj in dependents_first(await apps_of(client, found)):
            value, said = _unpinned(obj) if undo else _pinned(obj, to)
            if said:
                patch = {"metadata": {"annotations": {ANNOTATION_PIN: value}}}
                await client.merge_patch(Found(APPS, obj).path, patch, field_manager=MANAGER)
                done.append(said)
        return found, done


def dependents_first(apps: Sequence[Manifest]) -> list[Manifest]:
    """In the order in which they go back: the hub sees a pin before those of what its app needs."""
    by_key = {key_of(obj): obj for obj in apps}
    graph = Snapshot(apps=by_key).graph()
    return [by_key[key] for level in reversed(graph.order()) for key in level]


def _pinned(obj: Manifest, to: int) -> tuple[str | None, str]:
    """The pin and what to say of it; empty where there is nothing to go back to."""
    sync = field(obj, "status", "sync") or {}
    wanted = _wanted(obj, sync)
    entry = _release(obj, to) if to else last_good(obj, instead_of=str(sync.get("target", "")))
    if entry is None or not wanted or entry["digest"] == wanted:
        return None, ""
    digest = str(entry["digest"])
    value = pin_value(digest, instead_of=wanted, by=BY_PERSON)
    return value, f"{key_of(obj)} goes back to release {entry['release']} ({digest[:SHORT_ID]})"


def _wanted(obj: Manifest, sync: Mapping[str, Any]) -> str:
    """What its plan renders, also where it is pinned already."""
    if sync.get("pinned"):
        parts = str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_PIN, "")).split("/")
        return parts[1] if len(parts) > 1 else ""
    return str(sync.get("target", ""))


def _unpinned(obj: Manifest) -> tuple[str | None, str]:
    there = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_PIN)
    return None, f"{key_of(obj)} is not pinned any more" if there else ""


def _release(obj: Manifest, number: int) -> Mapping[str, Any]:
    for entry in history_of(obj):
        if entry.get("release") == number and entry.get("blob"):
            return entry
    known = ", ".join(str(entry["release"]) for entry in history_of(obj) if entry.get("blob")) or "none"
    raise NoSuchRelease(f"{key_of(obj)} has no release {number} to go back to: {known}")
