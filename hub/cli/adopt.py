"""`axle adopt`: take over what Argo CD, Flux, Helm or kubectl manage now. The plan first; nothing without --yes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.adoption import AdoptionChange, AdoptionReport, AdoptionState
from hub.cli.arguments import NameArgument  # noqa: TC001 - typer reads it
from hub.cli.asking import ask
from hub.cli.connect import KubeconfigOption, NamespaceOption, run
from hub.cli.failure import EXIT_NEGATIVE, complain, plainly
from hub.cli.kinds import APPS, field, key_of, why
from hub.cli.names import Found, Reference, apps_of, parse, resolve
from hub.cli.output import Format, FormatOption, err, out, print_table, print_value
from hub.cli.reach import reaching
from hub.cli.verdict import seconds_of
from hub.web.acts import waiting_target
from hub.web.asked import AdoptRequest
from hub.web.problems import NothingRendered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from agent.contract.adoption import AdoptionEntry
    from agent.contract.manifest import Manifest
    from hub.cli.reach import Reach

app = typer.Typer()

_PATHS = 4
_WORDS = {
    AdoptionChange.CREATE: "made",
    AdoptionChange.SAME: "the same",
    AdoptionChange.DIFFERS: "differ",
    AdoptionChange.PRUNE: "deleted",
    AdoptionChange.REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One app, and what its agent answered; None where nothing came in time."""

    obj: Manifest
    answer: AdoptionReport | None

    @property
    def key(self) -> str:
        return key_of(self.obj)


