"""`axle bootstrap`: a hub from Git onto an empty cluster, which from then on keeps itself as Git says."""

from __future__ import annotations

import base64
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.errors import AxletreeError, TerminalError
from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS
from agent.kube.config import load_kubeconfig
from hub.cli.connect import run
from hub.cli.failure import plainly
from hub.cli.output import err, out
from hub.cli.progress import Steps
from hub.cli.verdict import seconds_of
from hub.install.seed import AGENT, CHARTS, HUB, ROOT, root_application, seed_of, starter
from hub.sources.urls import RepoUrl, checked_path, checked_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.config import KubeConfig
    from hub.install.seed import Seed

app = typer.Typer()
_CHARTS = Path(__file__).resolve().parents[2] / "charts"


class BootstrapInvalid(TerminalError):
    """An option that no hub could be installed with, or a file that does not read."""

    reason = "BootstrapInvalid"


class SeedNotRendered(AxletreeError):
    """The folder in Git, or an Application of the hub in it, cannot be rendered; the message has why."""

    reason = "SeedNotRendered"


@dataclass(frozen=True, slots=True)
class Read:
    """What Git says of this hub now."""

    root: Manifest
    seed: Seed
    hub: Sequence[Manifest]
    agent: Sequence[Manifest]


@app.command()
def bootstrap(
    *,
    repo: Annotated[str, typer.Option(help="The Git repository that says what this hub is.")],
    path: Annotated[str, typer.Option(help="The folder in it that the root Application applies.")] = ".",
    revision: Annotated[str, typer.Option(help="A branch, tag or commit.")] = "main",
    credentials: Annotated[
        Path | None, typer.Option(help="A file with the Secret by which the hub reads the repository.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write files to begin with into this folder, and install nothing.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="For --write: how agents reach the hub; repeat.")
    ] = None,
    image: Annotated[str, typer.Option(help="For --write: the repository of the hub's image.")] = "",
    agent_image: Annotated[str, typer.Option(help="For --write: that of the agent's.")] = "",
    timeout: Annotated[str, typer.Option(help="How long to wait until the hub keeps itself.")] = "10m",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for that.")] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="KUBECONFIG", help="Of the cluster that the hub is to run on.", show_default=False
        ),
    ] = None,
    context: Annotated[str, typer.Option(help="Of that kubeconfig; its current one by default.")] = "",
) -> None:
    """Install a hub from Git, and hand its configuration, upgrades included, to a root Application on it.

    Run again, it goes on where it was, or repairs. On another cluster, with the Secret of the hub's identity restored
    there first, it brings the same hub back; nothing is deleted on any spoke.
    """
    with plainly():
        _check_address(repo, revision, path)
    if write is not None:
        with plainly():
            files = starter(
                repo=repo,
                revision=revision,
                path=path,
                hosts=host or (),
                image=image,
                agent_image=agent_image,
            )
            _write(write, files, address=(repo, revision, path))
        return
    with plainly():
        seconds = 0.0 if no_wait else seconds_of(timeout)
        if kubeconfig is None:
            raise BootstrapInvalid(
                "name the kubeconfig of the cluster that the hub is to run on: --kubeconfig"
            )
        secrets = _secrets(credentials)
        target = load_kubeconfig(kubeconfig, context=context or None)
    with Steps() as steps, tempfile.TemporaryDirectory(prefix="axle-") as scratch:
        address = (repo, revision, path.strip("/") or ".")
        recovered = run(
            lambda: _bootstrap(address, secrets, target, Path(scratch), seconds=seconds, note=steps.note)
        )
    _tell(recovered=recovered, waited=not no_wait)


def _check_address(repo: str, revision: str, path: str) -> None:
    """What no repository could be is told before anything is fetched. Raises `RepositoryRefused` and its like."""
    RepoUrl.parse(repo)
    checked_revision(revision)
    checked_path(path.strip("/"))


def _tell(*, recovered: bool, waited: bool) -> None:
    if recovered:
        out.print(
            "The hub is back, under its old identity. Its agents find it by themselves at its old address."
        )
        out.print("  axle get clusters          those that ask to come back: axle cluster accept NAME")
        out.print("  axle orphans list          what runs on a spoke and Git no longer says")
        return
    out.print("The hub is installed" + (", and keeps itself as Git says. Next:" if waited else ". Next:"))
    out.print("  axle hub backup -o hub.backup        its identity is what the fleet trusts")
    out.print("  axle cluster join NAME --hub URL     a token for a spoke, and how its agent is installed")


