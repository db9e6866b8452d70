"""How a round ends: when to come back, and what keeps an app from what is assigned to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, TerminalError, TransientError
from agent.contract.health import SyncState
from agent.link.session import HubRefused, HubUnreachable

if TYPE_CHECKING:
    from agent.contract.errors import AxletreeError
    from agent.link.backoff import Backoff
    from agent.sync.app import App

logger = logging.getLogger(__name__)

ROUND_SECONDS = 60.0
"""One deadline for all that a round does on the API server."""
TERMINAL_SECONDS = 60.0
"""A failure that only a person can end is looked at again after about so long."""
CONFIRM_SECONDS = 10.0
"""A deletion that a person has to confirm is looked at so often: what is to go is not watched."""
PENDING_SECONDS = 0.3
_BROKEN = 500
"""From this status on, the hub did not answer; below it, it said no."""


class PolicyUnknown(TerminalError):
    """An app is to be deleted and nobody knows as whom: not with the agent's own rights."""

    reason = "PolicyUnknown"


class Blocked(TransientError):
    """Apps that come first are not Healthy at what is assigned to them."""

    reason = "Blocked"

    def __init__(self, waiting: tuple[str, ...]) -> None:
        super().__init__(f"waits for {', '.join(waiting)} to be Healthy")


class HubAway(TransientError):
    """A bundle is needed and there is no session with the hub."""

    reason = "HubAway"


def broke(app: App, error: Exception) -> None:
    """Say of an app that its round ended by an error of the agent's own: what was said before is true no more.

    The error's kind alone is told: nobody knows what its text quotes.
    """
    app.sync = SyncState.FAILED if app.tombstone is None else SyncState.DELETING
    app.message = f"InternalError: {type(error).__name__} in the agent, whose log has more; it is tried again"


@dataclass(slots=True)
class Outcome:
    """When to come back, in seconds; None: when something happens."""

    again: float | None = None
    gone: bool = False
    """A deletion that is complete."""


def failed(app: App, error: AxletreeError) -> Outcome:
    """Report and come back; how soon depends on whether time alone may help."""
    return _failed(app, error, app.backoff, SyncState.FAILED)


def unobtained(app: App, error: AxletreeError) -> Outcome:
    """The same where what is assigned cannot be had, while what is enforced may be well."""
    app.unreached = isinstance(error, HubUnreachable) or (
        isinstance(error, HubRefused) and error.status >= _BROKEN
    )
    return _failed(app, error, app.obtaining, SyncState.SYNCING if app.unreached else SyncState.FAILED)


def _failed(app: App, error: AxletreeError, backoff: Backoff, sync: SyncState) -> Outcome:
    app.message = f"{error.reason}: {error}"
    if isinstance(error, Blocked | HubAway):
        app.sync = SyncState.BLOCKED if isinstance(error, Blocked) else SyncState.SYNCING
        return Outcome()  # woken by what it waits for
    app.sync = sync
    logger.info("%s: %s", app.key, app.message)
    transient = isinstance(error, TransientError) or (isinstance(error, ApiError) and error.transient)
    retry_after = error.retry_after if isinstance(error, TransientError | ApiError) else None
    pause = backoff.next(retry_after=retry_after)
    return Outcome(pause if transient else max(pause, TERMINAL_SECONDS))
