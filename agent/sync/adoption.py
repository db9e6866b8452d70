"""Taking over on request what other tools manage: first a look without a write, then, when asked, the handover.

The look reads each object and has the API server try our apply without keeping it. The handover comes after the app
was applied in full at the digest that was asked for: it takes the other tools' entries and marks off, one patch an
object, as the Project's account. Nothing is deleted, and no field that a controller acts on changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from agent.apply.adopt import in_order
from agent.apply.failures import explain
from agent.apply.handover import Handover
from agent.apply.scoping import prepared
from agent.contract.adoption import (
    MAX_ENTRIES,
    AdoptionChange,
    AdoptionEntry,
    AdoptionReport,
    AdoptionState,
)
from agent.contract.errors import ApiError, AxletreeError
from agent.contract.wire import AssignedApp
from agent.link.backoff import Backoff
from agent.link.state import SavedApp
from agent.logs import about
from agent.sync.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from agent.apply.prepare import Desired
    from agent.apply.result import ChangeEntry
    from agent.contract.adoption import AdoptionRequest
    from agent.contract.bundle import Bundle
    from agent.contract.wire import AssignmentDocument
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.sync.app import App
    from agent.sync.obtain import Obtainer
    from agent.sync.roster import Roster

logger = logging.getLogger(__name__)

T = TypeVar("T")
_AT_ONCE = 8
_AGAIN = (1.0, 60.0)
_REF, _TEXT = 600, 1024
_DONE = frozenset({AdoptionState.PLANNED, AdoptionState.TAKEN})


class AdoptionFailed(AxletreeError):
    """Some objects could not be handed over; the others were."""

    reason = "AdoptionFailed"


@dataclass(slots=True)
class Adoptions:
    """Answers the requests of the document that is held, one after the other; `run` until cancelled."""

    client: RestClient
    mapper: RestMapper
    roster: Roster
    obtainer: Obtainer
    announce: Callable[[], None]
    """Have the hub told soon."""
    answers: Answers[AdoptionRequest, AdoptionReport] = field(init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _backoff: Backoff = field(default_factory=lambda: Backoff(base=_AGAIN[0], cap=_AGAIN[1]))

    def __post_init__(self) -> None:
        self.answers = Answers(self.announce)

    def follow(self, document: AssignmentDocument) -> None:
        self.answers.follow(document.adoptions)
        self.look()

    def look(self) -> None:
        """An app may be by now where a handover waits for it, or the hub be there to be asked."""
        if self.answers.requests:
            self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            failed = []
            for request in list(self.answers.requests.values()):
                with about(application=request.app):
                    failed.append(await self._serve(request))
            if any(failed):
                asyncio.get_running_loop().call_later(self._backoff.next(), self.look)
            else:
                self._backoff.reset()

    async def _serve(self, request: AdoptionRequest) -> bool:
        """Answer one request as far as that can be done now; whether it failed, and is to be tried again."""
        said = self.answers.given.get(request.app)
        if said is not None and said.state in _DONE:
            return False
        try:
            answer = await (self._take(request) if request.take else self._plan(request))
        except AxletreeError as error:
            logger.warning("%s: adoption: %s: %s", request.app, error.reason, error)
            answer = answer_to(request, AdoptionState.FAILED, message=f"{error.reason}: {error}")
        except Exception:
            logger.exception("%s: adoption failed unexpectedly", request.app)
            answer = answer_to(
                request, AdoptionState.FAILED, message="an unexpected failure: see the agent's log"
            )
        self.answers.give(request, answer)
        return answer.state is AdoptionState.FAILED

    async def _plan(self, request: AdoptionRequest) -> AdoptionReport:
        """Look at every object, and write nothing."""
        bundle = await self._bundle(request)
        app = self.roster.spare(request.app)
        user = await app.applier.accounts.user(bundle.policy)
        desired, failed = await self._prepared(app, bundle)
        handover = Handover(self.client, self.mapper, manager=self.roster.manager)
        entries = await _each(desired, lambda item: handover.look(item, user=user))
        entries += [
            AdoptionEntry(
                ref=str(each.ref)[:_REF], change=AdoptionChange.REFUSED, message=each.message[:_TEXT]
            )
            for each in failed
        ]
        wanted = {item.ref for item in desired}
        if bundle.policy.prune and not failed:
            entries += [
                AdoptionEntry(ref=str(ref)[:_REF], change=AdoptionChange.PRUNE)
                for ref in sorted(app.inventory.entries.keys() - wanted)
            ]
        return answer_to(request, AdoptionState.PLANNED, entries)

    async def _take(self, request: AdoptionRequest) -> AdoptionReport:
        """Hand over what the app has applied."""
        app = self.roster.apps.get(request.app)
        bundle = app.bundle if app is not None else None
        if app is None or bundle is None or app.orphan or app.tombstone or app.applied != request.digest:
            message = "the app is not applied at that digest yet"
            return answer_to(request, AdoptionState.WAITING, message=message)
        user = await app.applier.accounts.user(bundle.policy)
        desired, _ = await self._prepared(app, bundle)
        handover = Handover(self.client, self.mapper, manager=self.roster.manager)
        problems: list[str] = []

        async def one(item: Desired) -> AdoptionEntry | None:
            try:
                return await handover.take(item, user=user)
            except ApiError as error:
                problems.append(f"{item.ref}: {explain(error, item.ref).message}")
                return None

        taken = [entry for entry in await _each(desired, one) if entry is not None]
        if problems:
            raise AdoptionFailed(f"{len(problems)} of {len(desired)} objects: {min(problems)}")
        logger.info("%s: %d objects are taken over from other tools", request.app, len(taken))
        return answer_to(request, AdoptionState.TAKEN, taken)

    async def _bundle(self, request: AdoptionRequest) -> Bundle:
        app = self.roster.apps.get(request.app)
        held = app.saved.assigned.blob if app is not None and app.saved is not None else ""
        if app is not None and app.bundle is not None and held == request.blob:
            return app.bundle
        assigned = AssignedApp(app=request.app, digest=request.digest, blob=request.blob, release=0)
        data = await self.obtainer.bytes_of(assigned)
        return self.obtainer.decoded(SavedApp(assigned, data, passed=False))

    async def _prepared(self, app: App, bundle: Bundle) -> tuple[list[Desired], list[ChangeEntry]]:
        return await prepared(self.mapper, bundle.objects, bundle.policy, applyset=app.applyset, app=app.key)


def answer_to(
    request: AdoptionRequest,
    state: AdoptionState,
    entries: Sequence[AdoptionEntry] = (),
    *,
    message: str = "",
) -> AdoptionReport:
    """Counts of all, and the first entries in the order in which a person must see them."""
    return AdoptionReport(
        app=request.app,
        request=request.request,
        digest=request.digest,
        state=state,
        message=message[:_TEXT],
        objects=len(entries),
        changes=dict(Counter(entry.change.value for entry in entries)),
        tools=dict(Counter(tool for entry in entries for tool in entry.tools)),
        restarts=sum(entry.restarts for entry in entries),
        entries=in_order(entries)[:MAX_ENTRIES],
    )


async def _each(items: Iterable[Desired], work: Callable[[Desired], Awaitable[T]]) -> list[T]:
    """So many at once, the results in the order of the items; the first failure ends it."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Desired) -> T:
        async with slots:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return [task.result() for task in tasks]