async def _bootstrap(
    address: tuple[str, str, str],
    secrets: Sequence[Manifest],
    target: KubeConfig,
    scratch: Path,
    *,
    seconds: float,
    note: Callable[[str], None],
) -> bool:
    """Whether an identity was there that is from elsewhere."""
    from agent.kube.client import RestClient  # noqa: PLC0415 - --write needs none of it
    from hub.fleet import bootstrap as steps  # noqa: PLC0415

    repo, revision, path = address
    note(f"reading {repo}, {revision}, {path}")
    read = await _read(repo, revision, path, secrets=secrets, scratch=scratch)
    async with RestClient(target, user_agent="axle") as client:
        note(f"installing on {target.server}")
        await steps.prepare(client, secrets)
        installed = await steps.settle_identity(client)
        hub_id = installed.identity.hub_id
        which = "restored" if installed.recovered else "at home here"
        note(f"the hub {hub_id}, {which}, in epoch {installed.identity.epoch}")
        await steps.install_definitions(client, read.hub, hub_id=hub_id)
        await steps.at_home(client, installed)
        await steps.let_join(client, installed.identity)
        await steps.hand_over(client, read.seed, read.root, hub_id=hub_id)
        for name, app, objects in (
            ("hub", read.seed.hub, read.hub),
            ("agent", read.seed.agent, read.agent),
        ):
            namespace = app["spec"]["namespace"]
            count = await steps.install_app(client, objects, hub_id=hub_id, namespace=namespace)
            note(f"the {name}: {count} objects")
        if seconds:
            await steps.taken_over(client, seconds=seconds, recovered=installed.recovered, note=note)
            note("the hub keeps itself")
    return installed.recovered


async def _read(repo: str, revision: str, path: str, *, secrets: Sequence[Manifest], scratch: Path) -> Read:
    """Render the root, and of what it holds, the two Applications that are the hub."""
    from hub.cli.files import fleet_of  # noqa: PLC0415
    from hub.cli.sides import Kitchen  # noqa: PLC0415
    from hub.sources.charts import ChartRepositories  # noqa: PLC0415
    from hub.sources.credentials import GitCredentials  # noqa: PLC0415
    from hub.sources.dispatch import Sources  # noqa: PLC0415
    from hub.sources.git import GitSource  # noqa: PLC0415

    match = GitCredentials.of(secrets).granted(HUB_NAMESPACE).match
    once = 86_400.0
    source = Sources(
        git=GitSource(scratch / "git", credentials=match, interval=once, recheck=once, own_keys=True),
        charts=ChartRepositories(scratch / "charts", credentials=match, interval=once),
    )
    kitchen = Kitchen(scratch, fleet_of(()))
    keys = [f"{HUB_NAMESPACE}/{name}" for name in (ROOT, HUB, AGENT)]
    try:
        root = root_application(repo=repo, revision=revision, path=path)
        objects = await _rendered(kitchen, {keys[0]: root}, source)
        seed = seed_of(objects[keys[0]], where=f"{repo}, {path} at {revision}")
        kitchen.fleet = fleet_of(_documents(seed))
        both = await _rendered(kitchen, {keys[1]: seed.hub, keys[2]: seed.agent}, source)
        return Read(root=root, seed=seed, hub=both[keys[1]], agent=both[keys[2]])
    finally:
        kitchen.close()
        await source.close()


async def _rendered(kitchen: Any, apps: dict[str, Manifest], source: Any) -> dict[str, Sequence[Manifest]]:
    objects, problems = await kitchen.render(apps, source)
    if problems:
        raise SeedNotRendered("; ".join(f"{key}: {problem}" for key, problem in sorted(problems.items())))
    found: dict[str, Sequence[Manifest]] = objects
    return found


def _documents(seed: Seed) -> list[Any]:
    from hub.cli.files import Document  # noqa: PLC0415

    return [Document("the seed", each) for each in (seed.cluster, seed.project)]


def _secrets(path: Path | None) -> list[Manifest]:
    """The credentials in a file, as the API server would give them back. Raises `BootstrapInvalid`."""
    if path is None:
        return []
    from agent.kube.yaml import load_all  # noqa: PLC0415

    try:
        found = load_all(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BootstrapInvalid(f"{path}: it cannot be read") from error
    for each in found:
        labels = (each.get("metadata") or {}).get("labels") or {}
        if each.get("kind") != "Secret" or LABEL_CREDENTIALS not in labels:
            raise BootstrapInvalid(f"{path}: it must hold Secrets with the label {LABEL_CREDENTIALS}: git")
        plain = each.pop("stringData", None) or {}
        encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in plain.items()}
        each["data"] = {**(each.get("data") or {}), **encoded}
        each["metadata"].setdefault("namespace", HUB_NAMESPACE)
    return found


def _write(folder: Path, files: Mapping[str, list[Manifest]], *, address: tuple[str, str, str]) -> None:
    """Files to begin with, and the charts beside them. What is there already is not touched."""
    from agent.kube.yaml import dump_all  # noqa: PLC0415

    if not _CHARTS.is_dir():
        raise BootstrapInvalid(f"the charts are not there ({_CHARTS}): run this from a checkout of Axletree")
    folder.mkdir(parents=True, exist_ok=True)
    for name, objects in files.items():
        if (folder / name).exists():
            err.print(f"axle: {folder / name} is there already, and stays as it is", style="dim")
            continue
        (folder / name).write_text(dump_all(objects))
    for chart in CHARTS:
        target = folder / "charts" / chart
        if not target.exists():
            shutil.copytree(_CHARTS / chart, target)
    repo, revision, path = address
    out.print(f"Look through {folder}, commit and push it as {path} of {repo}. Then:")
    out.print(f"  axle bootstrap --repo {repo} --revision {revision} --path {path} --kubeconfig FILE")
