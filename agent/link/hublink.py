"""The agent's side of its relation to one hub, for ever: sessions, and every change of who trusts whom.

Enforcement does not depend on it. Whatever happens here (refused, revoked, an unknown CA, no hub at all), what the
spoke holds stays in force; and each such state is told in one line of the log when it begins, and when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError, TransientError
from agent.contract.wire import Standing
from agent.link.assignment import AssignmentPoll
from agent.link.backoff import Backoff
from agent.link.bundles import BundleFetcher
from agent.link.identity import promoted, with_next_keys
from agent.link.join import come_back, join, renew
from agent.link.keys import answers_without_certificate, learn, learn_unproven
from agent.link.refusals import RECOVERED, REFUSALS, SUPERSEDED, UNKNOWN_ISSUER
from agent.link.session import HubSession, client_context

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.contract.token import JoinToken
    from agent.contract.wire import ReportAnswer
    from agent.link.enforcer import Enforcer
    from agent.link.identity import Identity, IdentityStore
    from agent.link.join import Facts
    from agent.link.reports import Reporter
    from agent.link.session import Answer

logger = logging.getLogger(__name__)

_CHECK = 3600.0
"""Wall time is looked at again after so many seconds: clocks are set, and machines sleep."""
_LOOK = 4.0
"""Between two looks for a person's answer: a token that is mounted, an acceptance."""
_REFUSALS, _FORBIDDEN = 400, 403
_CUTS = 3
"""So many connections in a row that ended without an answer are looked into."""
_EXPIRED = (
    "the certificate ended while no hub was there to renew it. What runs is kept as it is; to come back, give this "
    "agent a new token"
)
_CLONED = "another agent speaks with this one's identity: nothing is deleted here until a person has decided"


def spare_token(config: AgentConfig) -> JoinToken | None:
    """The token of an agent that has joined, if it reads: one that was emptied or cut hinders nothing that goes on."""
    try:
        return config.join_token()
    except AxletreeError as error:
        logger.warning("%s: %s: as if there were none", error.reason, error)
        return None


class ClusterRemoved(AxletreeError):
    """The hub recorded that this cluster is removed, all that it had was deleted, and it is let in no more."""

    reason = "ClusterRemoved"


