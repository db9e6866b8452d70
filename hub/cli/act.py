"""`axle refresh`, `axle approve`: a person asks or answers, by an annotation that the controller reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.api.rollout import WaveState, WaveStatus
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SETS, field, key_of, set_of
from hub.cli.names import Found, NoSuchObject, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.cli.reach import MANAGER, reaching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

app = typer.Typer()


@app.command()
def refresh(name: NameArgument, namespace: NamespaceOption = "", kubeconfig: KubeconfigOption = None) -> None:
    """Fetch Git now for a set or an app. A child is refreshed with its set."""
    with plainly():
        reference = parse(name, namespace=namespace)
    out.print(f"refreshing {run(lambda: _refresh(reference, kubeconfig))}")


async def _refresh(reference: Reference, kubeconfig: Path | None) -> Found:
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        owner = set_of(found.obj) if found.kind is APPS else ""
        if owner:
            found = await resolve(hub, parse(owner, kinds=(SETS,)))
        await hub.act("refresh", found)
        return found


@app.command()
def approve(
    name: NameArgument,
    namespace: NamespaceOption = "",
    wave: Annotated[
        str, typer.Option("--wave", help="Open this wave of a set, or let it go on with its failures.")
    ] = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let the deletions of a set or an app go that are Held, or a wave that waits. Exit code 1: none does.

    It answers exactly what is Held now: what a later plan holds has to be approved again.
    """
    with plainly():
        reference = parse(name, namespace=namespace, kinds=(SETS,) if wave else (APPS, SETS))
    found, approved = run(
        lambda: _approve_wave(reference, wave, kubeconfig) if wave else _approve(reference, kubeconfig)
    )
    if not approved:
        complain(f"nothing of {found} is Held{'' if wave else _waiting_waves(found)}")
        raise typer.Exit(EXIT_NEGATIVE)
    for line in approved:
        out.print(f"approved: {line}")


def _waiting_waves(found: Found) -> str:
    """Waves are asked for by name: whoever approves deletions has not meant them."""
    stands = {WaveState.AWAITING_APPROVAL, WaveState.HALTED}
    waves = [WaveStatus.model_validate(each) for each in field(found.obj, "status", "rollout", "waves") or ()]
    return "".join(
        f"; wave {each.name} is {each.state}: --wave {each.name}" for each in waves if each.state in stands
    )


async def _approve(reference: Reference, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        approved: list[str] = []
        asked = [found] if found.kind is SETS and field(found.obj, "status", "plan", "held") else []
        asked += [
            Found(APPS, obj) for obj in await apps_of(hub, found) if field(obj, "status", "deletion", "held")
        ]
        for each in asked:
            done = await hub.act("approve", each)
            approved += about(each.obj, done.changed) if done is not None else []
        return found, approved


async def _approve_wave(reference: Reference, wave: str, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    from hub.web.asked import ApproveRequest  # noqa: PLC0415 - models, which other commands do not need

    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        names = [each["name"] for each in field(found.obj, "status", "rollout", "waves") or ()]
        if wave not in names:
            has = f"no wave {wave}: {', '.join(names)}" if names else "no waves"
            raise NoSuchObject(f"{found} has {has}")
        done = await hub.act("approve", found, ApproveRequest(wave=wave))
        return found, done.changed if done is not None else []


def about(obj: Manifest, said: Sequence[str]) -> list[str]:
    """What was said of "it", with its name."""
    return [f"{key_of(obj)} {each.removeprefix('it ')}" if each.startswith("it ") else each for each in said]


async def annotate(client: RestClient, path: str, annotations: dict[str, str]) -> None:
    await client.merge_patch(path, {"metadata": {"annotations": annotations}}, field_manager=MANAGER)
