"""`axle refresh`, `axle approve`: a person asks or answers, by an annotation that the controller reads."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_APPROVE_WAVE,
    ANNOTATION_REFRESH,
)
from hub.api.rollout import WaveState, WaveStatus
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SETS, field, key_of, set_of
from hub.cli.names import Found, NoSuchObject, Reference, apps_of, parse, resolve
from hub.cli.output import out
from hub.core.waves import approval_of

if TYPE_CHECKING:
    from pathlib import Path

    from agent.kube.client import RestClient

MANAGER = "axle"
_APPROVABLE = frozenset({WaveState.WAITING, WaveState.AWAITING_APPROVAL, WaveState.HALTED})

app = typer.Typer()


@app.command()
def refresh(name: NameArgument, namespace: NamespaceOption = "", kubeconfig: KubeconfigOption = None) -> None:
    """Fetch Git now for a set or an app. A child is refreshed with its set."""
    with plainly():
        reference = parse(name, namespace=namespace)
    out.print(f"refreshing {run(lambda: _refresh(reference, kubeconfig))}")


async def _refresh(reference: Reference, kubeconfig: Path | None) -> Found:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        owner = set_of(found.obj) if found.kind is APPS else ""
        if owner:
            found = await resolve(client, parse(owner, kinds=(SETS,)))
        await annotate(client, found.path, {ANNOTATION_REFRESH: secrets.token_hex(8)})
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
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        approved = [] if found.kind is APPS else await _approve_plan(client, found)
        return found, approved + await _approve_apps(client, await apps_of(client, found))


async def _approve_wave(reference: Reference, wave: str, kubeconfig: Path | None) -> tuple[Found, list[str]]:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        waves = [
            WaveStatus.model_validate(each) for each in field(found.obj, "status", "rollout", "waves") or ()
        ]
        one = next((each for each in waves if each.name == wave), None)
        if one is None:
            known = ", ".join(each.name for each in waves) or "none"
            raise NoSuchObject(f"{found} has no wave {wave}: {known}")
        if one.state not in _APPROVABLE or (one.approved and one.state is not WaveState.HALTED):
            return found, []
        await annotate(client, found.path, {ANNOTATION_APPROVE_WAVE: _answers(found, waves, one)})
        failures = f", with {len(one.failures)} failures" if one.state is WaveState.HALTED else ""
        return found, [f"wave {wave} of {found} goes on{failures}"]


def _answers(found: Found, waves: list[WaveStatus], one: WaveStatus) -> str:
    """What was answered of other waves' present plans stands; of older ones it means nothing any more."""
    before = (found.obj["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE_WAVE, "")
    current = {f"{each.name}/{each.plan}" for each in waves if each.name != one.name}
    kept = [each for each in before.split(",") if "/".join(each.split("/")[:2]) in current]
    return ",".join([*kept, approval_of(one)])


async def _approve_plan(client: RestClient, found: Found) -> list[str]:
    held = field(found.obj, "status", "plan", "held") or []
    if not held:
        return []
    plan = field(found.obj, "status", "plan", "id")
    await annotate(client, found.path, {ANNOTATION_APPROVE: f"deletions/{plan}"})
    return [f"{each['app']} is deleted ({each['reason']}, held by plan {plan})" for each in held]


async def _approve_apps(client: RestClient, apps: list[dict[str, Any]]) -> list[str]:
    approved = []
    for obj in apps:
        held = field(obj, "status", "deletion", "held")
        if held:
            answer = f"deletion/{field(obj, 'status', 'deletion', 'decidedAt')}"
            await annotate(client, Found(APPS, obj).path, {ANNOTATION_APPROVE: answer})
            approved.append(f"{key_of(obj)} is deleted (was Held: {held})")
    return approved


async def annotate(client: RestClient, path: str, annotations: dict[str, str]) -> None:
    await client.merge_patch(path, {"metadata": {"annotations": annotations}}, field_manager=MANAGER)
