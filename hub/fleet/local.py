"""A whole fleet on one machine: clusters, Git server, hub, agents, and the sample deployed on them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.yaml import load_all
from hub.fleet import fleets, install, sample
from hub.fleet.build import print_progress
from hub.fleet.errors import FleetError
from hub.fleet.home import cluster_names, home, kubeconfig_of
from hub.fleet.layout import write
from hub.fleet.lock import locked
from hub.fleet.names import HUB
from hub.fleet.provider import Provider
from hub.fleet.services import GIT, Services, agent_of
from hub.gateway.identity import HubIdentity
from hub.gateway.tokens import create_token
from hub.operator.lease import Leader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from hub.fleet.build import Report
    from hub.fleet.provider import Fleet

__all__ = ["LocalFleet", "NoFleet", "Pace", "Spoke", "client_of", "home", "spokes"]

SERVICE_ACCOUNTS = ("platform-deployer", "shop-deployer", "dev-deployer")
TOKEN_LIFE = timedelta(hours=1)
_START_SECONDS = 120.0
_REGIONS = ("eu", "us", "lab")
_OURS = ("services", "agents", "hub", "git", "fleet")
_SPOKES = "spokes.json"


class NoFleet(FleetError):
    reason = "NoFleet"


@dataclass(frozen=True, slots=True)
class Spoke:
    """How a local spoke is declared on the hub."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


