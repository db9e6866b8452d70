"""A fleet of control planes as processes under one folder.

`fleet.json` in it says what belongs to the fleet and is written before anything starts; each process records
itself under `clusters/NAME/run`. Together they let any later command find a fleet, running or crashed, and
end exactly what it started.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from hub.fleet.controlplane import ControlPlane
from hub.fleet.layout import write
from hub.fleet.lock import locked
from hub.fleet.names import HUB, STATE, checked
from hub.fleet.provider import ClusterHandle, Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hub.fleet.process import Process

__all__ = ["HUB", "ProcessFleet", "load"]


class ProcessFleet:
    """Control planes named `names` in `root`. The one named `hub` runs no workloads."""

    def __init__(self, root: Path, names: list[str], *, binary: Path, hub: str = HUB) -> None:
        self.root = root.absolute()
        self.hub = hub
        self._binary = binary
        self.names = checked(names, hub=hub)

    async def start(self, *, note: Callable[[str], None] = lambda _: None) -> list[ClusterHandle]:
        """Start what does not run yet and return every cluster, the hub first.

        If one cannot start, what this call started is ended, and the first error is raised.
        """
        async with locked(self.root / "fleet.lock"):
            self._save()
            slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))
            ran = {name for name in self.names if self.cluster(name).is_running()}
            tasks = [asyncio.create_task(self._start(name, slots, note)) for name in self.names]
            try:
                return list(await asyncio.gather(*tasks))
            except BaseException:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._stop(name for name in self.names if name not in ran)
                raise

    async def add(self, name: str) -> ClusterHandle:
        """Start one cluster more; it belongs to the fleet from now on."""
        async with locked(self.root / "fleet.lock"):
            self.names = checked([*self.names, name], hub=self.hub)
            self._save()
            await self.cluster(name).start()
        return self._handle(name)

    async def remove(self, name: str) -> None:
        """End one cluster and delete its data."""
        async with locked(self.root / "fleet.lock"):
            await self._stop([name])
            shutil.rmtree(self._folder(name), ignore_errors=True)
            self.names = [one for one in self.names if one != name]
            self._save()

    def cluster(self, name: str) -> ControlPlane:
        """One of them, to stop and start it alone."""
        return ControlPlane(name, self._folder(name), self._binary, workloads=name != self.hub)

    def handles(self) -> list[ClusterHandle]:
        """Every cluster that was started before, as `start` returned it."""
        return [self._handle(name) for name in self.names]

    def processes(self) -> list[Process]:
        """Every recorded process of every cluster, dead or alive."""
        return [process for name in self._known() for process in self.cluster(name).processes()]

    async def stop_all(self) -> None:
        """End every recorded process, also of clusters that the state no longer names. Data stays."""
        await self._stop(self._known())

    async def delete(self) -> None:
        """`stop_all`, then remove the clusters' data and the state."""
        await self.stop_all()
        shutil.rmtree(self.root / "clusters", ignore_errors=True)
        (self.root / STATE).unlink(missing_ok=True)

    async def _start(self, name: str, slots: asyncio.Semaphore, note: Callable[[str], None]) -> ClusterHandle:
        async with slots:
            note(f"starting cluster {name}")
            await self.cluster(name).start()
            note(f"cluster {name} is ready")
        return self._handle(name)

    async def _stop(self, names: Iterable[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(self.cluster(name).stop())

    def _handle(self, name: str) -> ClusterHandle:
        plane = self.cluster(name)
        return ClusterHandle(
            name=name, kubeconfig_path=plane.kubeconfig_path, url=plane.url, workloads=plane.workloads
        )

    def _known(self) -> list[str]:
        folders = (self.root / "clusters").glob("*/run")
        return sorted({*self.names, *(folder.parent.name for folder in folders)})

    def _folder(self, name: str) -> Path:
        return self.root / "clusters" / name

    def _save(self) -> None:
        state = {
            "provider": Provider.PROCESSES,
            "hub": self.hub,
            "names": self.names,
            "binary": str(self._binary),
        }
        write(self.root / STATE, json.dumps(state).encode())


def load(root: Path) -> ProcessFleet | None:
    """Find the fleet of processes in this folder, running, stopped or crashed; None if there is none."""
    try:
        state = json.loads((root / STATE).read_text())
    except FileNotFoundError:
        # Without its state, what runs can still be ended by its own records.
        return ProcessFleet(root, [], binary=Path()) if (root / "clusters").exists() else None
    if state["provider"] != Provider.PROCESSES:
        return None
    return ProcessFleet(root, state["names"], binary=Path(state["binary"]), hub=state["hub"])
