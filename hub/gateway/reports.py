"""What agents report, batch by batch: whose it is, whether it is news, and what is asked for again."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.contract.wire import ReportAnswer, ReportBatch
from hub.gateway.errors import QueueFull
from hub.gateway.observed import Observation, content_of
from hub.gateway.writer import LatestWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from hub.gateway.assignments import Board, View
    from hub.gateway.clusters import Clusters
    from hub.gateway.liveness import Liveness
    from hub.gateway.requested import Requested

log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
_MAX_RETIRED = 16
SETTLED_SECONDS = 30.0
"""An agent that is replaced by its successor ends within so long."""


@dataclass(slots=True)
class Session:
    """One cluster's agent process, as far as this gateway has heard of it."""

    boot: str
    retired: dict[str, float] = field(default_factory=dict)
    """Earlier processes, and when each was followed. What still comes from one says nothing about now."""
    owed: tuple[int, int] | None = None
    """Something was left out of a batch at this position, which the Assignment here had not reached: it is asked for
    again once it has, and never if it never does."""
    wanted: bool = False
    """Everything is to be asked for again."""
    asked: int | None = None
    """The batch that was last answered so: until an answer is known to have arrived, it may have been lost."""
    agent: dict[str, Any] = field(default_factory=dict)
    heard: float = 0.0


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
        requested: Requested,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        name: str = "",
        on_clone: Callable[[str, str], None] = lambda _cluster, _why: None,
        settled: float = SETTLED_SECONDS,
    ) -> None:
        """`on_clone` gets a cluster of which two processes report, `settled` seconds after one followed the other.

        `name` is this gateway's, as answers tell it: `<name>/<nonce of its process>`.
        """
        self._name = name
        self._on_clone, self._settled = on_clone, settled
        self._board = board
        self._liveness = liveness
        self._observed = observed
        self._agents = agents
        self._requested = requested
        self._clock = clock
        self._now = now
        self._sessions: dict[str, Session] = {}
        board.on_dropped(self._dropped)
        board.on_resend(self._lost)

    def take(self, cluster: str, batch: ReportBatch) -> ReportAnswer:
        """Accept one batch of one cluster. Raises `QueueFull`, before anything of it was taken."""
        view = self._board.view(cluster)
        hub = (view.epoch, view.seq) if view else (0, 0)
        session, new = self._session(cluster, batch.boot)
        if session is None:
            self._replaced(cluster, batch.boot)
            return ReportAnswer(epoch=hub[0], seq=hub[1], gateway=self._name)
        self._compare(cluster, session, batch, view=view, new=new)
        ours = [report for report in batch.reports if view is not None and report.app in view.apps]
        if not self._observed.room(len(ours)):
            raise QueueFull("too many reports wait to be written", retry_after=_RETRY_SECONDS)
        position = (batch.epoch, batch.seq)
        self._liveness.heard(
            cluster, self._clock(), epoch=batch.epoch, seq=batch.seq, hub=hub, boot=batch.boot
        )
        if self._liveness.cloned(cluster, self._settled):
            self._on_clone(cluster, "two agent processes report for it at the same time, to two gateways")
        received_at = self._now()
        for report in ours:
            observation = Observation(report, batch.epoch, batch.seq, batch.boot, batch.count, received_at)
            self._observed.submit(
                report.app, observation, content=content_of(report), source=batch.boot, order=batch.count
            )
        self._note_agent(cluster, session, batch)
        self._requested.take(cluster, batch, view=view, at=received_at)
        resend = session.wanted
        if resend:
            session.wanted, session.asked = False, batch.count
        if len(ours) < len(batch.reports) and position > hub:
            # Another gateway knows an Assignment that has not arrived here yet.
            session.owed = position
        return ReportAnswer(epoch=hub[0], seq=hub[1], resend=resend, gateway=self._name)

    def _compare(
        self, cluster: str, session: Session, batch: ReportBatch, *, view: View | None, new: bool
    ) -> None:
        """Decide whether everything is asked for again, and whether what is known of it is true, before it is used.

        What another gateway took may be written (then what was last taken here is old), may still be on its way, or
        went with that gateway. A former process of this one wrote what is recalled; the rest went with it.
        """
        if session.asked is not None and batch.answered is not None and batch.answered < session.asked:
            session.wanted = True
        session.asked = None
        if session.owed is not None and view is not None and (view.epoch, view.seq) >= session.owed:
            session.owed, session.wanted = None, True
        if batch.gateway == self._name:
            return
        if batch.gateway or new:
            session.wanted = True
        if batch.gateway.rpartition("/")[0] != self._name.rpartition("/")[0] and (batch.gateway or new):
            self._doubt(cluster, session, view)

    def _doubt(self, cluster: str, session: Session, view: View | None) -> None:
        session.agent = {}
        self._agents.doubt(cluster)
        self._requested.doubt(cluster, view)
        for app in view.apps if view else ():
            self._observed.doubt(app)

    def _lost(self, cluster: str) -> None:
        """Ask the agent for everything at its next report, and write it even where it says the same.

        What was written is gone: an Application was deleted and made again.
        """
        view = self._board.view(cluster)
        for app in view.apps if view else ():
            self._observed.doubt(app)
        session = self._sessions.get(cluster)
        if session is not None:
            session.wanted = True

    def settle(self, cluster: str) -> None:
        """A person says that of two agents one is left: whichever speaks next is it."""
        self._sessions.pop(cluster, None)
        self._liveness.settle(cluster)

    def forget(self, cluster: str) -> None:
        """Drop what is known of a cluster that is gone."""
        self._sessions.pop(cluster, None)
        self._agents.forget(cluster)
        self._requested.forget(cluster)

    def _session(self, cluster: str, boot: str) -> tuple[Session | None, bool]:
        """The session that a batch belongs to, None for one of an earlier process; and whether it begins with it."""
        session = self._sessions.get(cluster)
        new = session is None or boot != session.boot
        if session is None:
            session = self._sessions[cluster] = Session(boot=boot, wanted=True)
        elif boot != session.boot:
            if boot in session.retired and self._clock() - session.heard <= self._settled:
                return None, False
            session.retired.pop(boot, None)  # who followed it is silent now: it goes on alone
            session.retired[session.boot] = self._clock()
            while len(session.retired) > _MAX_RETIRED:
                del session.retired[next(iter(session.retired))]
            session.boot, session.asked = boot, None
            session.owed = None
        session.heard = self._clock()
        return session, new

    def _replaced(self, cluster: str, boot: str) -> None:
        """A report of a process that another one has followed: late, or of a second agent that goes on."""
        after = self._clock() - self._sessions[cluster].retired[boot]
        who = {"cluster": cluster}
        log.warning(
            "cluster %s: a report of an agent process that was followed %.0f s ago",
            cluster,
            after,
            extra=who,
        )
        if after > self._settled:
            self._on_clone(cluster, "two agent processes report for it at the same time")

    def _note_agent(self, cluster: str, session: Session, batch: ReportBatch) -> None:
        """Versions go to the Cluster when they change, with the position held at that moment."""
        agent: dict[str, Any] = {
            "version": batch.agent_version[:64],
            "kubernetesVersion": batch.kubernetes_version[:64],
            "keys": batch.keys,
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
