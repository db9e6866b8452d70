"""A fleet in kind: the same clusters with containers that really run, where Docker is there.

The configurations and command lines are pure functions, so that what is emitted can be tested on machines
without Docker; `KindFleet` runs them. `python -m hub.fleet.kind FOLDER` writes the configurations.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hub.fleet.command import run
from hub.fleet.errors import FleetError, FleetExistsError
from hub.fleet.layout import write
from hub.fleet.lock import locked
from hub.fleet.names import HUB, STATE, checked
from hub.fleet.provider import ClusterHandle, Provider

if TYPE_CHECKING:
    from collections.abc import Callable

ROLES = ("hub", "spoke")
PREFIX = "axletree-"
_CREATE_SECONDS = 900
_SECONDS = 120


def configuration(role: str) -> str:
    """Configure a hub or a spoke for kind: one node, its API server on loopback at a free port.

    No node image is named: each release of kind pins the one that it was tested with.
    """
    document = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [{"role": "control-plane", "labels": {"axletree.dev/role": role}}],
    }
    title = f"# A local {role}; written by `python -m hub.fleet.kind kind-configs`.\n"
    return title + yaml.safe_dump(document, sort_keys=False)


def create_argv(cluster: str, *, config: Path, kubeconfig: Path) -> list[str]:
    """Make a cluster and wait for its node. Its kubeconfig goes to our file, never into ~/.kube/config."""
    where = ["--config", str(config), "--kubeconfig", str(kubeconfig)]
    return ["kind", "create", "cluster", "--name", PREFIX + cluster, *where, "--wait", "300s"]


def delete_argv(cluster: str, *, kubeconfig: Path) -> list[str]:
    return ["kind", "delete", "cluster", "--name", PREFIX + cluster, "--kubeconfig", str(kubeconfig)]


def kubeconfig_argv(cluster: str) -> list[str]:
    return ["kind", "get", "kubeconfig", "--name", PREFIX + cluster]


def list_argv() -> list[str]:
    return ["kind", "get", "clusters", "--quiet"]


class KindFleet:
    """kind clusters named `names`, whose configurations and kubeconfigs are in `root`.

    kind can make and delete a cluster, not stop it: `stop_all` deletes.
    """

    def __init__(self, root: Path, names: list[str], *, hub: str = HUB) -> None:
        self.root = root.absolute()
        self.hub = hub
        self.names = checked(names, hub=hub)

    async def start(self, *, note: Callable[[str], None] = lambda _: None) -> list[ClusterHandle]:
        """Make the clusters that are not there yet and return all, the hub first."""
        async with locked(self.root / "fleet.lock"):
            there = await self._existing()
            ours = self._recorded()
            if foreign := sorted(set(self.names) & there - ours):
                raise FleetExistsError(
                    f"kind has clusters of these names that this fleet did not make: {', '.join(foreign)}; "
                    f"delete them with `kind delete cluster --name {PREFIX}{foreign[0]}`"
                )
            # Written first: what a crash leaves behind is then known to be ours.
            self._save(ours | set(self.names))
            for name in self.names:
                await self._make(name, fresh=name not in there, note=note)
        return [self._handle(name) for name in self.names]

    async def add(self, name: str) -> ClusterHandle:
        self.names = checked([*self.names, name], hub=self.hub)
        await self.start()
        return self._handle(name)

    async def remove(self, name: str) -> None:
        async with locked(self.root / "fleet.lock"):
            await _checked_run(delete_argv(name, kubeconfig=self._kubeconfig(name)), _SECONDS)
            self.names = [one for one in self.names if one != name]
            self._save(self._recorded() - {name})

    async def stop_all(self) -> None:
        """Delete every cluster that the state names and kind still has."""
        for name in sorted(self._recorded() & await self._existing()):
            await _checked_run(delete_argv(name, kubeconfig=self._kubeconfig(name)), _SECONDS)

    async def delete(self) -> None:
        await self.stop_all()
        shutil.rmtree(self.root / "clusters", ignore_errors=True)
        (self.root / STATE).unlink(missing_ok=True)

    async def _make(self, name: str, *, fresh: bool, note: Callable[[str], None]) -> None:
        folder = self._kubeconfig(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        note(f"starting cluster {name}")
        if fresh:
            config = folder / "kind.yaml"
            config.write_text(configuration("hub" if name == self.hub else "spoke"))
            argv = create_argv(name, config=config, kubeconfig=self._kubeconfig(name))
            await _checked_run(argv, _CREATE_SECONDS)
        text = await _checked_run(kubeconfig_argv(name), _SECONDS)
        write(self._kubeconfig(name), text.encode())
        note(f"cluster {name} is ready")

    async def _existing(self) -> set[str]:
        output = await _checked_run(list_argv(), _SECONDS)
        return {line.removeprefix(PREFIX) for line in output.split() if line.startswith(PREFIX)}

    def _handle(self, name: str) -> ClusterHandle:
        path = self._kubeconfig(name)
        url = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"]
        return ClusterHandle(name=name, kubeconfig_path=path, url=url, workloads=True)

    def _kubeconfig(self, name: str) -> Path:
        return self.root / "clusters" / name / "kubeconfig"

    def _recorded(self) -> set[str]:
        try:
            return set(json.loads((self.root / STATE).read_text())["names"])
        except FileNotFoundError:
            return set()

    def _save(self, names: set[str]) -> None:
        state = {"provider": Provider.KIND, "hub": self.hub, "names": checked(sorted(names), hub=self.hub)}
        write(self.root / STATE, json.dumps(state).encode())


async def _checked_run(argv: list[str], seconds: float) -> str:
    code, output = await run(*argv, seconds=seconds)
    if code != 0:
        raise FleetError(f"`{' '.join(argv)}` failed with {code}:\n{output}")
    return output


def main(folder: Path) -> None:
    """Write the committed configurations."""
    folder.mkdir(parents=True, exist_ok=True)
    for role in ROLES:
        (folder / f"{role}.yaml").write_text(configuration(role))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
