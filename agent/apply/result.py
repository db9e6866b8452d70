"""What a round did, as values: the caller reports them, requeues by them, and logs what it wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.apply.diff import Change
    from agent.apply.inventory import Inventory
    from agent.contract.manifest import Manifest, ObjectRef


class Action(StrEnum):
    CREATED = "Created"
    CONFIGURED = "Configured"
    UNCHANGED = "Unchanged"
    PRUNED = "Pruned"
    """Asked to go, and gone. What a finalizer holds is `pending`, and stays in the inventory."""
    SKIPPED = "Skipped"
    """Left alone on purpose; `reason` says why."""
    FAILED = "Failed"


CONFIRM = "ConfirmDelete"
"""Reason of a skipped deletion that a person has to confirm."""
MOVED = "Moved"
"""Reason of a skipped object that another app wants: it is that app's, or will be."""
TAKEN = "OwnedByAnotherApp"
"""Reason of a failed object that another app of this agent owns."""
COMPLETED = "Completed"
"""Reason of a skipped Job that completed for this content and is gone by its TTL: count it as Healthy."""


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """One object in one round. `live` is the newest state that the round saw, None where it saw none."""

    ref: ObjectRef
    action: Action
    reason: str = ""
    message: str = ""
    transient: bool = False
    """Of a failure: whether it may pass without a person."""
    retry_after: float | None = None
    uid: str = ""
    resource_version: str = ""
    live: Manifest | None = field(default=None, repr=False)
    residue: tuple[Change, ...] = ()
    """Fields that left the bundle, and that the API server kept all the same."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One object that is not as the bundle wants it: the paths that differ, or that it is not there."""

    ref: ObjectRef
    paths: tuple[str, ...] = ()
    missing: bool = False
    manager: str = ""
    """Who wrote it last, as far as the API server says."""
    at: str = ""
    """When that was."""
    changes: tuple[Change, ...] = ()
    """The first of the paths, with values that may be told."""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """One round. `ok`: everything wanted is applied. `pending`: deletions that wait for finalizers."""

    entries: tuple[ChangeEntry, ...]
    inventory: Inventory
    ok: bool
    held: str = ""
    """A CamelCase reason for which nothing was done, until a person decides."""
    pending: tuple[ObjectRef, ...] = ()
    waiting: str = ""
    """What the next step of the bundle waits for; empty once everything is applied."""

    @property
    def unconfirmed(self) -> tuple[ChangeEntry, ...]:
        """Deletions that wait for a person, because data would go."""
        return tuple(entry for entry in self.entries if entry.reason == CONFIRM)

    @property
    def failed(self) -> tuple[ChangeEntry, ...]:
        return tuple(entry for entry in self.entries if entry.action is Action.FAILED)

    @property
    def transient(self) -> bool:
        """Whether trying again without a new bundle may help."""
        return bool(self.pending) or any(entry.transient for entry in self.failed)

    @property
    def retry_after(self) -> float | None:
        """The longest wait that the API server asked for."""
        return max((e.retry_after for e in self.failed if e.retry_after is not None), default=None)

    @property
    def changed(self) -> bool:
        quiet = {Action.UNCHANGED, Action.SKIPPED}
        return any(entry.action not in quiet for entry in self.entries)