class HubLink:
    """`run` until cancelled. Raises `ClusterRemoved` where there is nothing left to do."""

    def __init__(
        self,
        config: AgentConfig,
        identity: Identity,
        *,
        identities: IdentityStore,
        engine: Enforcer,
        reporter: Reporter,
        facts: Facts,
    ) -> None:
        self.identity = identity
        self._config, self._identities = config, identities
        self._engine, self._reporter, self._facts = engine, reporter, facts
        self._user_agent = f"axletree-agent/{facts.agent_version or '0'}"
        self._wake = asyncio.Event()
        self._refused = ""
        self._unverified = False
        self._cuts = 0
        self._keys = 0
        self._renew_at: float | None = None
        self._rotate = False
        self._standing = Standing.FINE
        self._told_expired = False

    async def run(self) -> None:
        """Session after session: each change of the identity begins a new one."""
        while True:
            self._refused, self._unverified, self._cuts, self._renew_at = "", False, 0, None
            context = client_context(self.identity)
            session, telling = (
                HubSession(self._config.hub, context, user_agent=self._user_agent, listener=self)
                for _ in range(2)
            )
            self._engine.linked(BundleFetcher(session))
            talking: list[asyncio.Task[None]] = [
                asyncio.create_task(self._poll(session), name="assignment"),
                # over a connection of their own: one gateway of several hears them all, for as long as it lives
                asyncio.create_task(self._reporter.run(telling), name="reports"),
            ]
            turning = asyncio.create_task(self._turn(session), name="identity")
            try:
                await asyncio.wait([*talking, turning], return_when=asyncio.FIRST_COMPLETED)
                for task in talking:
                    if task.done():
                        task.result()
                self.identity = await turning
            finally:
                self._engine.linked(None)
                turning.cancel()
                for task in talking:
                    task.cancel()
                try:
                    await asyncio.gather(*talking, turning, return_exceptions=True)
                finally:
                    try:
                        await session.close()
                    finally:
                        await telling.close()
            self._engine.renewed(self.identity)

    # -- what the hub lets us know

    def answered(self, answer: Answer) -> None:
        """See by any answer of the hub whether this agent is let in."""
        self._unverified, self._cuts = False, 0
        reason = answer.problem if answer.status == _FORBIDDEN else ""
        if answer.status >= _REFUSALS and reason not in REFUSALS and answer.problem != "NoInformation":
            return  # busy, starting or broken: that says nothing about us
        if reason == self._refused:
            return
        self._refused = reason
        if reason:
            logger.warning("%s: %s", reason, REFUSALS[reason])
            self._wake.set()
        else:
            logger.info("the hub lets this agent in again")
        self._judge()

    def unverified(self) -> None:
        """What answers shows a certificate that no CA which is trusted here vouches for."""
        if not self._unverified:
            self._unverified = True
            self._wake.set()

    def cut(self) -> None:
        """A connection ended without an answer, as those do whose certificate no CA of the hub issued."""
        self._cuts += 1
        if self._cuts == _CUTS:
            self._wake.set()

    def said(self, answer: ReportAnswer) -> None:
        """The answer to a report."""
        self._engine.reached()
        if answer.keys > self.identity.keys:
            self._keys = answer.keys
            self._wake.set()
        if answer.renew_within is not None and self._renew_at is None:
            pause = random.uniform(0.0, max(0.0, float(answer.renew_within)))  # noqa: S311 - spread over a fleet
            self._renew_at, self._rotate = asyncio.get_running_loop().time() + pause, answer.rotate
            self._wake.set()
        if answer.standing != self._standing:
            self._standing = answer.standing
            logger.warning("%s", _CLONED if answer.standing is Standing.CLONED else "the clone is settled")
            self._judge()

    def _judge(self) -> None:
        if self._refused == SUPERSEDED:
            self._engine.halt(f"{SUPERSEDED}: another agent has a newer certificate of this identity")
        else:
            self._engine.halt(f"Cloned: {_CLONED}" if self._standing is Standing.CLONED else "")

    # -- what follows from it

    async def _poll(self, session: HubSession) -> None:
        poll = AssignmentPoll(session, self.identity, self._engine.held, returning=self._reporter.announce)
        while True:
            self._engine.accept(await poll.next())

    async def _turn(self, session: HubSession) -> Identity:
        """Wait until the identity has to change, and change it, over any number of failures."""
        backoff = Backoff(base=2.0, cap=300.0)
        while True:
            await self._until_due()
            try:
                newer = await self._step(session)
                if newer is not None:
                    await self._identities.save(newer)
                    return newer
            except ClusterRemoved:
                raise
            except AxletreeError as error:
                asked = error.retry_after if isinstance(error, TransientError) else None
                pause = backoff.next(retry_after=asked)
                logger.warning("identity: %s: %s; again in %.1f s", error.reason, error, pause)
                await asyncio.sleep(max(0.2, pause))
                continue
            await asyncio.sleep(_LOOK * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _until_due(self) -> None:
        while not self._due():
            self._wake.clear()
            until = self.identity.renew_at - time.time()
            if self._renew_at is not None:
                until = min(until, self._renew_at - asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout(min(_CHECK, max(0.05, until))):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _due(self) -> bool:
        told = bool(self._refused) or self._unverified or self._cuts >= _CUTS
        return told or self._keys > self.identity.keys or self._renewing()

    def _renewing(self) -> bool:
        asked = self._renew_at is not None and asyncio.get_running_loop().time() >= self._renew_at
        return asked or time.time() >= self.identity.renew_at

    async def _step(self, session: HubSession) -> Identity | None:
        """The one change that is due; None: there is nothing to do but wait."""
        identity = self.identity
        if self._unverified:
            return await self._another_ca(identity)
        if self._cuts >= _CUTS:
            await self._look_into_cuts(identity)
            if not self._due():
                return None
        if self._refused:
            return await self._let_in(session, identity)
        if self._keys > identity.keys:
            newer = await learn(session, identity)
            logger.info("the hub's keys are of generation %d now", newer.keys)
            return newer if newer.keys > identity.keys else None
        if self._expired():
            if not self._told_expired:
                self._told_expired = True
                logger.warning("CertificateExpired: %s", _EXPIRED)
            again = await self._join_again(identity)
            if again is not None:
                return again
        prepared = with_next_keys(identity, sealing=self._rotate)
        if prepared is not identity:
            await self._identities.save(prepared)
            self.identity = identity = prepared
        renewed = await renew(session, identity)
        self._rotate = False
        logger.info("the certificate of %s is renewed", identity.cluster)
        return renewed

    async def _another_ca(self, identity: Identity) -> Identity | None:
        """The hub's CA is none that is known: signed keys may lead to it, or a person's token."""
        if self._new_token(identity) is not None:
            return await self._join_again(identity)
        return await learn_unproven(self._config.hub, identity, user_agent=self._user_agent)

    async def _look_into_cuts(self, identity: Identity) -> None:
        """Tell a hub that will not have our certificate from one that is merely restarting."""
        self._cuts = 0
        known = await answers_without_certificate(self._config.hub, identity, user_agent=self._user_agent)
        if known and self._refused != UNKNOWN_ISSUER:
            self._refused = UNKNOWN_ISSUER
            logger.warning("%s: %s", UNKNOWN_ISSUER, REFUSALS[UNKNOWN_ISSUER])

    async def _let_in(self, session: HubSession, identity: Identity) -> Identity | None:
        """Refused: the end, a hub that has to know us again, or a person's token."""
        again = await self._join_again(identity)
        if again is not None:
            return again
        if self._refused == "CertificateRefused" and self._engine.removed:
            raise ClusterRemoved(
                f"the cluster {identity.cluster} was removed from the hub {identity.hub_id}, and what it had from "
                "there is deleted: this agent has nothing left to do. To join again, give it a new token"
            )
        if self._refused == RECOVERED and await come_back(session, identity, self._facts):
            self._refused = ""
        return None

    async def _join_again(self, identity: Identity) -> Identity | None:
        """Join with a token that was not used yet, with a key of its own; None where there is none."""
        token = self._new_token(identity)
        if token is None:
            return None
        prepared = with_next_keys(identity)
        if prepared is not identity:
            await self._identities.save(prepared)
            self.identity = prepared
        joined = await join(self._config, token, promoted(prepared), self._facts)
        logger.info("joined the hub %s again as %s", joined.hub_id, joined.cluster)
        return joined

    def _new_token(self, identity: Identity) -> JoinToken | None:
        token = spare_token(self._config)
        if token is None or token.id == identity.token_id or token.hub != identity.hub_id:
            return None
        return token

    def _expired(self) -> bool:
        return 0.0 < self.identity.expires_at <= time.time()
