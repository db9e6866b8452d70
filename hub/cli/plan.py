"""`axle plan`: what a change would do, before it is merged. Read-only, on files alone or against a hub."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.connect import KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, plainly
from hub.cli.files import InvalidFile, fleet_of, read, repositories
from hub.cli.offline import ClustersOption, RepoOption  # noqa: TC001 - typer reads them
from hub.cli.output import Format, FormatOption, name_of_app, out, print_value
from hub.cli.sides import Kitchen, side_of_files, side_of_hub, with_projects
from hub.cli.snapshot import snapshot
from hub.core.objectdiff import ADDED, CHANGED, REMOVED
from hub.core.preview import Preview, preview
from hub.sources.checkout import export, top_of
from hub.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hub.core.model import Fleet
    from hub.core.preview import Change

app = typer.Typer()

_MARKS = {ADDED: "+", CHANGED: "~", REMOVED: "-"}
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@app.command()
def plan(
    folder: Annotated[Path, typer.Option("--dir", help="The folder of sets and Applications.")] = Path(),
    *,
    clusters: ClustersOption = None,
    repo: RepoOption = None,
    start: Annotated[
        str, typer.Option("--from", metavar="REV", help="Compare with this revision of DIR's checkout.")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="REV", help="Instead of DIR as it lies now.")] = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print what a change would do: children, resources, order and waves, and what would be Held.

    With --from it compares two states of files, and needs no hub; without, files with what a hub has. Exit code 0:
    nothing would change; 1: something would; 2: that cannot be said.
    """
    with plainly(), tempfile.TemporaryDirectory(prefix="axle-plan-") as scratch:
        work = _Work(folder, clusters or (), repositories(repo or ()), Path(scratch))
        found = run(lambda: work.offline(start, end) if start else work.against_hub(end, kubeconfig))
    if fmt is Format.TABLE:
        _print(found)
    elif fmt is Format.NAME:
        for change in found.changes:
            print(name_of_app(change.app))
    else:
        print_value(found.to_json(), fmt)
    if found.changes:
        raise typer.Exit(EXIT_NEGATIVE)


class _Work:
    """One comparison; `scratch` is thrown away afterwards."""

    def __init__(
        self, folder: Path, clusters: Sequence[Path], repos: Mapping[str, Path], scratch: Path
    ) -> None:
        if not folder.is_dir():
            raise InvalidFile(f"--dir {folder}: no such folder")
        self._folder = folder
        self._clusters = clusters
        self._repos = repos
        self._scratch = scratch

    async def offline(self, start: str, end: str) -> Preview:
        old, old_repos = self._at(start)
        new, new_repos = self._at(end)
        documents = [*read([new]), *read(self._clusters)]
        earlier = read([old])
        fleet = fleet_of(documents)
        spaces = {each.namespace for each in [*documents, *earlier]}
        fleet = with_projects(fleet, spaces)
        with self._kitchen(fleet) as kitchen:
            before = await side_of_files(earlier, kitchen=kitchen, repositories=old_repos)
            after = await side_of_files(documents, kitchen=kitchen, repositories=new_repos)
        return preview(before, after, fleet=fleet, now=datetime.now(UTC))

    async def against_hub(self, end: str, kubeconfig: Path | None) -> Preview:
        new, repos = self._at(end)
        documents = read([new])
        async with connected(kubeconfig) as client:
            hub = await snapshot(client)
        with self._kitchen(hub.fleet) as kitchen:
            after = await side_of_files(documents, kitchen=kitchen, repositories=repos)
            commits = {
                str(((obj.get("status") or {}).get("sync") or {}).get("revision") or "")
                for obj in hub.apps.values()
            }
            then = {commit: found for commit in sorted(commits) if commit and (found := self._then(commit))}
            before = await side_of_hub(hub, after, kitchen=kitchen, repositories=then)
        return preview(before, after, fleet=hub.fleet, now=datetime.now(UTC))

    def _at(self, revision: str) -> tuple[Path, Mapping[str, Path]]:
        """The folder and the repositories of its checkout at a revision; as they lie for none."""
        if not revision:
            return self._folder, self._repos
        top = top_of(self._folder)
        repos = {
            url: export(each, revision, into=self._scratch) if top_of(each) == top else each
            for url, each in self._repos.items()
        }
        return export(self._folder, revision, into=self._scratch), repos

    def _then(self, commit: str) -> Mapping[str, Path]:
        """The repositories of which a commit is; none where no checkout has it."""
        found = {}
        for url, each in self._repos.items():
            with contextlib.suppress(SourceError):
                found[url] = export(each, commit, into=self._scratch)
        return found

    @contextlib.contextmanager
    def _kitchen(self, fleet: Fleet) -> Iterator[Kitchen]:
        kitchen = Kitchen(self._scratch / "renders", fleet)
        try:
            yield kitchen
        finally:
            kitchen.close()


def _print(found: Preview) -> None:
    shown: dict[str, str] = {}
    for change in found.changes:
        _print_change(change, shown)
    if found.rehearsal.steps:
        out.print("order:", style="bold")
    for number, step in enumerate(found.rehearsal.steps, 1):
        after = f"  (after {', '.join(step.after)})" if step.after else ""
        out.print(f"  {number}  {', '.join(step.apps)}{after}")
    if found.held:
        out.print("held:", style="bold")
    for each in found.held:
        out.print(f"  {each.app}: {each.rule}: {each.message}")
    for cycle in found.cycles:
        out.print(f"DependencyCycle: {cycle}", style="red")
    counts = [f"{found.count(action)} {action.lower()}" for action in _MARKS]
    out.print(f"plan: {', '.join(counts)}, {len(found.held)} held, {found.unchanged} unchanged", style="bold")


def _print_change(change: Change, shown: dict[str, str]) -> None:
    """Equal differences are printed once: a fleet's children differ by their clusters alone."""
    facts = [change.cluster]
    facts += [f"wave {change.wave}"] if change.wave else []
    facts += [f"after {', '.join(change.after)}"] if change.after else []
    mark = _MARKS[change.action]
    out.print(f"{mark} {change.app}", style=_STYLES.get(mark, "yellow"), end="")
    out.print(f"  {'; '.join(facts)}")
    if change.problem:
        out.print(f"    {change.problem}", style="red")
    lines = []
    for each in change.objects:
        lines.append(f"{_MARKS[each.action]} {each.ref}")
        lines += [f"    {line}" for line in each.lines]
    text = "\n".join(lines).replace(change.cluster, "CLUSTER")
    if lines and text in shown:
        out.print(f"    as {shown[text]}")
        return
    shown[text] = change.app
    for line in lines:
        out.print(f"    {line}", style=_STYLES.get(line.strip()[:1], ""))
