"""`axle up`, `down`, `kubeconfig`: a whole fleet on this machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.contract.names import HUB_NAMESPACE
from hub.cli.connect import run
from hub.cli.failure import EXIT_ERROR, EXIT_NEGATIVE, complain, plainly
from hub.cli.follow import until_healthy, until_led
from hub.cli.output import out, print_table, seconds_text
from hub.cli.progress import Steps
from hub.cli.reach import OverKubernetes
from hub.cli.tree import load, print_trees
from hub.cli.verdict import seconds_of
from hub.fleet.errors import NotReadyError, ProcessExitedError
from hub.fleet.home import cluster_names, home, kubeconfig_of, kubectl_of
from hub.fleet.local import LocalFleet
from hub.fleet.names import HUB
from hub.fleet.process import log_tail
from hub.fleet.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.cli.forest import Branch

ROOT = f"{HUB_NAMESPACE}/root"
MAX_CLUSTERS = 100
LEAD_SECONDS = 120.0
"""One that crashed elsewhere keeps its Lease for 15."""

app = typer.Typer()


@app.command()
def up(
    clusters: Annotated[int, typer.Option(min=1, max=MAX_CLUSTERS, help="How many spokes.")] = 3,
    provider: Annotated[
        Provider, typer.Option(help="auto: kind where Docker and kind are there, else processes.")
    ] = Provider.AUTO,
    timeout: Annotated[str, typer.Option(help="How long the root may take to be Healthy.")] = "5m",
) -> None:
    """Start a hub and real spokes on this machine, deploy the sample, and wait until all of it is Healthy.

    Again, it completes what is there. $AXLETREE_HOME says where the fleet lives (~/.axletree). Exit code 1: it
    runs, but is not Healthy in time.
    """
    with plainly():
        seconds = seconds_of(timeout)
    fleet = LocalFleet(home())
    try:
        with Steps() as steps:
            worst = run(lambda: _up(fleet, clusters, provider, seconds=seconds, steps=steps))
    except typer.Exit as stopped:
        if stopped.exit_code != EXIT_NEGATIVE:
            complain("what was started can be ended with `axle down`, or completed with `axle up`")
        raise
    trees, stale = run(lambda: _trees(fleet))
    print_trees(trees, stale=stale)
    if worst:
        complain(f"{ROOT} is not Healthy after {timeout}:")
        for line in worst:
            complain(f"  {line}")
        raise typer.Exit(EXIT_NEGATIVE)
    _print_addresses(fleet)
    _print_next(fleet, trees)
    out.print(f"\nHealthy after {seconds_text(steps.seconds)}.", style="bold green")


async def _up(
    fleet: LocalFleet, clusters: int, provider: Provider, *, seconds: float, steps: Steps
) -> list[str]:
    await fleet.up(clusters, note=steps.note, provider=provider, progress=steps.build)
    async with fleet.hub_client() as client:
        steps.note("waiting for the hub to lead")
        pid = _hub_pid(fleet)
        if pid is None or not await until_led(client, pid, seconds=LEAD_SECONDS):
            tail = log_tail(fleet.services.folder, HUB)
            raise NotReadyError(f"the hub does not lead after {LEAD_SECONDS:.0f} s\n{tail}")
        steps.note(f"waiting for {ROOT} to be Healthy")
        worst = await until_healthy(client, ROOT, seconds=seconds, tell=steps.note)
    if _hub_pid(fleet) != pid:
        raise ProcessExitedError(f"the hub's process ended\n{log_tail(fleet.services.folder, HUB)}")
    return worst


def _hub_pid(fleet: LocalFleet) -> int | None:
    """Of the hub's process, while it runs."""
    return next(
        (one.identity.pid for one in fleet.services.processes() if one.name == HUB and one.alive()), None
    )


async def _trees(fleet: LocalFleet) -> tuple[Sequence[Branch], dict[str, str]]:
    async with fleet.hub_client() as client:
        trees, stale = await load(OverKubernetes(client))
        return trees, dict(stale)


@app.command()
def down() -> None:
    """Stop and delete exactly what `axle up` started, a crashed start included; the sample's checkout, too."""
    fleet = LocalFleet(home())
    with Steps() as steps:
        steps.note(f"stopping the fleet in {fleet.root}")
        found = run(lambda: fleet.down(note=steps.note))
    out.print(f"stopped after {seconds_text(steps.seconds)}" if found else "nothing was running")


@app.command()
def kubeconfig(
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster of the local fleet.")] = HUB,
    path: Annotated[bool, typer.Option("--path", help="Print the file's path instead.")] = False,
) -> None:
    """Print an administrator's kubeconfig of a local cluster; it is self-contained."""
    found = kubeconfig_of(home(), cluster)
    if found is None:
        names = cluster_names(home())
        known = f"there are {', '.join(names)}" if names else "there is no local fleet: `axle up`"
        complain(f"no cluster {cluster}: {known}")
        raise typer.Exit(EXIT_ERROR)
    print(found if path else found.read_text().rstrip())


def _print_addresses(fleet: LocalFleet) -> None:
    rows = [
        ("Hub", fleet.services.hub_url, "where agents connect"),
        ("API", fleet.services.api_url, "where programs ask: /api/v1"),
        ("Git", fleet.repo_url, "the sample's repository"),
        ("Checkout", str(fleet.checkout), "a clone of it, to change and push"),
    ]
    rows += [(f"Cluster {name}", f"{_axle()} kubeconfig {name}", "") for name in fleet.names()]
    out.print()
    print_table(("ADDRESSES", "", ""), rows)


def _print_next(fleet: LocalFleet, trees: Sequence[Branch]) -> None:
    """Commands that work as they are printed."""
    kubectl = "kubectl" if shutil.which("kubectl") else kubectl_of(fleet.root)
    axle = _axle()
    shop = _child(trees, "frontend-")
    where = _child(trees, "platform-") or shop
    out.print("\nTRY", style="bold")
    if shop:
        file = Path("shop/frontend/values.yaml")
        _say("Change something in Git, and watch it arrive:")
        _run(f"cd {fleet.checkout}")
        _run(f"sed -i 's/frontend:1.0.0/frontend:1.1.0/' {file}")
        _run("git commit -am 'frontend 1.1.0' && git push")
        _run(f"{axle} refresh shop/shop && {axle} get apps -n shop")
    if where:
        config = f"{kubectl} --kubeconfig {fleet.kubeconfig(where)}"
        _say(f"Edit something on spoke {where}: it is put back at once:")
        _run(f'{config} -n platform patch configmap cluster-info -p \'{{"data":{{"cluster":"mine"}}}}\'')
        _run(f"{config} -n platform get configmap cluster-info -o jsonpath='{{.data.cluster}}'")
    pid = _hub_pid(fleet)
    if pid is not None:
        _say("Stop the hub: spokes go on, drift is still corrected; `up` starts it again:")
        _run(f"kill {pid}; {axle} status")
    _say("End it all:")
    _run(f"{axle} down")


def _axle() -> str:
    """This program, as it can be called from any folder."""
    found = shutil.which("axle")
    return "axle" if found else str(Path(sys.executable).with_name("axle"))


def _child(trees: Sequence[Branch], prefix: str) -> str:
    """The first spoke that has an app of this name."""
    found = (each for top in trees for each in top.walk())
    return next((each.cluster for each in found if each.obj["metadata"]["name"].startswith(prefix)), "")


def _say(text: str) -> None:
    out.print(f"  {text}")


def _run(command: str) -> None:
    out.print(f"    {command}", style="cyan")
