"""What agents report, checked and handed on as `Application.status.observed`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.names import API_VERSION, MANAGER_GATEWAY
from agent.contract.wire import AppReport, ReportAnswer, ReportBatch
from hub.gateway import paths
from hub.gateway.errors import QueueFull
from hub.gateway.writer import LatestWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.gateway.assignments import Board, View
    from hub.gateway.clusters import Clusters
    from hub.gateway.liveness import Liveness

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Observation:
    """One app's report with where it stands in time."""

    report: AppReport
    epoch: int
    seq: int
    boot: str
    count: int
    received_at: datetime


@dataclass(slots=True)
class Session:
    """One cluster's agent process, as far as this gateway has heard of it."""

    boot: str
    retired: deque[str] = field(default_factory=lambda: deque(maxlen=16))
    """Earlier processes. What still comes from one is late, or from a clone: it says nothing about now."""
    asked: tuple[int, int] | None = None
    """The position for which everything was asked for again: once is enough, or it never ends."""
    wanted: bool = False
    agent: dict[str, Any] = field(default_factory=dict)


def observed_manifest(key: str, observation: Observation) -> Manifest:
    """For server-side apply on the status subresource: all of `observed`, and nothing beside it."""
    namespace, _, name = key.partition("/")
    observed = observation.report.wire() | {
        "epoch": observation.epoch,
        "seq": observation.seq,
        "boot": observation.boot,
        "count": observation.count,
        "receivedAt": observation.received_at.isoformat().replace("+00:00", "Z"),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": {"name": name, "namespace": namespace},
        "status": {"observed": observed},
    }


def observed_writer(client: RestClient, *, clock: Callable[[], float]) -> LatestWriter[Observation]:
    """Make the writer of `status.observed`, as the gateway's own field manager."""

    async def write(key: str, observation: Observation) -> None:
        await client.apply(
            paths.application(key),
            observed_manifest(key, observation),
            field_manager=MANAGER_GATEWAY,
            force=True,
            subresource="status",
        )

    return LatestWriter(write, clock=clock)


def agent_writer(clusters: Clusters, *, clock: Callable[[], float]) -> LatestWriter[dict[str, Any]]:
    """Make the writer of `Cluster.status.agent`."""
    return LatestWriter(clusters.write_agent, clock=clock)


class Intake:
    """Takes batches. Nothing here waits: a batch is accepted or refused, and written behind the answer."""

    def __init__(
        self,
        board: Board,
        liveness: Liveness,
        *,
        observed: LatestWriter[Observation],
        agents: LatestWriter[dict[str, Any]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._board = board
        self._liveness = liveness
        self._observed = observed
        self._agents = agents
        self._clock = clock
        self._now = now
        self._sessions: dict[str, Session] = {}
        board.on_dropped(self._dropped)

    def take(self, cluster: str, batch: ReportBatch) -> ReportAnswer:
        """Accept one batch of one cluster. Raises `QueueFull`, before anything of it was taken."""
        view = self._board.view(cluster)
        hub = (view.epoch, view.seq) if view else (0, 0)
        session = self._session(cluster, batch.boot)
        if session is None:
            log.warning("cluster %s: a report of an agent process that another one has replaced", cluster)
            return ReportAnswer(epoch=hub[0], seq=hub[1])
        ours = [report for report in batch.reports if view is not None and report.app in view.apps]
        if not self._observed.room(len(ours)):
            raise QueueFull("too many reports wait to be written", retry_after=_RETRY_SECONDS)
        position = (batch.epoch, batch.seq)
        self._liveness.heard(cluster, self._clock(), epoch=batch.epoch, seq=batch.seq, hub=hub)
        received_at = self._now()
        for report in ours:
            observation = Observation(report, batch.epoch, batch.seq, batch.boot, batch.count, received_at)
            self._observed.submit(
                report.app, observation, content=_content(report), source=batch.boot, order=batch.count
            )
        self._note_agent(cluster, session, batch)
        resend, session.wanted = session.wanted, False
        if len(ours) < len(batch.reports) and position > hub and session.asked != position:
            # Another gateway knows an Assignment that has not arrived here yet. Agents send what was not in
            # the batch that is answered, so what was left out of this one is asked for after the next.
            session.asked, session.wanted = position, True
        return ReportAnswer(epoch=hub[0], seq=hub[1], resend=resend)

    def resend(self, cluster: str) -> None:
        """Ask the agent for everything at its next report, and write it even where it says the same.

        For whoever knows that what was written is gone: an Application that was deleted and made again.
        """
        view = self._board.view(cluster)
        for app in view.apps if view else ():
            self._observed.invalidate(app)
        session = self._sessions.get(cluster)
        if session is not None:
            session.wanted = True

    def forget(self, cluster: str) -> None:
        """Drop what is known of a cluster that is gone."""
        self._sessions.pop(cluster, None)
        self._agents.forget(cluster)

    def _session(self, cluster: str, boot: str) -> Session | None:
        """Find the session that a batch belongs to; None for one of an earlier process."""
        session = self._sessions.get(cluster)
        if session is None:
            session = self._sessions[cluster] = Session(boot=boot, wanted=True)
        elif boot != session.boot:
            if boot in session.retired:
                return None
            session.retired.append(session.boot)
            session.boot, session.asked = boot, None
        return session

    def _note_agent(self, cluster: str, session: Session, batch: ReportBatch) -> None:
        """Versions go to the Cluster when they change, with the position held at that moment."""
        agent: dict[str, Any] = {
            "version": batch.agent_version[:64],
            "kubernetesVersion": batch.kubernetes_version[:64],
        }
        served = session.agent.get("apiVersions") if batch.api_versions is None else batch.api_versions
        if served is not None:
            agent["apiVersions"] = served
        if agent == session.agent or not batch.agent_version or not self._agents.room(1):
            return
        session.agent = agent
        content = json.dumps(agent).encode()
        state = agent | {"epoch": batch.epoch, "seq": batch.seq}
        self._agents.submit(cluster, state, content=content, source=batch.boot, order=batch.count)

    def _dropped(self, cluster: str, apps: frozenset[str]) -> None:
        log.debug("cluster %s: %d apps are no longer assigned", cluster, len(apps))
        for app in apps:
            self._observed.forget(app)


def permitted(view: View | None, blob: str) -> bool:
    """Whether a cluster may fetch a blob: only what its current Assignment names."""
    return view is not None and blob in view.blobs


def _content(report: AppReport) -> bytes:
    """Hash what makes two reports of an app say the same: everything but when it was observed."""
    plain = report.model_dump_json(exclude={"observed_at"})
    return hashlib.blake2b(plain.encode(), digest_size=16).digest()