@app.command()
def adopt(
    name: NameArgument,
    namespace: NamespaceOption = "",
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take over as planned.")] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Also where Pods restart, or objects are deleted.")
    ] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for the agents.")] = "2m",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Take an app's objects over from Argo CD, Flux, Helm or kubectl; of a set, those of every child.

    Without --yes it prints what would be taken over from whom, and what differs, and changes nothing. Exit code 1:
    an agent did not answer in time, or the plan is not to be carried out like that.
    """
    with plainly():
        reference = parse(name, namespace=namespace)
        seconds = seconds_of(timeout)
    planned = run(lambda: _plan(reference, kubeconfig, seconds=seconds))
    _print(planned, fmt)
    problems = [*_silent(planned), *_obstacles(planned, accept_changes=accept_changes)]
    if yes and not problems:
        taken = run(lambda: _take(planned, kubeconfig, seconds=seconds))
        problems = _silent(taken, planned={one.key: one.answer.digest for one in planned if one.answer})
        for one in taken:
            if one.answer is not None and one.answer.state is AdoptionState.TAKEN:
                err.print(f"{one.key}: {one.answer.objects} objects are taken over")
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(EXIT_NEGATIVE)
    if not yes:
        err.print("axle: nothing is changed; to take over as planned: --yes", style="dim")


async def _plan(reference: Reference, kubeconfig: Path | None, *, seconds: float) -> list[Asked]:
    async with reaching(kubeconfig) as hub:
        found = await resolve(hub, reference)
        apps = await apps_of(hub, found)
        empty = [key_of(obj) for obj in apps if not field(obj, "status", "sync", "target")]
        if empty or not apps:
            named = ", ".join(empty[:5]) or str(found)
            raise NothingRendered(f"{named}: nothing is rendered yet; `axle why` says what it waits for")
        return await _ask(hub, apps, lambda _: AdoptRequest(), seconds=seconds, over=_final)


async def _take(planned: Sequence[Asked], kubeconfig: Path | None, *, seconds: float) -> list[Asked]:
    """Carry out exactly what was planned: of a target that moved meanwhile, nothing is taken."""
    async with reaching(kubeconfig) as hub:
        digests = {one.key: one.answer.digest for one in planned if one.answer is not None}
        for one in planned:
            if waiting_target(one.obj) == digests[one.key]:
                await hub.act("sync", Found(APPS, one.obj))
        return await _ask(
            hub,
            [one.obj for one in planned],
            lambda obj: AdoptRequest(take=digests[key_of(obj)]),
            seconds=seconds,
            over=lambda one: _final(one) or digests[one.key] != field(one.obj, "status", "sync", "target"),
        )


async def _ask(
    hub: Reach,
    apps: Sequence[Manifest],
    question: Callable[[Manifest], AdoptRequest],
    *,
    seconds: float,
    over: Callable[[Asked], bool],
) -> list[Asked]:
    """Ask the agent of every app, wait until each is `over`, take the question back."""

    def asked(obj: Manifest, request: str) -> Asked:
        return Asked(obj, _answer(obj, request))

    found = await ask(
        hub,
        "adopt",
        apps,
        question,
        undo=AdoptRequest(undo=True),
        seconds=seconds,
        over=lambda obj, request: over(asked(obj, request)),
    )
    return [asked(obj, request) for obj, request in found]


def _answer(obj: Manifest, request: str) -> AdoptionReport | None:
    said = field(obj, "status", "adoption")
    if not isinstance(said, dict) or said.get("request") != request:
        return None
    return AdoptionReport.model_validate(said)


def _final(one: Asked) -> bool:
    return one.answer is not None and one.answer.state in {AdoptionState.PLANNED, AdoptionState.TAKEN}


def _silent(asked: Iterable[Asked], planned: Mapping[str, str] | None = None) -> list[str]:
    """Those of which there is no final answer, with what is known. `planned`: the digests that were to be taken."""
    found = []
    for one in asked:
        if _final(one):
            continue
        digest = (planned or {}).get(one.key, "")
        if digest not in {"", field(one.obj, "status", "sync", "target")}:
            found.append(
                f"{one.key}: its target moved since the plan, and nothing of it is taken: plan again"
            )
            continue
        cluster = field(one.obj, "spec", "cluster")
        said = one.answer.message if one.answer is not None else ""
        reason = ": ".join(filter(None, (said, why(one.obj)))) or f"the agent of {cluster} has not answered"
        found.append(f"{one.key}: {reason}")
    return found


def _obstacles(planned: Iterable[Asked], *, accept_changes: bool) -> list[str]:
    """Why the plan is not to be carried out as it is."""
    found = []
    for one in planned:
        answer = one.answer
        if answer is None:
            continue
        refused = answer.changes.get(AdoptionChange.REFUSED, 0)
        pruned = answer.changes.get(AdoptionChange.PRUNE, 0)
        if refused:
            found.append(
                f"{one.key}: the API server refuses {refused} objects; they have to be corrected first"
            )
        if (answer.restarts or pruned) and not accept_changes:
            found.append(
                f"{one.key}: {answer.restarts} objects would restart Pods, {pruned} would be deleted: bring Git to "
                "what is live first, or say --accept-changes"
            )
    return found


def _print(planned: Sequence[Asked], fmt: Format) -> None:
    answers = [one.answer for one in planned if one.answer is not None]
    if fmt is Format.NAME:
        for answer in answers:
            for entry in answer.entries:
                out.print(entry.ref)
        return
    if fmt is not Format.TABLE:
        print_value([answer.wire() for answer in answers], fmt)
        return
    for one in planned:
        if one.answer is None:
            continue
        changes = ", ".join(
            f"{count} {_WORDS[AdoptionChange(each)]}" for each, count in one.answer.changes.items()
        )
        tools = ", ".join(f"{count} of {tool}" for tool, count in sorted(one.answer.tools.items()))
        out.print(
            f"{one.key} on {field(one.obj, 'spec', 'cluster')}: {changes}; {tools or 'nobody else has any'}"
        )
        rows = [_row(entry) for entry in one.answer.entries]
        if rows:
            print_table(("OBJECT", "NOW OF", "CHANGE", "WHAT"), rows, indent="  ")


def _row(entry: AdoptionEntry) -> tuple[str, str, str, str]:
    change = f"{entry.change}, restarts" if entry.restarts else str(entry.change)
    paths = [*entry.paths[:_PATHS], *(["..."] if len(entry.paths) > _PATHS else [])]
    stays = f"stays: {', '.join(entry.left[:_PATHS])}" if entry.left else ""
    what = "; ".join(filter(None, (entry.message, ", ".join(paths), stays)))
    return entry.ref, ", ".join(entry.tools) or "-", change, what
