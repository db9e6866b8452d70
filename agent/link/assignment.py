"""What the hub wants here: the long poll, and the rules by which an answer is believed.

Only a complete document, signed by the hub over exactly these bytes, for this cluster, and not older than what
is held, says anything. All else is no information, and what is held stays in force. Absence is never a delete.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.signing import SignatureInvalid, verify
from agent.contract.wire import LONG_POLL_SECONDS, SIGNATURE_HEADER, AssignmentDocument
from agent.link.backoff import Backoff
from agent.link.session import HubRefused, HubUnreachable, NoInformation

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.link.identity import Identity
    from agent.link.session import Answer, HubSession

logger = logging.getLogger(__name__)

PATH = "/agent/v1/assignment"
_GRACE, _SLOWEST = 15.0, 600.0
_OK, _NOT_MODIFIED = 200, 304
_SHORT = 1.0
"""A 304 that came sooner than this many seconds did not wait: the next question does."""


class AssignmentUnreadable(NoInformation):
    reason = "AssignmentUnreadable"


class AssignmentForeign(NoInformation):
    """For another cluster, or from another hub."""

    reason = "AssignmentForeign"


class AssignmentStale(NoInformation):
    """Older than what is held: a hub that was restored, or a second one."""

    reason = "AssignmentStale"


@dataclass(frozen=True, slots=True)
class SignedAssignment:
    """A document as believed, with the bytes and the signature that prove it."""

    document: AssignmentDocument
    raw: bytes
    signature: str
    etag: str = ""

    @property
    def order(self) -> tuple[int, int]:
        return self.document.epoch, self.document.seq


def believe(
    raw: bytes, signature: str, *, identity: Identity, held: SignedAssignment | None, etag: str = ""
) -> SignedAssignment:
    """The document that `raw` proves, or a failure from which nothing follows.

    Raises `SignatureInvalid`, `AssignmentUnreadable`, `AssignmentForeign`, `AssignmentStale`.
    """
    verify(raw, signature, keys=identity.signing_keys)
    try:
        document = AssignmentDocument.model_validate_json(raw)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
        raise AssignmentUnreadable(f"a signed assignment that does not read: {fields}") from error
    if document.hub_id != identity.hub_id or document.cluster != identity.cluster:
        raise AssignmentForeign(
            f"an assignment of the hub {document.hub_id} for {document.cluster}, "
            f"not of {identity.hub_id} for {identity.cluster}"
        )
    believed = SignedAssignment(document, raw, signature, etag)
    if held is None or believed.order > held.order:
        return believed
    if believed.order < held.order:
        raise AssignmentStale(f"an assignment {believed.order} is older than {held.order}, which is held")
    if document != held.document:
        raise AssignmentStale(f"another assignment with the number {held.order}, which is held")
    return believed


class AssignmentPoll:
    """The long poll as a stream of ever newer documents. `refused` counts the rest, by reason.

    `returning` is called when the hub is asked again after it could not be, or did not answer: it may be another
    process, and what was said to the former one may be lost.
    """

    def __init__(
        self,
        session: HubSession,
        identity: Identity,
        held: SignedAssignment | None,
        *,
        returning: Callable[[], None] = lambda: None,
    ) -> None:
        self._returning = returning
        self._session = session
        self._identity = identity
        self._held = held
        self._etag = held.etag if held else ""
        self._backoff = Backoff(base=0.25, cap=20.0)
        self.refused: Counter[str] = Counter()

    async def next(self) -> SignedAssignment:
        """Wait, over any number of failures, for a document newer than the one held."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                newer = self._read(await self._ask())
            except (NoInformation, SignatureInvalid) as error:
                self.refused[error.reason] += 1
                wait = self._backoff.next(retry_after=error.retry_after)
                logger.info("assignment: %s; again in %.1f s", error, wait)
                await asyncio.sleep(wait)
                if isinstance(error, HubUnreachable | HubRefused):
                    self._returning()
                continue
            self._backoff.reset()
            if newer is not None:
                return newer
            if loop.time() - began < _SHORT:
                await asyncio.sleep(Backoff(base=_SHORT).next(retry_after=_SHORT))

    async def _ask(self) -> Answer:
        headers = {"Prefer": f"wait={LONG_POLL_SECONDS}", "Accept": "application/json"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        return await self._session.exchange(
            "GET",
            PATH,
            headers=headers,
            timeout=LONG_POLL_SECONDS + _SLOWEST,
            quiet=LONG_POLL_SECONDS + _GRACE,
            limit=16 * 1024 * 1024,
        )

    def _read(self, answer: Answer) -> SignedAssignment | None:
        """A newer document; None for what is held already."""
        if answer.status == _NOT_MODIFIED and self._etag:
            return None
        if answer.status != _OK:
            raise answer.refused("the assignment")
        etag = answer.headers.get("ETag", "")
        believed = believe(
            answer.body,
            answer.headers.get(SIGNATURE_HEADER, ""),
            identity=self._identity,
            held=self._held,
            etag=etag if len(etag) < 256 else "",  # noqa: PLR2004 - an ETag of ours is a short hash
        )
        known = self._held is not None and believed.order == self._held.order
        self._held, self._etag = believed, believed.etag
        return None if known else believed
