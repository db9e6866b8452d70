"""Make a fleet by the chosen provider, or find the one of a folder again."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from hub.fleet import processes
from hub.fleet.build import Report, ensure_binary, print_progress
from hub.fleet.command import CommandTimeoutError, run
from hub.fleet.errors import FleetExistsError
from hub.fleet.kind import KindFleet
from hub.fleet.names import HUB, STATE
from hub.fleet.processes import ProcessFleet
from hub.fleet.provider import Fleet, Provider, Surroundings, choose

if TYPE_CHECKING:
    from pathlib import Path

_DOCKER_SECONDS = 10


async def look_around() -> Surroundings:
    """Find out what this machine offers to fleets."""
    return Surroundings(
        linux=sys.platform == "linux", docker=await _docker_answers(), kind=shutil.which("kind") is not None
    )


async def create(
    wanted: Provider, root: Path, names: list[str], *, hub: str = HUB, progress: Report = print_progress
) -> Fleet:
    """Make a fleet of `names` in `root`, not started; the control planes' programs are built if need be.

    With `auto`, a folder that has a fleet goes on with its provider. Raises `FleetExistsError` if another
    provider is asked for than the one that runs there.
    """
    before = _state(root)
    if before is not None:
        used = Provider(before["provider"])
        if wanted not in {Provider.AUTO, used}:
            raise FleetExistsError(f"{root} has a fleet of {used}: run `axle down` first")
        provider = used
    else:
        provider = choose(wanted, await look_around())
    if provider is Provider.KIND:
        return KindFleet(root, names, hub=hub)
    return ProcessFleet(root, names, binary=await ensure_binary(progress), hub=hub)


def load(root: Path) -> Fleet | None:
    """Find the fleet of this folder, running, stopped or crashed; None if there never was one."""
    state = _state(root)
    if state is not None and state["provider"] == Provider.KIND:
        return KindFleet(root, state["names"], hub=state["hub"])
    return processes.load(root)


def _state(root: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((root / STATE).read_text())
    except FileNotFoundError:
        return None
    return found if isinstance(found, dict) else None


async def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        code, _ = await run("docker", "version", "--format", "{{.Server.Version}}", seconds=_DOCKER_SECONDS)
    except (OSError, CommandTimeoutError):
        return False
    return code == 0
