"""One agent: an object that serves one cluster of one hub. No globals, so that a process may have many.

It starts from what the spoke itself remembers and enforces that at once; the hub, if it can be reached, is
asked at the same time. Nothing that goes wrong on the way to the hub ends what runs here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent.contract.errors import ApiError, AxletreeError, TerminalError, TransientError
from agent.contract.names import agent_manager
from agent.contract.wire import ReportAnswer, ReportBatch
from agent.kube.client import RestClient
from agent.kube.config import in_cluster, load_kubeconfig
from agent.kube.discovery import RestMapper
from agent.kube.fastjson import dumps, loads
from agent.link.backoff import Backoff
from agent.link.capabilities import Capabilities
from agent.link.hublink import ClusterRemoved, HubLink, spare_token
from agent.link.identity import IdentityStore, new_identity, unjoined
from agent.link.join import Facts, join
from agent.link.reports import Reporter
from agent.link.secrets import SecretWriter
from agent.link.state import StateStore
from agent.logs import about
from agent.sync.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.config import AgentConfig
    from agent.link.identity import Identity

logger = logging.getLogger(__name__)

T = TypeVar("T")

_REQUESTS = 20
"""At once on the API server. A connection costs some 100 KiB; with ten, etcd commits less at a time, and the API server
and it take a third more CPU for each object."""
_RENEW_RETRY = 300.0
_RENEW_CHECK = 3600.0
_SLOW = 60.0
_RECORD = "axletree-*.dist-info"


class NoToken(TransientError):
    """There is no identity yet, and no token to get one; a mounted file may still come."""

    reason = "NoToken"


@dataclass(frozen=True, slots=True)
class Spoke:
    """What the agent learns of its own cluster when it starts."""

    uid: str
    kubernetes_version: str


class Agent:
    """`await agent.run()` serves until `await agent.stop()`, or a failure that only a person can end."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.cluster = config.cluster
        self.engine: Engine | None = None
        self._link: HubLink | None = None
        self.enrolled = asyncio.Event()
        """Set when this very object has joined its hub, and not merely found that it had."""
        self._version = installed_version()
        self._boot = os.urandom(8).hex()
        self._task: asyncio.Task[None] | None = None
        self._spoke = Spoke("", "")
        self._capabilities = Capabilities()

    @property
    def enforcing(self) -> bool:
        """Whether it knows what the spoke holds, and keeps it so, with or without its hub."""
        return self.engine is not None

    @property
    def identity(self) -> Identity | None:
        """Who it is to its hub, once it has joined."""
        return self._link.identity if self._link is not None else None

    async def run(self) -> None:
        """Serve, until `stop` or until its cluster was removed.

        Raises `TerminalError` for what cannot go on, such as an identity of another cluster.
        """
        if self._task is not None:
            raise RuntimeError("an agent runs once")
        with about(cluster=self.cluster):
            self._task = asyncio.create_task(self._serve(), name=f"agent of {self.cluster}")
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._task.cancelled():
                await self.stop()
                raise

    async def stop(self) -> None:
        """End everything that runs; what is being written is finished. The spoke keeps what it has."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _serve(self) -> None:
        path = self.config.kubeconfig
        kube = load_kubeconfig(path, context=self.config.context) if path else in_cluster()
        async with RestClient(
            kube, user_agent=self._user_agent, limit=_REQUESTS, loads=loads, dumps=dumps
        ) as client:
            secrets = SecretWriter(client)
            identities = IdentityStore(secrets, self.cluster)
            self._spoke, identity = await self._begin(client, secrets, identities)
            if not identity.joined:
                identity = await self._join(identities, identity)
            elif self._is_for_another_hub(identity):
                identity = await self._change_hub(client, secrets, identities, identity)
            engine, reporter = await self._restored(client, secrets, identity)
            self._link = link = HubLink(
                self.config,
                identity,
                identities=identities,
                engine=engine,
                reporter=reporter,
                facts=self._facts,
            )
            self.engine = engine
            logger.info(
                "agent of %s (hub %s, field manager %s) begins with %d apps at %s",
                self.cluster,
                identity.hub_id,
                agent_manager(identity.hub_id, self.cluster),
                len(engine.apps),
                engine.order,
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(engine.run(), name="engine")
                    group.create_task(
                        self._capabilities.run(client, changed=reporter.announce), name="capabilities"
                    )
                    group.create_task(link.run(), name="link")
            except* ClusterRemoved as removed:
                logger.warning("ClusterRemoved: %s", removed.exceptions[0])
            except* Exception as failures:
                raise failures.exceptions[0] from failures

    async def _begin(
        self, client: RestClient, secrets: SecretWriter, identities: IdentityStore
    ) -> tuple[Spoke, Identity]:
        """Learn who this cluster is, and who we are on it."""

        async def look() -> tuple[Spoke, Identity | None]:
            uid = (await client.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"]
            served = str((await client.get("/version")).get("gitVersion", ""))
            return Spoke(uid, served[:64]), await identities.load(uid)

        spoke, identity = await self._patiently("the API server", look)
        if identity is None:
            made = new_identity(self.cluster, spoke.uid)

            async def save() -> None:
                await secrets.ensure_namespace()
                await identities.save(made)

            await self._patiently("the identity", save)
            identity = made
        return spoke, identity

    async def _restored(
        self, client: RestClient, secrets: SecretWriter, identity: Identity
    ) -> tuple[Engine, Reporter]:
        """What keeps the spoke as this identity's hub last wanted it, and who is to tell that hub."""
        store = StateStore(secrets, hub_id=identity.hub_id, cluster=self.cluster, cluster_uid=self._spoke.uid)
        reporter = Reporter(
            envelope=self._envelope,
            heartbeat=self.config.heartbeat_seconds,
            delivered=self._delivered,
            answered=self._answered,
        )
        engine = Engine(
            client,
            RestMapper(client),
            identity=identity,
            store=store,
            reporter=reporter,
            resync=self.config.resync_seconds,
            concurrency=self.config.concurrency,
        )
        engine.restore(await self._patiently("the state", store.load))
        return engine, reporter

    def _is_for_another_hub(self, identity: Identity) -> bool:
        token = spare_token(self.config)
        if token is None or token.hub == identity.hub_id:
            return False
        logger.warning("the token is for the hub %s, not for %s: joining anew", token.hub, identity.hub_id)
        return True

    async def _change_hub(
        self, client: RestClient, secrets: SecretWriter, identities: IdentityStore, identity: Identity
    ) -> Identity:
        """Join another hub. Until that has accepted us, which may take days, the former one's apps are kept."""
        engine, _ = await self._restored(client, secrets, identity)
        keeping = asyncio.create_task(engine.run(), name="engine of the former hub")
        joining = asyncio.create_task(self._join(identities, unjoined(identity)), name="join")
        try:
            await asyncio.wait([keeping, joining], return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
            return await joining
        finally:
            keeping.cancel()
            joining.cancel()
            await asyncio.gather(keeping, joining, return_exceptions=True)

    async def _join(self, identities: IdentityStore, identity: Identity) -> Identity:
        """Ask the hub until it accepts: an administrator may take days."""
        backoff = Backoff(base=0.5, cap=30.0)
        while True:
            try:
                token = self.config.join_token()
                if token is None:
                    raise NoToken("there is no identity yet and no token to join with", retry_after=5.0)
                joined = await join(self.config, token, identity, self._facts)
            except AxletreeError as error:
                retry_after = error.retry_after if isinstance(error, TransientError) else _SLOW
                pause = backoff.next(retry_after=retry_after)
                logger.warning("join: %s; again in %.1f s", error, pause)
                await asyncio.sleep(pause)
                continue
            break
        await self._patiently("the identity", lambda: identities.save(joined))
        logger.info("joined the hub %s as %s", joined.hub_id, self.cluster)
        self.enrolled.set()
        return joined

    async def _patiently(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do what only needs the API server to be there, until it is."""
        backoff = Backoff(base=0.2, cap=10.0)
        while True:
            try:
                return await act()
            except TerminalError:
                raise
            except (TransientError, ApiError) as error:
                pause = backoff.next(retry_after=error.retry_after)
                logger.warning("%s: %s; again in %.1f s", what, error, pause)
                await asyncio.sleep(pause)

    def _envelope(self) -> ReportBatch:
        epoch, seq = self.engine.order if self.engine else (0, 0)
        return ReportBatch(
            epoch=epoch,
            seq=seq,
            keys=self._link.identity.keys if self._link else 0,
            agent_version=self._version,
            kubernetes_version=self._spoke.kubernetes_version,
            api_versions=self._capabilities.untold,
            boot=self._boot,
            orphans=self.engine.orphans if self.engine else [],
            orphan_details=self.engine.orphan_reports if self.engine else None,
            adoptions=(self.engine.adoptions.answers.reports or None) if self.engine else None,
            object_syncs=(self.engine.syncs.answers.reports or None) if self.engine else None,
        )

    def _delivered(self, batch: ReportBatch, resend: bool) -> None:  # noqa: FBT001 - as the reporter calls it
        self._capabilities.delivered(batch, resend=resend)
        if self.engine is not None:
            self.engine.adoptions.answers.delivered(batch.adoptions or ())
            self.engine.syncs.answers.delivered(batch.object_syncs or ())

    def _answered(self, said: ReportAnswer) -> None:
        if self._link is not None:
            self._link.said(said)

    @property
    def _facts(self) -> Facts:
        return Facts(self._version, self._spoke.kubernetes_version, dict(self.config.labels))

    @property
    def _user_agent(self) -> str:
        return f"axletree-agent/{self._version or '0'}"


def installed_version() -> str:
    """Read off the name of what the installer wrote: `importlib.metadata` is a megabyte, to say the same."""
    found = (record for place in sys.path for record in Path(place or ".").glob(_RECORD))
    return next((record.stem.partition("-")[2] for record in found), "")
