"""`axle plan`: what a change would do, before it is merged. Read-only, on files alone or against a hub."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli.connect import KubeconfigOption, connected, run
from hub.cli.failure import EXIT_NEGATIVE, plainly
from hub.cli.files import InvalidFile, read
from hub.cli.fleets import fleet_with
from hub.cli.foreign import objects_in
from hub.cli.offline import ClustersOption  # noqa: TC001 - typer reads it
from hub.cli.output import Format, FormatOption, name_of_app, out, print_value
from hub.cli.repositories import Named, Network, named
from hub.cli.sides import Kitchen, side_of_files, side_of_hub, with_projects
from hub.cli.snapshot import Snapshot, snapshot
from hub.core.objectdiff import ADDED, CHANGED, REMOVED
from hub.core.preview import Preview, preview
from hub.hosts.ask import Asker
from hub.hosts.objects import FileObjects
from hub.sources.checkout import export, top_of
from hub.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.contract.manifest import Manifest
    from hub.core.model import Fleet
    from hub.core.preview import Change
    from hub.sources.port import Source

app = typer.Typer()

_MARKS = {ADDED: "+", CHANGED: "~", REMOVED: "-"}
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@app.command()
def plan(
    folder: Annotated[
        Path, typer.Option("--dir", help="The folder of sets and Applications; of the fetched repository.")
    ] = Path(),
    *,
    clusters: ClustersOption = None,
    repo: Annotated[
        list[str] | None,
        typer.Option(
            "--repo", metavar="URL[=DIR]", help="Fetch this repository, or read it from a folder; repeat."
        ),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="REV", help="Compare with this revision of DIR's repository.")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="REV", help="Instead of DIR as it lies now.")] = "",
    fmt: FormatOption = Format.TABLE,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print what a change would do: children, resources, order and waves, and what would be Held.

    With --from it compares two states of files, and needs no hub where files name the clusters; without, files with
    what a hub has. --repo URL is fetched, and DIR is a folder in it, unless a --repo URL=DIR is given. Exit code 0:
    nothing would change; 1: something would; 2: that cannot be said.
    """
    with plainly(), tempfile.TemporaryDirectory(prefix="axle-plan-") as scratch:
        work = _Work(folder, clusters or (), named(repo or ()), Path(scratch), start, end)
        found = run(lambda: work.plan(kubeconfig))
    if fmt is Format.TABLE:
        _print(found)
    elif fmt is Format.NAME:
        for change in found.changes:
            print(name_of_app(change.app))
    else:
        print_value(found.to_json(), fmt)
    if found.changes:
        raise typer.Exit(EXIT_NEGATIVE)


