"""One object of an app, applied again because a person asked: what the hub asks of an agent, and what comes back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from agent.contract.adoption import Hash, Key, Text
from agent.contract.model import WireModel

MAX_OBJECT = 600


class ObjectSyncRequest(WireModel):
    app: Key
    digest: Hash
    """The release whose object is meant: of any other, nobody asked."""
    object: Annotated[str, StringConstraints(min_length=1, max_length=MAX_OBJECT)]
    """As a person names it: `KIND/NAME`, `KIND.GROUP/NAME`, `KIND/NAMESPACE/NAME`, the kind in any case."""
    request: Annotated[str, StringConstraints(max_length=64)]
    """Whose answer it is; another one asks again."""


class ObjectSyncState(StrEnum):
    APPLIED = "Applied"
    """It is live as the bundle says, whether that took a write or not."""
    FAILED = "Failed"
    NO_SUCH_OBJECT = "NoSuchObject"
    """The bundle has none of that name, or several that are meant."""
    WAITING = "Waiting"
    """That release is not applied in full yet: its order counts before a single object does."""


class ObjectSyncReport(WireModel):
    app: Key
    request: Annotated[str, StringConstraints(max_length=64)]
    state: ObjectSyncState
    ref: Annotated[str, StringConstraints(max_length=MAX_OBJECT)] = ""
    """Which object it was."""
    action: Annotated[str, StringConstraints(max_length=32)] = ""
    """`Created`, `Configured`, `Unchanged` or `Skipped`."""
    message: Text = ""

    @property
    def final(self) -> bool:
        return self.state is not ObjectSyncState.WAITING
