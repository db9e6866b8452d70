"""The gateway: one TLS listener for agents, over caches of Clusters and Assignments. It keeps no state.

Any number may run, in the controller's process or alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from agent.contract.errors import ApiError, AxletreeError, TransientError
from agent.contract.wire import STALE_SECONDS
from agent.kube.reflector import Reflector
from hub.gateway import paths, tokens
from hub.gateway.admission import admission_key
from hub.gateway.assignments import Board
from hub.gateway.certificates import SERVER_LIFETIME
from hub.gateway.clusters import Clusters
from hub.gateway.errors import NoInformation
from hub.gateway.gatekeeper import Gatekeeper
from hub.gateway.guard import Guard, problem
from hub.gateway.handlers import Blobs, Handlers
from hub.gateway.join import Enrolment
from hub.gateway.keyring import Keyring
from hub.gateway.leases import LeaseKeeper
from hub.gateway.liveness import Liveness
from hub.gateway.observed import observed_writer
from hub.gateway.paced import PacedSite
from hub.gateway.recall import recall
from hub.gateway.relay import Relay
from hub.gateway.reports import SETTLED_SECONDS, Intake, agent_writer
from hub.gateway.requested import requested
from hub.gateway.routes import ROUTES
from hub.gateway.tls import serve_as, server_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.gateway.identity import HubIdentity

log = logging.getLogger(__name__)

_BACKLOG = 4096
"""Connections that wait to be let in, by hundreds a second; as many as kernels allow unless told otherwise. At a few
milliseconds for each, the last one is let in before its agent gives up. Who finds no place is tried again by its own
kernel."""
_KEEP_ALIVE_SECONDS = 120.0
"""Beyond what agents keep an idle connection for: the gateway never closes one under a request."""
_SHUTDOWN_SECONDS = 2.0
_UPKEEP_SECONDS = 3600.0
_RESTART_SECONDS = 1.0
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """All that a gateway depends on. `clock` gives seconds and never jumps; `now` the time, in UTC."""

    client: RestClient
    identity: HubIdentity
    blobs: Blobs
    now: Callable[[], datetime]
    clock: Callable[[], float]
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    """What its certificate is valid for; the first is the one in `url` where it listens everywhere."""
    holder: str = "axletree-gateway"
    """Who keeps the agents' Leases; unique among gateways that run at once, the same after a restart."""
    stale_after: float = STALE_SECONDS
    settled: float = SETTLED_SECONDS
    """How long after one agent process followed another both may be heard."""