@dataclass(slots=True)
class _Work:
    """One comparison; `scratch` is thrown away afterwards."""

    folder: Path
    clusters: Sequence[Path]
    repos: Named
    scratch: Path
    start: str
    end: str
    network: Network = field(init=False)
    objects: list[Manifest] = field(init=False)

    def __post_init__(self) -> None:
        self.objects = objects_in(self.clusters)
        if not self._remote and not self.folder.is_dir():
            raise InvalidFile(f"--dir {self.folder}: no such folder")

    @property
    def _remote(self) -> str:
        """The fetched repository that DIR is a folder of; empty where DIR is a folder here."""
        moves = (self.start or self.end) and not self.repos.folders
        return self.repos.fetched[0] if self.repos.fetched and moves else ""

    async def plan(self, kubeconfig: Path | None) -> Preview:
        hub = await _read_hub(kubeconfig) if not self.start or self._wants_clusters() else None
        self.network = Network(self.scratch, self.repos, [*self.objects, *(hub.secrets if hub else ())])
        asker = Asker(FileObjects(self.objects), clock=time.monotonic)
        try:
            if self.start:
                return await self._of_files(hub, asker)
            return await self._against(hub or Snapshot(), asker)
        finally:
            await asker.close()
            await self.network.close()

    async def _of_files(self, hub: Snapshot | None, asker: Asker) -> Preview:
        """Two states of files. A hub says at most which clusters there are, and what is held there."""
        old, before_source = await self._at(self.start)
        new, after_source = await self._at(self.end)
        beside = read(self.clusters)
        documents, earlier = [*read([new]), *beside], [*read([old]), *beside]
        known = hub.fleet if hub is not None else None
        namespaces = {each.namespace for each in [*documents, *earlier]}
        was = with_projects(fleet_with(known, earlier), namespaces)
        fleet = with_projects(fleet_with(known, documents, earlier=earlier), namespaces)
        with self._kitchen(was, hub) as kitchen:
            before = await side_of_files(earlier, kitchen=kitchen, source=before_source, asker=asker)
            after = await side_of_files(
                documents, kitchen=kitchen.serving(fleet), source=after_source, asker=asker, alone=True
            )
        if hub is not None:
            before = replace(before, paused=hub.paused)
        return preview(before, after, fleet=fleet, now=datetime.now(UTC))

    async def _against(self, hub: Snapshot, asker: Asker) -> Preview:
        """Files, and what a hub has, rendered as it was released."""
        new, source = await self._at(self.end)
        documents = [*read([new]), *read(self.clusters)]
        fleet = fleet_with(hub.fleet, documents)
        with self._kitchen(fleet, hub) as kitchen:
            after = await side_of_files(
                documents, kitchen=kitchen, source=source, asker=asker, live=hub.apps, alone=True
            )
            commits = {
                str(((obj.get("status") or {}).get("sync") or {}).get("revision") or "")
                for obj in hub.apps.values()
            }
            then = {commit: self._then(commit) for commit in sorted(commits) if commit}
            now = datetime.now(UTC)
            before = await side_of_hub(hub, after, kitchen=kitchen.serving(hub.fleet), sources=then, now=now)
        return preview(before, after, fleet=fleet, now=now)

    def _wants_clusters(self) -> bool:
        """Whether no file speaks of a Cluster: then a hub has to say which there are."""
        files = [*read(self.clusters), *(() if self._remote else read([self.folder]))]
        return not any(document.kind == "Cluster" for document in files)

    async def _at(self, revision: str) -> tuple[Path, Source]:
        """DIR and all repositories as they were at a revision; as they are for none."""
        if self._remote:
            commit = await self.network.commit(self._remote, revision)
            path = "" if self.folder == Path() else self.folder.as_posix()
            folder = await self.network.folder(self._remote, commit, path, into=self.scratch / "sets")
            return folder, self.network.source({}, at={self._remote: commit})
        if not revision:
            return self.folder, self.network.source(self.repos.folders)
        top = top_of(self.folder)
        repos = {
            url: export(each, revision, into=self.scratch) if top_of(each) == top else each
            for url, each in self.repos.folders.items()
        }
        return export(self.folder, revision, into=self.scratch), self.network.source(repos)

    def _then(self, commit: str) -> Source:
        """The repositories as they were at a commit, as far as it is theirs."""
        found = {}
        for url, each in self.repos.folders.items():
            with contextlib.suppress(SourceError):
                found[url] = export(each, commit, into=self.scratch)
        return self.network.source(found, at={self._remote: commit} if self._remote else None)

    @contextlib.contextmanager
    def _kitchen(self, fleet: Fleet, hub: Snapshot | None) -> Iterator[Kitchen]:
        kitchen = Kitchen(self.scratch / "renders", fleet, hub.inputs if hub is not None else {})
        try:
            yield kitchen
        finally:
            kitchen.close()


async def _read_hub(kubeconfig: Path | None) -> Snapshot:
    async with connected(kubeconfig) as client:
        return await snapshot(client, secrets=True)


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
    for line in found.inversions:
        out.print(f"WaveInversion: {line}", style="red")
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
