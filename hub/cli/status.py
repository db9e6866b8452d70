"""`axle status`: what runs, and how it is. It tells no more than can be known now."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from agent.contract.errors import ApiError, AxletreeError
from hub.cli.api import is_named
from hub.cli.connect import KubeconfigOption, NoHub, run
from hub.cli.failure import EXIT_ERROR, EXIT_NEGATIVE
from hub.cli.follow import worst
from hub.cli.kinds import APPS, CLUSTERS, SETS, health, sync
from hub.cli.liveness import LEASES, HubLife, hub_life, unheard, with_liveness
from hub.cli.output import STYLES, Format, FormatOption, age, name_of, out, print_table, print_value
from hub.cli.reach import reaching
from hub.fleet import fleets, processes
from hub.fleet.home import cluster_names, home, kubeconfig_of, provider_of
from hub.fleet.services import AGENT, Services

if TYPE_CHECKING:
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.fleet.process import Process

app = typer.Typer()


@dataclass(slots=True)
class _State:
    """What the API server holds, or why it could not be asked."""

    hub: HubLife = field(default_factory=lambda: HubLife(running=False))
    clusters: list[Manifest] = field(default_factory=list)
    apps: list[Manifest] = field(default_factory=list)
    sets: list[Manifest] = field(default_factory=list)
    problem: str = ""
    refused: bool = False
    """It is not that nobody answers: this asker, or this kubeconfig, gets no answer."""
    stopped: bool = False
    """This machine knows that the hub's process has ended."""


@app.command()
def status(fmt: FormatOption = Format.TABLE, kubeconfig: KubeconfigOption = None) -> None:
    """Show processes, clusters and apps. Exit code 1: something that should run does not.

    Where the hub is not running, what it last wrote is shown, with its age. Exit code 2: it could not be asked.
    """
    root = home()
    local = kubeconfig is None and not is_named() and bool(cluster_names(root))
    state = run(lambda: _ask(kubeconfig))
    parts = (
        _parts(root) if local else {}
    )  # after the hub was asked: one that has just ended is not told as running
    if state.stopped:
        state.hub = HubLife(running=False, last=state.hub.last)
    if not state.problem:
        parts = _expected(parts, {cluster["metadata"]["name"] for cluster in state.clusters})
    if not state.hub.running:
        state.clusters = unheard(state.clusters)
    if fmt is Format.TABLE:
        _print(root, state, parts, local=local)
    elif fmt is Format.NAME:
        for obj in (*state.clusters, *state.sets, *state.apps):
            print(name_of(obj))
    else:
        print_value(_to_json(root, state, parts, local=local), fmt)
    if state.refused:
        raise typer.Exit(EXIT_ERROR)
    if state.problem or not state.hub.running or "stopped" in parts.values():
        raise typer.Exit(EXIT_NEGATIVE)


async def _ask(kubeconfig: Path | None) -> _State:
    try:
        async with reaching(kubeconfig) as hub:
            stopped = hub.stopped
            apps, sets, clusters, leases = await asyncio.gather(
                *(hub.list(path) for path in (APPS.path(), SETS.path(), CLUSTERS.path(), LEASES))
            )
    except ApiError as error:
        return _State(problem=str(error), refused=True)
    except AxletreeError as error:
        away = error.reason in {NoHub.reason, "ApiUnavailable"}
        return _State(problem=str(error) if away else f"{error.reason}: {error}", refused=not away)
    now = datetime.now(UTC)
    return _State(
        hub=hub_life(leases.items, now),
        clusters=with_liveness(clusters.items, leases.items, now),
        apps=apps.items,
        sets=sets.items,
        stopped=stopped,
    )


def _parts(root: Path) -> dict[str, str]:
    """Every recorded process of the local fleet by name; a cluster's parts count as one."""
    found = {one.name: _word([one]) for one in Services(root).processes()}
    fleet = fleets.load(root)
    if isinstance(fleet, processes.ProcessFleet):
        for name in fleet.names:
            running = fleet.cluster(name).is_running()
            found[f"cluster {name}"] = "running" if running else "stopped"
    return found


def _expected(parts: dict[str, str], clusters: set[str]) -> dict[str, str]:
    """Without agents that ended because their cluster was removed: nobody misses them."""
    return {
        name: word
        for name, word in parts.items()
        if word == "running" or not name.startswith(AGENT) or name.removeprefix(AGENT) in clusters
    }


def _word(group: list[Process]) -> str:
    return "running" if all(one.alive() for one in group) else "stopped"


def _print(root: Path, state: _State, parts: dict[str, str], *, local: bool) -> None:
    if local:
        out.print(f"Fleet     {root} ({provider_of(root)}): {' '.join(cluster_names(root))}")
        out.print(f"API       {Services(root).api_url}")
        stopped = [name for name, word in parts.items() if word == "stopped"]
        out.print(f"Processes {sum(word == 'running' for word in parts.values())}/{len(parts)} running")
        for name in stopped:
            out.print(f"          {name} is stopped", style=STYLES["stopped"])
    if state.problem:
        out.print(f"Hub       {state.problem}", style=STYLES["Failed"])
        return
    if state.hub.running:
        out.print("Hub       running", style=STYLES["running"])
    elif state.hub.last:
        out.print(
            f"Hub       not running: what follows is what it last wrote, {age(state.hub.last)} ago",
            style=STYLES["Failed"],
        )
    else:
        out.print("Hub       has never run here", style=STYLES["Failed"])
    out.print(f"Apps      {_counted(state.apps)}")
    for line in worst("", state.apps, state.sets) if state.apps else ():
        out.print(f"          {line}", style="yellow")
    if state.clusters:
        out.print()
        print_table(CLUSTERS.columns, [CLUSTERS.row(cluster) for cluster in state.clusters])
    for cluster in state.clusters:
        name, orphans = cluster["metadata"]["name"], cluster["status"].get("orphans") or ()
        if orphans:
            said = f"{name} holds {len(orphans)} apps that this hub does not know: axle orphans list {name}"
            out.print(said, style="yellow")


def _counted(apps: list[Manifest]) -> str:
    """`9: 8 Healthy, 1 Progressing; 9 Synced`."""
    if not apps:
        return "none"
    by_health = Counter(health(app) or "Unknown" for app in apps)
    by_sync = Counter(sync(app) or "Unknown" for app in apps)
    lists = [", ".join(f"{n} {word}" for word, n in counts.most_common()) for counts in (by_health, by_sync)]
    return f"{len(apps)}: {lists[0]}; {lists[1]}"


def _to_json(root: Path, state: _State, parts: dict[str, str], *, local: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "hub": {"running": state.hub.running, "lastSeen": state.hub.last},
        "clusters": [
            {
                "name": cluster["metadata"]["name"],
                "connected": cluster["status"]["connected"],
                "lastSeen": cluster["status"].get("lastSeen", ""),
            }
            for cluster in state.clusters
        ],
        "apps": {
            "total": len(state.apps),
            "health": dict(Counter(health(app) or "Unknown" for app in state.apps)),
            "sync": dict(Counter(sync(app) or "Unknown" for app in state.apps)),
        },
    }
    if local:
        kubeconfig = kubeconfig_of(root)
        found["fleet"] = {
            "home": str(root),
            "api": Services(root).api_url,
            "provider": provider_of(root),
            "kubeconfig": str(kubeconfig) if kubeconfig else "",
            "processes": parts,
        }
    if state.problem:
        found["problem"] = state.problem
    return found