def spokes(count: int) -> list[Spoke]:
    """`eu1 us1 lab1 eu2 ...`: eu and us are production, lab is the developers'."""
    result = []
    for index in range(count):
        region = _REGIONS[index % len(_REGIONS)]
        name = f"{region}{index // len(_REGIONS) + 1}"
        env = "dev" if region == "lab" else "prod"
        result.append(
            Spoke(
                name=name,
                labels={"env": env, "region": region, "ring": str(index // len(_REGIONS))},
                values={"ingressDomain": f"{name}.example.com", "shop": {"replicas": 2}},
            )
        )
    return result


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a local fleet's parts speak, in seconds; None leaves it to the part itself."""

    poll: float = 5.0
    """Between two looks at a repository."""
    heartbeat: float | None = None
    stale_after: float | None = None
    lease: float | None = None
    """How long a hub that crashed still counts as the leader."""

    def hub_options(self) -> list[str]:
        named = {"--stale-after": self.stale_after, "--lease-seconds": self.lease}
        return [text for name, value in named.items() if value is not None for text in (name, str(value))]


class LocalFleet:
    """Everything under one folder; any later command finds it there, running, stopped or crashed."""

    def __init__(self, root: Path, *, pace: Pace | None = None) -> None:
        self.root = root.absolute()
        self._pace = pace or Pace()
        self.services = Services(self.root)

    @property
    def checkout(self) -> Path:
        """The clone of the sample repository that people change and push."""
        return self.root / "fleet"

    @property
    def repo_url(self) -> str:
        return f"{self.services.git_url}/{sample.NAME}"

    def kubeconfig(self, cluster: str) -> Path | None:
        """The administrator's kubeconfig of one cluster, if this fleet has it."""
        return kubeconfig_of(self.root, cluster)

    def names(self) -> list[str]:
        return cluster_names(self.root)

    async def up(
        self,
        count: int,
        *,
        note: Callable[[str], None],
        provider: Provider = Provider.AUTO,
        progress: Report = print_progress,
    ) -> None:
        """Start or complete the fleet, and apply the root Application. Repeating it changes nothing.

        Never takes a cluster away: a fleet that has more than `count` spokes keeps them.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        async with locked(self.root / "up.lock", waiting=lambda: note("waiting for another `axle`")):
            note("local control planes")
            wanted = {spoke.name: spoke for spoke in spokes(count)} | self._declared()
            self._remember(wanted)
            asked = {spoke.name for spoke in spokes(count)}
            names = list(dict.fromkeys([HUB, *self.names(), *wanted]))
            fleet = await fleets.create(provider, self.root, names, progress=progress)
            await fleet.start(note=note)
            await self.start_git(note)
            await self.start_hub(note)
            note("the agents")
            removed = await self._removed([name for name in names if name not in {HUB, *asked}])
            here = [name for name in names if name not in {HUB, *removed}]
            joining = [self._join(wanted.get(name, Spoke(name))) for name in here]
            await asyncio.gather(self._join(Spoke(HUB, {"axletree.dev/hub": "true"})), *joining)
            note("the root Application")
            await self._apply_root()

    async def add(self, spoke: Spoke, *, note: Callable[[str], None]) -> None:
        """One more spoke: its cluster, its declaration, its agent."""
        async with locked(self.root / "up.lock"):
            fleet = self._fleet()
            self._remember(self._declared() | {spoke.name: spoke})
            note(f"starting cluster {spoke.name}")
            await fleet.add(spoke.name)
            await self._join(spoke)

    async def remove(self, name: str) -> None:
        """End one spoke and its agent. That the hub forgets it is another matter: `axle cluster remove`."""
        async with locked(self.root / "up.lock"):
            fleet = self._fleet()
            await self.services.stop(frozenset({agent_of(name)}))
            self._config(name).unlink(missing_ok=True)
            declared = self._declared()
            declared.pop(name, None)
            self._remember(declared)
            await fleet.remove(name)

    async def down(self, *, note: Callable[[str], None] = lambda _: None) -> bool:
        """End exactly what was started here, whatever state it is in, and delete it.

        Returns whether there was anything.
        """
        if not self.root.exists():
            return False
        async with locked(self.root / "up.lock", waiting=lambda: note("waiting for another `axle`")):
            found = any((self.root / name).exists() for name in (*_OURS, "clusters"))
            await self.services.stop()
            fleet = fleets.load(self.root)
            if fleet is not None:
                await fleet.delete()
            for name in _OURS:
                shutil.rmtree(self.root / name, ignore_errors=True)
            (self.root / _SPOKES).unlink(missing_ok=True)
        return found

    async def start_git(self, note: Callable[[str], None]) -> None:
        note("the sample Git repository")
        repositories = self.root / "git"
        repositories.mkdir(parents=True, exist_ok=True)
        await sample.make_repository(repositories, self.checkout, url=self.repo_url)
        self.services.start_git(repositories)
        await self.services.wait_port(GIT, seconds=_START_SECONDS)

    async def start_hub(self, note: Callable[[str], None]) -> None:
        note("the hub")
        async with self.hub_client() as client:
            await install.install_hub(client)
            await HubIdentity.load_or_create(client, now=datetime.now(UTC))
            await self._give_back(client)
        self.services.start_hub(
            self._kubeconfig(HUB), poll_interval=self._pace.poll, options=self._pace.hub_options()
        )
        await self.services.wait_port(HUB, seconds=_START_SECONDS)

    def start_agent(self, name: str) -> None:
        """Start the agent of a spoke that has joined before, with what it was told then."""
        self.services.start_agent(name, self._config(name))

    def hub_client(self) -> contextlib.AbstractAsyncContextManager[RestClient]:
        """An administrator's client of the hub's API server."""
        return client_of(self._kubeconfig(HUB))

    async def _give_back(self, client: RestClient) -> None:
        """The Lease of a hub that ended here without giving it back: this machine knows that nobody holds it."""
        for one in self.services.processes():
            if one.name == HUB and not one.alive():
                holder = f"{socket.gethostname()}-{one.identity.pid}"
                await Leader(client, identity=holder, seconds=0.0).release()

    async def _removed(self, names: Iterable[str]) -> set[str]:
        """Those that had joined and that a person took from the hub since: no later `up` brings them back unasked."""
        removed = set()
        async with self.hub_client() as hub:
            for name in names:
                if self._config(name).exists() and not await install.declared(hub, name):
                    removed.add(name)
        if removed:
            await self.services.stop(frozenset(map(agent_of, removed)))
            declared = self._declared()
            self._remember({name: spoke for name, spoke in declared.items() if name not in removed})
        return removed

    async def _join(self, spoke: Spoke) -> None:
        config = self._config(spoke.name)
        async with client_of(self._kubeconfig(spoke.name)) as client, self.hub_client() as hub:
            await install.install_spoke(client, service_accounts=SERVICE_ACCOUNTS)
            if not (config.exists() and await install.joined(hub, spoke.name)):
                # A token of an earlier try may have expired: only a cluster that has joined needs none.
                await self.services.stop(frozenset({agent_of(spoke.name)}))
                await install.forget_identity(client, spoke.name)
                self._configure(spoke.name, token=await self._declare(hub, spoke))
        self.services.start_agent(spoke.name, config)

    def _configure(self, name: str, *, token: str) -> None:
        settings: dict[str, Any] = {
            "cluster": name,
            "hubUrl": self.services.hub_url,
            "token": token,
            "kubeconfig": str(self._kubeconfig(name)),
        }
        if self._pace.heartbeat is not None:
            settings["heartbeatSeconds"] = self._pace.heartbeat
        self._config(name).parent.mkdir(parents=True, exist_ok=True)
        write(self._config(name), json.dumps(settings, indent=2).encode())

    @staticmethod
    async def _declare(hub: RestClient, spoke: Spoke) -> str:
        await install.declare_cluster(hub, spoke.name, labels=spoke.labels, values=spoke.values)
        now = datetime.now(UTC)
        identity = await HubIdentity.load_or_create(hub, now=now)
        return await create_token(
            hub, identity, cluster=spoke.name, ttl=TOKEN_LIFE, now=now, auto_accept=True
        )

    async def _apply_root(self) -> None:
        text = (sample.SAMPLE / "hub.yaml").read_text().replace(sample.PLACEHOLDER, self.repo_url)
        async with self.hub_client() as client:
            await install.apply_all(client, load_all(text, source="hub.yaml"))

    def _fleet(self) -> Fleet:
        fleet = fleets.load(self.root)
        if fleet is None:
            raise NoFleet(f"there is no local fleet in {self.root}: start one with `axle up`")
        return fleet

    def _kubeconfig(self, cluster: str) -> Path:
        path = self.kubeconfig(cluster)
        if path is None:
            raise NoFleet(f"the fleet in {self.root} has no cluster {cluster}")
        return path

    def _config(self, name: str) -> Path:
        return self.root / "agents" / f"{name}.json"

    def _declared(self) -> dict[str, Spoke]:
        """What spokes were declared as: a later `up` starts the same fleet."""
        try:
            found = json.loads((self.root / _SPOKES).read_text())
        except FileNotFoundError:
            return {}
        return {each["name"]: Spoke(**each) for each in found}

    def _remember(self, declared: dict[str, Spoke]) -> None:
        content = json.dumps([asdict(spoke) for spoke in declared.values()], indent=1)
        write(self.root / _SPOKES, content.encode())


@contextlib.asynccontextmanager
async def client_of(kubeconfig: Path) -> AsyncIterator[RestClient]:
    """An administrator's client, closed afterwards."""
    async with RestClient(load_kubeconfig(kubeconfig), user_agent="axle") as client:
        yield client
