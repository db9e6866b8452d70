"""One object of an app, applied again because a person asked, whatever the app's drift policy is.

It happens in the app's own round, by the rules of every apply: the bundle that is enforced here and no other, as the
Project's account, recorded before it is written, and nothing else of the app touched. It never prunes, and never runs
ahead of its release: while that is not applied in full, the app's own order decides.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent.apply.result import Action
from agent.contract.errors import AxletreeError
from agent.contract.objectsync import MAX_OBJECT, ObjectSyncReport, ObjectSyncRequest, ObjectSyncState
from agent.sync.answers import Answers
from agent.sync.naming import NoSuchObject, named
from agent.sync.outcome import ROUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.apply.result import ChangeEntry
    from agent.contract.bundle import Bundle
    from agent.contract.manifest import ObjectRef
    from agent.contract.wire import AssignmentDocument
    from agent.sync.app import App
    from agent.sync.claims import Claims
    from agent.sync.keeper import Keeper

logger = logging.getLogger(__name__)

_TEXT = 1024


class ObjectSyncs:
    """The requests of the document that is held; `wake` has an app's round come."""

    def __init__(
        self, keeper: Keeper, claims: Claims, *, wake: Callable[[str], None], announce: Callable[[], None]
    ) -> None:
        self._keeper, self._claims, self._wake = keeper, claims, wake
        self.answers: Answers[ObjectSyncRequest, ObjectSyncReport] = Answers(announce)

    def follow(self, document: AssignmentDocument) -> None:
        """What is asked now: rounds of those apps answer it."""
        self.answers.follow(document.object_syncs)
        for key in self.answers.requests:
            if self._due(key) is not None:
                self._wake(key)

    async def serve(self, app: App, bundle: Bundle) -> None:
        """Apply what was asked, if it is due and the release is applied in full. A part of the app's round."""
        request = self._due(app.key)
        if request is None or not app.settled or app.saved is None:
            return
        if app.saved.assigned.digest != request.digest:
            return
        try:
            answer = await self._applied(request, app, bundle)
        except NoSuchObject as error:
            answer = _answer(request, ObjectSyncState.NO_SUCH_OBJECT, message=str(error))
        except AxletreeError as error:
            answer = _answer(request, ObjectSyncState.FAILED, message=f"{error.reason}: {error}")
        self.answers.give(request, answer)

    def settle(self, app: App) -> None:
        """The app's round is over: what could not be served in it waits, and why is told."""
        request = self._due(app.key)
        if request is not None:
            why = app.message or "that release is not the one that runs there"
            self.answers.give(request, _answer(request, ObjectSyncState.WAITING, message=why))

    def _due(self, key: str) -> ObjectSyncRequest | None:
        said = self.answers.given.get(key)
        return None if said is not None and said.final else self.answers.requests.get(key)

    async def _applied(self, request: ObjectSyncRequest, app: App, bundle: Bundle) -> ObjectSyncReport:
        ref = _meant(request.object, app, bundle)
        result = await app.applier.apply(
            bundle.objects,
            bundle.policy,
            inventory=app.inventory,
            save=lambda inventory: self._keeper.save_inventory(app, inventory, None),
            deadline=asyncio.get_running_loop().time() + ROUND_SECONDS,
            taken=self._claims.taken(app),
            only=ref,
        )
        others = {at: entry for at, entry in app.drift.items() if at != ref}
        app.take(result, now=asyncio.get_running_loop().time())
        app.drift |= others  # of which nothing was asked
        if not app.corrects:
            self._wake(app.key)  # this may have come after the round's own comparison
        # Its namespace may have an entry as well; what keeps it from being applied comes before that.
        entries = [
            *result.failed,
            *(entry for entry in result.entries if entry.ref.group_kind == ref.group_kind),
        ]
        if not entries:
            raise NoSuchObject(f"the bundle has no {ref}")
        logger.info("%s: %s is applied again, as asked: %s", app.key, ref, entries[0].action)
        return _told(request, ref, entries[0])


def _meant(text: str, app: App, bundle: Bundle) -> ObjectRef:
    """Raises `NoSuchObject`, with a word of its own for a hook."""
    try:
        return named(text, app.desired)
    except NoSuchObject as error:
        hooks = [hook.ref for hook in bundle.hooks]
        try:
            hook = named(text, hooks)
        except NoSuchObject:
            raise error from None
        raise NoSuchObject(f"{hook} is a hook, which runs once a release and never beside one") from error


def _told(request: ObjectSyncRequest, ref: ObjectRef, entry: ChangeEntry) -> ObjectSyncReport:
    if entry.action is Action.FAILED:
        message = f"{entry.reason}: {entry.message}" if entry.reason else entry.message
        return _answer(request, ObjectSyncState.FAILED, ref=str(ref), message=message)
    return _answer(
        request,
        ObjectSyncState.APPLIED,
        ref=str(ref),
        action=entry.action.value,
        message=entry.message,
    )


def _answer(
    request: ObjectSyncRequest, state: ObjectSyncState, *, ref: str = "", action: str = "", message: str = ""
) -> ObjectSyncReport:
    return ObjectSyncReport(
        app=request.app,
        request=request.request,
        state=state,
        ref=ref[:MAX_OBJECT],
        action=action,
        message=message[:_TEXT],
    )