class Gateway:
    """Listens between `start` and `stop`. Until its caches are whole it answers 503, never 404."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        client, clock, now = context.client, context.clock, context.now
        self._cluster_cache = Reflector(client, paths.CLUSTERS, transform=_lean)
        self._assignment_cache = Reflector(client, paths.ASSIGNMENTS, transform=_lean)
        self._clusters = Clusters(client, self._cluster_cache)
        self.liveness = Liveness(stale_after=context.stale_after)
        self._leases = LeaseKeeper(client, self.liveness, holder=context.holder, clock=clock, now=now)
        self._keyring = Keyring(client, context.identity)
        self._keyring.subscribe(self._keys_changed)
        self._gatekeeper = Gatekeeper(self._clusters, self._keyring, now=now)
        self._board = Board(self._assignment_cache, lambda: self._keyring.current)
        self._observed = observed_writer(client, clock=clock)
        self._agents = agent_writer(self._clusters, clock=clock)
        self._requested = requested(client, clock=clock, had=self._had_orphans)
        self._intake = Intake(
            self._board,
            self.liveness,
            observed=self._observed,
            agents=self._agents,
            requested=self._requested,
            clock=clock,
            now=now,
            name=f"{context.holder[:_LONGEST_NAME]}/{uuid4().hex[:12]}",
            on_clone=self._gatekeeper.cloned,
            settled=context.settled,
        )
        self._cluster_cache.subscribe(self._cluster_changed)
        self._tls = server_tls(context.identity, context.hosts, now=now())
        self._tasks: list[asyncio.Task[None]] = []
        self._recalled = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._stopping = False
        self._url = ""
        self.refuse: Callable[[Manifest], Awaitable[str]] | None = None
        """Says why an Application may not be written, while a controller runs in this process."""
        self.webhooks = Relay(client, holder=context.holder)
        """Takes what Git hosts tell, to the controller here or to the one that leads elsewhere."""

    @property
    def url(self) -> str:
        """Where agents reach it, without a trailing slash. Empty before `start`."""
        return self._url

    @property
    def ready(self) -> bool:
        """Whether both caches hold whole lists, and what was written of apps is known."""
        return self._cluster_cache.synced and self._assignment_cache.synced and self._recalled.is_set()

    def depths(self) -> dict[str, int]:
        """What waits to be written, by queue."""
        return {
            "reports": self._observed.waiting,
            "agents": self._agents.waiting,
        }

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen and start to watch. Port 0 takes a free one. Raises OSError where it cannot listen."""
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        site = PacedSite(runner, host, port, tls=self._tls, backlog=_BACKLOG, ready=lambda: self.ready)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        shown = host if host not in ("0.0.0.0", "::", "") else self._context.hosts[0]  # noqa: S104 - compared
        self._url = f"https://{f'[{shown}]' if ':' in shown else shown}:{site.port}"
        for name, run in (
            ("clusters", self._cluster_cache.run),
            ("assignments", self._assignment_cache.run),
            ("leases", self._leases.run),
            ("leases seen", self._leases.watch),
            ("keyring", self._keyring.run),
            ("webhooks", self.webhooks.run),
            ("recall", self._recall),
            ("upkeep", self._upkeep),
        ):
            self._tasks.append(asyncio.create_task(_forever(name, run), name=f"gateway-{name}"))

    async def wait_ready(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - handed on
        """Until both caches are whole. Raises `agent.kube.reflector.CacheNotSynced`."""
        await self._cluster_cache.wait_synced(timeout)
        await self._assignment_cache.wait_synced(timeout)
        async with asyncio.timeout(timeout):
            await self._recalled.wait()

    async def stop(self) -> None:
        """Answer who waits, finish what is being written, and close."""
        self._stopping = True
        self._board.wake_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._observed.close()
        await self._agents.close()
        await self._requested.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._gatekeeper.close()
        self._tasks.clear()

    def application(self) -> web.Application:
        """Build the routes with their policies: all of the table, and nothing beside it."""
        context = self._context
        enrolment = Enrolment(context.client, lambda: self._keyring.current, self._clusters, now=context.now)
        handlers = Handlers(
            identity=lambda: self._keyring.current,
            board=self._board,
            intake=self._intake,
            clusters=self._clusters,
            enrolment=enrolment,
            blobs=context.blobs,
            admit=self._gatekeeper.admit,
            refused=self._gatekeeper.refused,
            ready=lambda: self.ready,
            stopping=lambda: self._stopping,
            admission_key=admission_key(context.identity.digest_key),
            refuse=lambda: self.refuse,
            webhooks=self.webhooks.listener,
        ).table()
        guard = Guard(admit=self._gatekeeper.admit, ready=lambda: self.ready)
        app = web.Application(middlewares=[_problems])
        for route in ROUTES:
            app.router.add_route(
                route.method, route.path, guard.wrap(route, handlers[route.name]), name=route.name
            )
        return app

    async def _recall(self) -> None:
        known = await recall(self._context.client, self._observed)
        log.info("the state of %d apps is known from before", known)
        self._recalled.set()
        await asyncio.Event().wait()  # once; nothing more to do

    @property
    def identity(self) -> HubIdentity:
        """As it is now: keys are replaced while the hub runs."""
        return self._keyring.current

    def on_keys(self, callback: Callable[[HubIdentity], None]) -> None:
        """Call back whenever the hub's keys are others."""
        self._keyring.subscribe(callback)

    def _keys_changed(self, identity: HubIdentity) -> None:
        """Serve and trust by what the identity says now. What is no longer trusted is refused by `_admit`."""
        serve_as(self._tls, identity, self._context.hosts, now=self._context.now())

    def _had_orphans(self, cluster: str) -> bool:
        held = self._cluster_cache.items.get(("", cluster)) or {}
        return bool((held.get("status") or {}).get("orphans"))

    def _cluster_changed(self, old: Manifest | None, new: Manifest | None) -> None:
        """Count on clusters that joined, forget those that went, and let polls check their right again."""
        name = (new or old or {})["metadata"]["name"]
        if new is None:
            self.liveness.forget(name)
            self._leases.forget(name)
            self._intake.forget(name)
        elif _joined(new):
            self.liveness.expect(name, self._context.clock())
        if _cloned(old) and not _cloned(new):
            self._intake.settle(name)
        if old is not None and (new is None or _rights(old) != _rights(new)):
            self._board.wake(name)

    async def _upkeep(self) -> None:
        """Renew the listener's certificate in time, and delete tokens that expired."""
        renewed = self._context.clock()
        while True:
            if ending := self._keyring.current.ending(now=self._context.now()):
                log.warning("%s", ending)
            await asyncio.sleep(_UPKEEP_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            if self._context.clock() - renewed > SERVER_LIFETIME.total_seconds() / 2:
                hosts = self._context.hosts
                serve_as(self._tls, self._keyring.current, hosts, now=self._context.now())
                renewed = self._context.clock()
            try:
                await tokens.delete_expired(self._context.client, now=self._context.now())
            except (ApiError, TransientError) as error:
                log.info("expired join tokens stay for now: %s", error)


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what no route matched in the same form as everything else."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status in (404, 405):
            return problem(NoInformation("there is nothing here"))
        raise


async def _forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Keep a task of the gateway running: one that fails is logged and started again."""
    while True:
        try:
            await run()
        except AxletreeError as error:
            log.warning("gateway task %s failed: %s", name, error)
        except Exception:
            log.exception("gateway task %s failed", name)
        await asyncio.sleep(_RESTART_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _lean(obj: Manifest) -> Manifest:
    """Without managedFields, which are most of an object and say nothing here."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _joined(cluster: Manifest) -> bool:
    return bool(
        (cluster.get("spec") or {}).get("accepted") and (cluster.get("status") or {}).get("fingerprint")
    )


def _cloned(cluster: Manifest | None) -> bool:
    return bool(((cluster or {}).get("status") or {}).get("clone"))


def _rights(cluster: Manifest) -> tuple[object, ...]:
    """All that admission goes by."""
    annotations = cluster["metadata"].get("annotations") or {}
    return (
        (cluster.get("spec") or {}).get("accepted"),
        (cluster.get("status") or {}).get("fingerprint"),
        tuple(sorted(annotations.items())),
    )
