"""What the controller holds in memory between events. All of it can be rebuilt from CRs, Git and reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from hub.core.inputs import Bound
    from hub.core.outputs import Exported


@dataclass(frozen=True, slots=True)
class Target:
    """What the current plan gives one child. `problem` set: there is no new target, and this says why."""

    plan: int
    digest: str = ""
    blob: str = ""
    revision: str = ""
    problem: str = ""
    """`Reason: message` of a render or project error."""
    permanent: bool = True
    """Whether only a change can help (Stalled), or time may (a source that cannot be reached)."""
    pinned: str = ""
    """By whom it is held at an earlier release (`person`, `wave`); empty: it is what the plan renders."""
    rendered: str = ""
    """What the plan renders, where it is pinned to something else."""
    unbound: bool = False
    """It has inputs, and waits for its producers to be Healthy at their own targets."""

    @classmethod
    def from_status(cls, obj: Manifest) -> Target | None:
        """What an earlier process had decided."""
        sync: dict[str, Any] = (obj.get("status") or {}).get("sync") or {}
        if not sync.get("target"):
            return None
        return cls(
            plan=int(sync.get("plan", 0)),
            digest=sync["target"],
            blob=sync.get("targetBlob", ""),
            revision=sync.get("revision", ""),
        )


@dataclass(slots=True)
class SetState:
    """One ApplicationSet (or one hand-written Application) between passes."""

    plan: dict[str, Any] = field(default_factory=dict)
    """status.plan as last written or read."""
    problem: tuple[str, str] | None = None
    """(reason, message) of the last failed expansion: the last good plan stays."""
    permanent: bool = True
    attempted: dict[str, str] = field(default_factory=dict)
    """`repo@revision` -> commit of that expansion, of the repositories that the set names."""
    rest_until: datetime | None = None
    """Its templates ran into the time limit: until then no pass waits for them, unless a person changes or asks."""
    generation: int = 0
    refresh: str = ""
    """The refresh annotation's value that was served last."""
    asked: tuple[str, int, str] | None = None
    """The object's uid, generation and refresh annotation that a pass was asked for last: the same change is heard of
    several times before that pass is through, and a second one would only ask Git again."""
    revisions: dict[str, str] = field(default_factory=dict)
    """`repo@revision` -> commit of everything that this key reads."""


@dataclass(slots=True)
class State:
    targets: dict[str, Target] = field(default_factory=dict)
    sets: dict[str, SetState] = field(default_factory=dict)
    apps: dict[str, SetState] = field(default_factory=dict)
    """Hand-written Applications: sets of one."""
    bound: dict[str, Bound] = field(default_factory=dict)
    """What an app's inputs were when its target was made."""
    bound_at: dict[str, datetime] = field(default_factory=dict)
    input_changes: dict[str, tuple[datetime, ...]] = field(default_factory=dict)
    """When an app took new values of its inputs, as often as counts."""
    outputs: dict[str, tuple[Exported, ...]] = field(default_factory=dict)
    """The last good value of each output, by app."""
    flapping: dict[str, str] = field(default_factory=dict)
    """Apps whose inputs change too often, and what is said of them."""

    def set(self, key: str) -> SetState:
        return self.sets.setdefault(key, SetState())

    def app(self, key: str) -> SetState:
        return self.apps.setdefault(key, SetState())
