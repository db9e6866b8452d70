"""The chain from an Application to what a person should look at, from statuses alone. Pure.

The controller has said why each Application waits, with every rule that it knows; so nothing is decided again
here, and the answer is what the hub acts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.cli.kinds import SHORT_ID, field, health, key_of, sync
from hub.cli.output import age

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract.manifest import Manifest

FOLLOWED = frozenset({"Dependency", "Failed", "Stale"})
"""Blockers whose `on` is an Application with reasons of its own."""
MAX_LINKS = 64


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that an Application waits for."""

    rule: str
    on: str
    message: str
    root: str = ""

    @property
    def next(self) -> str:
        """The Application to look at next; empty where the chain ends here."""
        return self.on if self.rule in FOLLOWED and "/" in self.on else ""

    def to_json(self) -> dict[str, str]:
        found = {"rule": self.rule, "on": self.on, "message": self.message, "root": self.root}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Link:
    """One Application of the chain: how it is, and what holds it."""

    app: str
    title: str
    state: str
    waits: tuple[Wait, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"app": self.app, "state": self.state, "waits": [wait.to_json() for wait in self.waits]}


def link_of(obj: Manifest, now: datetime) -> Link:
    """What an Application's status says of it."""
    blocked = field(obj, "status", "blockedBy") or ()
    waits = tuple(
        Wait(
            rule=str(each.get("edge", "")),
            on=str(each.get("on", "")),
            message=str(each.get("message", "")),
            root=str(each.get("root", "")),
        )
        for each in blocked
    )
    return Link(key_of(obj), title_of(obj), state_of(obj, now), waits)


def title_of(obj: Manifest) -> str:
    """`backend@eu1`, as blockers call it."""
    cluster = str(field(obj, "spec", "cluster"))
    return f"{obj['metadata']['name'].removesuffix(f'-{cluster}')}@{cluster}"


def state_of(obj: Manifest, now: datetime) -> str:
    """`is Degraded since 4m at 3f2c1a2b: Deployment backend: ImagePullBackOff`."""
    held = field(obj, "status", "deletion", "held")
    if held:
        return f"is to be deleted, which is Held: {held}"
    if field(obj, "status", "deletion"):
        return f"is being deleted ({field(obj, 'status', 'deletion', 'reason')})"
    synced, state = sync(obj), health(obj)
    if not synced:
        return "is not planned yet"
    target = str(field(obj, "status", "sync", "target"))
    at = f" at {target[:SHORT_ID]}" if target and synced == "Synced" else ""
    words = state if synced == "Synced" else f"{synced}, {state or 'Unknown'}"
    message = field(obj, "status", "health", "message") if synced == "Synced" else ""
    if synced == "Failed" or (not message and synced != "Blocked" and state != "Healthy"):
        message = field(obj, "status", "sync", "message") or message
    return f"is {words}{_since(obj, now)}{at}" + (f": {message}" if message else "")


def _since(obj: Manifest, now: datetime) -> str:
    """Since when it is not Ready; empty while it is."""
    ready = next((each for each in field(obj, "status", "conditions") or () if each["type"] == "Ready"), None)
    if ready is None or ready.get("status") != "False":
        return ""
    ago = age(ready.get("lastTransitionTime"), now)
    return f" since {ago}" if ago else ""
