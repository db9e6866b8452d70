"""What the agent says of its apps: at once, then paced, always the last state; and a heartbeat in silence.

One sender: while a batch is on its way, newer states replace older ones and go with the next, so that a slow
hub gets fewer and larger batches instead of a queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.wire import MAX_REPORT_BYTES, ReportAnswer, ReportBatch
from agent.link.backoff import Backoff
from agent.link.session import HubUnreachable, NoInformation

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.wire import AppReport
    from agent.link.session import HubSession

logger = logging.getLogger(__name__)

PATH = "/agent/v1/reports"
BURST = 5
PER_SECOND = 1.0
_OK = 200
_MAX_BATCH = 2000
_BATCH_BYTES = MAX_REPORT_BYTES // 2
_ANSWER_BYTES = 64 * 1024


@dataclass(slots=True)
class Pace:
    """One app's allowance: `BURST` reports at once, then `PER_SECOND`. Pure: the time comes in."""

    tokens: float = BURST
    at: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next report may go; 0 if it may go now."""
        self.tokens = min(BURST, self.tokens + (now - self.at) * PER_SECOND)
        self.at = now
        return 0.0 if self.tokens >= 1.0 else (1.0 - self.tokens) / PER_SECOND

    def take(self) -> None:
        self.tokens -= 1.0


class Reporter:
    """The latest report of each app, and a loop that brings them to the hub.

    `envelope` gives the batch without reports as it should be now (order held, versions, boot, orphans);
    `delivered` is called with the one that has arrived, and whether the hub wants everything again; `answered`
    with all that it said.
    """

    def __init__(
        self,
        *,
        envelope: Callable[[], ReportBatch],
        heartbeat: float,
        delivered: Callable[[ReportBatch, bool], None] = lambda _batch, _resend: None,
        answered: Callable[[ReportAnswer], None] = lambda _said: None,
    ) -> None:
        self._envelope = envelope
        self._delivered = delivered
        self._answered = answered
        self._heartbeat = heartbeat
        self._latest: dict[str, AppReport] = {}
        self._dirty: dict[str, None] = {}
        self._pace: dict[str, Pace] = {}
        self._wake = asyncio.Event()
        self._count = 0
        self._gateway, self._arrived = "", 0
        self._announce = True
        self._due: float | None = None
        """When a batch goes at the latest, whatever it says."""

    def put(self, report: AppReport) -> None:
        """Replace the app's state; one that says nothing new but its time is not sent."""
        held = self._latest.get(report.app)
        self._latest[report.app] = report
        if held is not None and held.model_copy(update={"observed_at": report.observed_at}) == report:
            return
        self._dirty[report.app] = None
        self._wake.set()

    def forget(self, app: str) -> None:
        """The hub dropped it: there is nothing to say about it any more."""
        for held in (self._latest, self._dirty, self._pace):
            held.pop(app, None)

    def latest(self, app: str) -> AppReport | None:
        return self._latest.get(app)

    def announce(self, *, within: float = 0.0) -> None:
        """Send a batch even if it is empty: what is held changed, or the process is new.

        It may wait `within` so many seconds for something to say: the next batch tells it as well, and one that is on
        its way would hold that up.
        """
        if within <= 0.0:
            self._announce = True
        elif self._due is None:
            self._due = asyncio.get_running_loop().time() + within
        self._wake.set()

    async def run(self, session: HubSession) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(base=0.25, cap=20.0)
        beat = loop.time()
        while True:
            wait = await self._idle(until=beat)
            if wait is None:
                try:
                    await self._send(session)
                except NoInformation as error:
                    pause = backoff.next(retry_after=error.retry_after)
                    logger.info("reports: %s; again in %.1f s", error, pause)
                    await asyncio.sleep(pause)
                    self._announce = True
                    continue
                backoff.reset()
                beat = loop.time() + self._heartbeat * random.uniform(0.85, 1.0)  # noqa: S311 - jitter

    async def _idle(self, *, until: float) -> float | None:
        """Sleep until there is something to send (None) or to look again (the seconds slept at most)."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._due is not None:
            until = min(until, self._due)
        if self._announce or now >= until:
            return None
        waits = [self._pace.setdefault(app, Pace(at=now)).wait(now) for app in self._dirty]
        if waits and min(waits) <= 0.0:
            return None
        wait = min([until - now, *waits])
        self._wake.clear()
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        return wait

    async def _send(self, session: HubSession) -> None:
        await asyncio.sleep(0)  # what becomes ready in the same turn of the loop goes along
        self._announce, self._due = False, None
        envelope = self._envelope().model_copy(update={"gateway": self._gateway, "answered": self._arrived})
        batch, taken = self._batch(envelope)
        count = self._count
        self._wake.clear()
        try:
            said = await _exchange(session, batch)
        except (NoInformation, asyncio.CancelledError):  # a session that ends is followed by another
            unsaid = [app for app in taken if app in self._latest]
            self._dirty = dict.fromkeys([*unsaid, *self._dirty])
            raise
        self._gateway, self._arrived = said.gateway, count
        self._delivered(envelope, said.resend)
        self._answered(said)
        if said.resend:
            fresh = [app for app in self._latest if app not in taken]
            self._dirty.update(dict.fromkeys(fresh))
            for app in fresh:
                self._pace.pop(app, None)
            if fresh:
                self._announce = True

    def _batch(self, envelope: ReportBatch) -> tuple[bytes, list[str]]:
        """The next batch as bytes, and the apps in it: those whose pace allows it, up to the bounds."""
        now = asyncio.get_running_loop().time()
        self._count += 1
        head = json.dumps(envelope.model_copy(update={"count": self._count}).wire(), separators=(",", ":"))
        pieces: list[str] = []
        taken: list[str] = []
        size = len(head)
        for app in self._dirty:
            pace = self._pace.setdefault(app, Pace(at=now))
            if pace.wait(now) > 0.0:
                continue
            piece = json.dumps(self._latest[app].wire(), separators=(",", ":"))
            size += len(piece) + 1
            if pieces and (size > _BATCH_BYTES or len(pieces) >= _MAX_BATCH):
                break
            pace.take()
            pieces.append(piece)
            taken.append(app)
        for app in taken:
            del self._dirty[app]
        body = f'{head[:-1]},"reports":[{",".join(pieces)}]}}'
        return body.encode(), taken


async def _exchange(session: HubSession, batch: bytes) -> ReportAnswer:
    """Bring one batch. Raises `NoInformation`."""
    answer = await session.exchange("POST", PATH, body=batch, limit=_ANSWER_BYTES)
    if answer.status != _OK:
        raise answer.refused("the reports")
    try:
        return ReportAnswer.model_validate_json(answer.body)
    except ValidationError as error:
        raise HubUnreachable("the reports: an answer that does not read") from error
