"""Taking over what another tool manages: what the hub asks of an agent, and what comes back. And what nobody assigns.

A request names the very bytes that it is about. Without `take` it is a question: the agent looks, and writes nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from agent.contract.model import WireModel

MAX_ENTRIES = 50
MAX_REPORTS = 20
MAX_ORPHANS = 200
MAX_NAMES = 16
MAX_REFS = 20
Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=1024)]
Path = Annotated[str, StringConstraints(max_length=400)]


class AdoptionRequest(WireModel):
    app: Key
    digest: Hash
    blob: Hash
    request: Annotated[str, StringConstraints(max_length=64)]
    """Whose answer it is; another one asks again."""
    take: bool = False
    """Hand the objects over, once the app runs at this digest. Else say only what that would mean."""


class PurgeRequest(WireModel):
    """A person's decision that what a former hub's agent left of an app here goes."""

    app: Key
    hub: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4,64}$")]
    """As the report of it says."""
    decided_at: datetime
    service_account: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """As whom: nothing else says it here."""


class AdoptionChange(StrEnum):
    CREATE = "Create"
    SAME = "Same"
    """What the bundle sets is live already."""
    DIFFERS = "Differs"
    PRUNE = "Prune"
    """The app's inventory has it, and the bundle has not."""
    REFUSED = "Refused"
    """The API server would not let it be applied."""


class AdoptionEntry(WireModel):
    """One object of the app, as it would be or was taken over."""

    ref: Annotated[str, StringConstraints(max_length=600)]
    change: AdoptionChange
    tools: list[Annotated[str, StringConstraints(max_length=128)]] = Field(default_factory=list, max_length=8)
    """Who manages it now, beside us."""
    restarts: bool = False
    """What differs is in the template of its Pods, or needs it to be made again."""
    paths: list[Path] = Field(default_factory=list, max_length=20)
    """What would change. `-` before one that would go."""
    left: list[Path] = Field(default_factory=list, max_length=20)
    """Fields of those tools that the bundle does not have: they stay as they are, and belong to nobody."""
    message: Text = ""


class AdoptionState(StrEnum):
    PLANNED = "Planned"
    TAKEN = "Taken"
    FAILED = "Failed"
    WAITING = "Waiting"
    """It is to be taken over once the app runs at that digest."""


class AdoptionReport(WireModel):
    app: Key
    request: Annotated[str, StringConstraints(max_length=64)]
    digest: Hash
    state: AdoptionState
    message: Text = ""
    objects: int = 0
    changes: dict[str, int] = Field(default_factory=dict, max_length=8)
    """Objects by `AdoptionChange`."""
    tools: dict[str, int] = Field(default_factory=dict, max_length=16)
    """Objects by who manages them now."""
    restarts: int = 0
    entries: list[AdoptionEntry] = Field(default_factory=list, max_length=MAX_ENTRIES)
    """The first, those that change something before the others."""


class OrphanReport(WireModel):
    """An app that the agent holds and that nobody assigns to it, or one of those on its way out."""

    app: Key
    hub: Annotated[str, StringConstraints(max_length=64)] = ""
    """Of which former hub, as the hash in its labels; empty: of the one that is told."""
    objects: int = 0
    kinds: list[Annotated[str, StringConstraints(max_length=300)]] = Field(
        default_factory=list, max_length=MAX_NAMES
    )
    namespaces: list[Annotated[str, StringConstraints(max_length=253)]] = Field(
        default_factory=list, max_length=MAX_NAMES
    )
    refs: list[Annotated[str, StringConstraints(max_length=600)]] = Field(
        default_factory=list, max_length=MAX_REFS
    )
    """The first objects of its inventory."""
    going: bool = False
    """A person decided that it goes."""
    message: Text = ""
