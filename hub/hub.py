"""One hub in one process: gateway, controller behind its Lease, sources, renderer, store."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from agent.kube.client import RestClient
from hub import memory
from hub.fleet.tools import find_programs
from hub.gateway.admission import admission_key
from hub.gateway.identity import HubIdentity
from hub.gateway.server import Gateway, GatewayContext
from hub.gateway.tls import serve_as
from hub.history.history import History
from hub.hosts.ask import Asker
from hub.hosts.objects import KubeObjects
from hub.notify.ledger import Ledger
from hub.notify.notifier import Notifier
from hub.operator import admission, handlers
from hub.operator.ancestry import Ancestry
from hub.operator.caches import Caches, WentBack
from hub.operator.collector import Collector
from hub.operator.context import HubContext
from hub.operator.controller import Controller
from hub.operator.explainer import Explainer
from hub.operator.fleetview import FleetView
from hub.operator.lease import Leader, LeadershipLost
from hub.operator.settings import Role
from hub.operator.state import State
from hub.operator.writer import Writer
from hub.render.hubvalues import CachedObjects
from hub.render.pool import WorkerPool
from hub.render.renderer import Renderer
from hub.sources.charts import ChartRepositories
from hub.sources.dispatch import Sources
from hub.sources.git import GitSource
from hub.sources.grants import Grants
from hub.store.choose import open_store
from hub.store.index import RenderIndex
from hub.telemetry.kubevents import Announcer
from hub.telemetry.meters import Meters
from hub.telemetry.server import MetricsServer
from hub.telemetry.sources import ControllerSource, GatewaySource
from hub.telemetry.tally import Tally
from hub.telemetry.traces import Tracer, close_export, open_export
from hub.web.server import ApiServer
from hub.web.tls import api_tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.kube.config import KubeConfig
    from hub.operator.settings import HubSettings
    from hub.store.port import BundleStore
    from hub.telemetry.traces import Export

log = logging.getLogger(__name__)


class Hub:
    """An object with no globals, so that tests and benchmarks hold several."""

    def __init__(self, config: KubeConfig, settings: HubSettings) -> None:
        self._config = config
        self._settings = settings
        self.gateway: Gateway | None = None
        self.controller: Controller | None = None
        self.history: History | None = None
        self.api: ApiServer | None = None
        self.notifier: Notifier | None = None
        self._explainer: Explainer | None = None
        self.traces: Export | None = None
        self.meters = Meters()
        self.metrics = MetricsServer(self.meters)

    async def run(self) -> None:
        """Serve until cancelled. Raises where the hub cannot go on; its supervisor starts it anew."""
        client = RestClient(self._config, user_agent="axletree-hub", loads=orjson.loads, dumps=orjson.dumps)
        try:
            identity = await HubIdentity.load_or_create(client, now=_now())
            store = open_store(self._settings.bundles, self._settings.data_dir)
            gateway = Gateway(
                GatewayContext(
                    client=client,
                    identity=identity,
                    blobs=store,
                    now=_now,
                    clock=asyncio.get_running_loop().time,
                    hosts=self._settings.public_hosts,
                    holder=self._settings.gateway,
                    stale_after=self._settings.stale_after,
                )
            )
            await gateway.start(self._settings.host, self._settings.port)
            self.gateway = gateway
            self.meters.sources.append(_agents(gateway))
            history = self.history = History(self._settings.database_url, now=_now)
            if self._settings.role is not Role.GATEWAY or self._settings.api_port is not None:
                await history.start()
            api = self.api = ApiServer(client, history, now=_now, hub_id=identity.hub_id)
            if self._settings.otlp_endpoint:
                self.traces = open_export(self._settings.otlp_endpoint, hub_id=identity.hub_id)
            try:
                if self._settings.api_port is not None:
                    await self._serve(api, gateway, self._settings.api_port)
                if self._settings.metrics_port is not None:
                    await self.metrics.start(self._settings.host, self._settings.metrics_port)
                if self._settings.role is Role.GATEWAY:
                    await asyncio.Event().wait()
                await self._lead(client, identity, store)
            finally:
                if self.traces is not None:
                    await close_export(self.traces)
                await self.metrics.stop()
                await api.stop()
                await gateway.stop()
                await history.close()
                store.close()
        finally:
            await client.close()

    async def _serve(self, api: ApiServer, gateway: Gateway, port: int) -> None:
        """The API, with a certificate of the CA that is in use."""
        hosts = self._settings.public_hosts
        tls = api_tls(gateway.identity, hosts, now=_now())
        gateway.on_keys(lambda identity: serve_as(tls, identity, hosts, now=_now()))
        await api.start(
            self._settings.host,
            port,
            tls=tls,
            renew=lambda: serve_as(tls, gateway.identity, hosts, now=_now()),
        )

    async def _lead(self, client: RestClient, identity: HubIdentity, store: BundleStore) -> None:
        """Term after term: what a controller holds in memory does not outlive its Lease."""
        leader = Leader(client, identity=self._settings.identity, seconds=self._settings.lease_seconds)
        while True:
            await leader.acquire()
            self.meters.leader.set(1)
            try:
                async with asyncio.TaskGroup() as term:
                    term.create_task(leader.keep(), name="lease")
                    term.create_task(self._term(client, identity, store), name="term")
            except* (LeadershipLost, WentBack) as lost:
                log.warning("the term ends: %s", _cause(lost))
            finally:
                self.meters.leader.set(0)
                await leader.release()
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _term(self, client: RestClient, identity: HubIdentity, store: BundleStore) -> None:
        caches = Caches(client)
        tally = Tally(self.meters, now=_now)
        caches.applications.subscribe(tally.changed)
        index = RenderIndex(self._settings.data_dir / "renders.sqlite")
        data_dir, interval = self._settings.data_dir, self._settings.poll_interval

        git, source = _sources(data_dir, caches, interval=interval)
        pool = self._pool(size=self._settings.workers, on_call=self.meters.called)
        pool.start()
        asker = Asker(KubeObjects(client, caches.credentials.get), clock=asyncio.get_running_loop().time)
        try:
            context = HubContext(
                settings=self._settings,
                caches=caches,
                state=State(),
                writer=Writer(client, caches, concurrency=self._settings.write_concurrency),
                source=source,
                pool=pool,
                renderer=Renderer(
                    source=source,
                    pool=pool,
                    store=store,
                    index=index,
                    digest_key=identity.digest_key,
                    objects=CachedObjects(
                        caches.values_config_maps.get, caches.values_secrets.get, caches.credentials.values
                    ),
                ),
                hub_id=identity.hub_id,
                epoch=identity.epoch,
                now=_now,
                fleet_view=FleetView(
                    caches,
                    now=_now,
                    stale_after=self._settings.stale_after,
                    since=_now(),
                    epoch=identity.epoch,
                ),
                asker=asker,
                meters=self.meters,
            )
            controller = self.controller = Controller(context)
            counted = ControllerSource(
                tally,
                caches,
                fleet=context.fleet,
                depths=lambda: self._depths(controller),
                writes=lambda: context.writer.count,
            )
            self.meters.sources.append(counted)
            if self.gateway is not None:
                self.gateway.refuse = controller.refusal
                self.gateway.webhooks.here = controller.webhooks.take
                await admission.register(
                    client,
                    url=self.gateway.url,
                    key=admission_key(identity.digest_key),
                    ca_pem=identity.ca_pem,
                )
            self._answers(
                Explainer(context, pool=lambda: self._pool(size=1)),
                Ancestry(context, lambda namespace, *asked: git.seen_by(namespace).contains(*asked)),
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(caches.run(), name="caches")
                tasks.create_task(memory.keep(caches.wait_synced), name="memory")
                tasks.create_task(handlers.run(controller, self._config), name="kopf")
                tasks.create_task(controller.run(), name="controller")
                tasks.create_task(asker.watch(controller.plans.ask_set), name="asker")
                collector = Collector(caches, context.state, store, index)
                tasks.create_task(collector.run(), name="collector")
                if self.traces is not None:
                    tasks.create_task(Tracer(caches, self.traces, now=_now).run(), name="traces")
                if self._settings.kube_events:
                    announcer = self._announcer(client)
                    tasks.create_task(announcer.run(caches), name="events")
                if self.history is not None:
                    notifier = self.notifier = self._notifier(context, self.history)
                    tasks.create_task(notifier.run(), name="notifications")
                    tasks.create_task(self.history.record(caches), name="history")
                    if self.api is not None:
                        tasks.create_task(self.history.answer(self.api.answer), name="questions")
        finally:
            self.meters.sources = [
                each for each in self.meters.sources if not isinstance(each, ControllerSource)
            ]
            await self._answers_no_more()
            if self.gateway is not None:
                self.gateway.refuse = None
                self.gateway.webhooks.here = None
            await asker.close()
            await pool.close()
            await source.close()
            index.close()

    def _pool(self, *, size: int, on_call: Callable[[str, float, str], None] | None = None) -> WorkerPool:
        """What people ask for a look is not among the calls that are counted: their typing errors are no failures."""
        return WorkerPool(
            size=size, memory_mb=self._settings.worker_memory_mb, programs=find_programs(), on_call=on_call
        )

    def _answers(self, explainer: Explainer, ancestry: Ancestry) -> None:
        """Who explains, and knows what came before what, until the term ends."""
        self._explainer = explainer
        if self.api is not None:
            self.api.passing.here = ancestry.behind
            self.api.explanations.here = explainer.explain

    async def _answers_no_more(self) -> None:
        if self.api is not None:
            self.api.explanations.here = self.api.passing.here = None
        if self._explainer is not None:
            await self._explainer.close()

    def _announcer(self, client: RestClient) -> Announcer:
        clock = asyncio.get_running_loop().time
        return Announcer(client, meters=self.meters, instance=self._settings.identity, clock=clock, now=_now)

    def _notifier(self, context: HubContext, history: History) -> Notifier:
        return Notifier(
            context.caches,
            Ledger(
                history.database,
                opened=history.opened,
                now=lambda: _now().isoformat(timespec="milliseconds"),
            ),
            meters=self.meters,
            source=f"/axletree/{context.hub_id}",
            words=context.pool.text,
            clock=asyncio.get_running_loop().time,
        )

    def _depths(self, controller: Controller) -> dict[str, int]:
        history = self.history.waiting if self.history is not None else 0
        notifications = self.notifier.waiting if self.notifier is not None else 0
        return controller.depths() | {"history": history, "notifications": notifications}


def _agents(gateway: Gateway) -> GatewaySource:
    clock = asyncio.get_running_loop().time
    return GatewaySource(gateway.liveness, clock=clock, now=lambda: _now().timestamp(), depths=gateway.depths)


def _now() -> datetime:
    return datetime.now(UTC)


def _cause(error: BaseException) -> BaseException:
    """What ended a group of tasks, however deep it stands."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _sources(data_dir: Path, caches: Caches, *, interval: float) -> tuple[GitSource, Sources]:
    """Git alone, which knows what came before what, and everything that is read."""
    grants = Grants(caches.credentials.values)
    caches.credentials.subscribe(grants.changed)
    git = GitSource(data_dir / "git", credentials=grants.match, projects=grants.of, interval=interval)
    charts = ChartRepositories(
        data_dir / "charts", credentials=grants.match, projects=grants.of, interval=interval
    )
    return git, Sources(git=git, charts=charts)
