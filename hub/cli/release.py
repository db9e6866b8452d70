"""`axle release`: what holds an app, and, by a person's own will, past it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import ANNOTATION_FORCE_RELEASE
from hub.cli.act import annotate
from hub.cli.arguments import AppArgument  # noqa: TC001 - typer reads it
from hub.cli.connect import KubeconfigOption, NamespaceOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, SHORT_ID, field
from hub.cli.names import Found, Reference, parse, resolve
from hub.cli.output import out
from hub.core.rollout import PASSABLE

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

app = typer.Typer()

_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_MAX_WHO = 200


class NoGate(AxletreeError):
    """What holds an app is no gate, so that there is nothing to pass: it has no target, or no cluster to go to."""

    reason = "NoGate"


@app.command()
def release(
    name: AppArgument,
    namespace: NamespaceOption = "",
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Let it go to its target past edges, waves, windows and pauses.")
    ] = False,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say what holds an app; with --force let it go to the target of now all the same, which stays in its history.

    Exit code 1: something holds it, or with --force: it is at its target already.
    """
    with plainly():
        reference = parse(name, namespace=namespace, kinds=(APPS,))
    found, held = run(lambda: _release(reference, kubeconfig, force=force))
    if not _waits(found.obj):
        complain(f"{found} waits for no release")
        if force:
            raise typer.Exit(EXIT_NEGATIVE)
        return
    for each in held:
        out.print(f"{'past ' if force else ''}{each['edge']}: {each.get('message', '')}")
    if force:
        out.print(f"{found} goes to {_target(found.obj)[:SHORT_ID]}")
    elif held:
        complain("say --force to let it go past that")
        raise typer.Exit(EXIT_NEGATIVE)


async def _release(
    reference: Reference, kubeconfig: Path | None, *, force: bool
) -> tuple[Found, list[dict[str, Any]]]:
    async with connected(kubeconfig) as client:
        found = await resolve(client, reference)
        held: list[dict[str, Any]] = field(found.obj, "status", "blockedBy") or []
        stops = [each for each in held if each["edge"] not in PASSABLE]
        if force and (stops or (_waits(found.obj) and not _target(found.obj))):
            said = "; ".join(f"{each['edge']}: {each.get('message', '')}" for each in stops)
            raise NoGate(f"{found}: force passes no such thing: {said or 'it has no target'}")
        if force and _waits(found.obj):
            number = int(field(found.obj, "status", "sync", "release") or 0) + 1
            value = f"{_target(found.obj)}/{number}/{await _who(client)}"
            await annotate(client, found.path, {ANNOTATION_FORCE_RELEASE: value})
        return found, held


def _target(obj: Manifest) -> str:
    return str(field(obj, "status", "sync", "target"))


def _waits(obj: Manifest) -> bool:
    return _target(obj) != str(field(obj, "status", "sync", "released")) or not _target(obj)


async def _who(client: RestClient) -> str:
    """Whom the API server takes us for; older ones do not say."""
    question = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await client.create(_WHO, question)
    except ApiError:
        return "somebody"
    return str(field(answer, "status", "userInfo", "username"))[:_MAX_WHO] or "somebody"
