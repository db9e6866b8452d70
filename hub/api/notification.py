"""Who is told of what: fields of Applications, ApplicationSets, Projects and ClusterSets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from hub.api.model import ApiModel, Duration, Name


class Trigger(StrEnum):
    """What a message may be about."""

    PROGRESSING = "Progressing"
    """A new plan or release begins."""
    DEPLOYED = "Deployed"
    """It is Healthy in full at what its plan wants."""
    DEGRADED = "Degraded"
    """Its health is Degraded, or it is Stalled: a person has to change something."""
    DRIFTED = "Drifted"
    """Drift mode `Alert`, and it has differed for longer than `alertAfter`."""
    HELD = "Held"
    """A deletion, or a prune, waits for a person."""
    APPROVAL = "AwaitingApproval"
    """A wave waits for a person."""
    STALE = "Stale"
    """A cluster is not heard: for how long, its heartbeats decide."""
    RECOVERED = "Recovered"
    """What was told as Degraded, Drifted, Held or Stale is no longer so."""


class Notification(ApiModel):
    """Tell one sink."""

    sink: Name
    """A Secret in axletree-system with the label `axletree.dev/credentials: notification`, made by an administrator."""
    when: list[Trigger] = Field(default_factory=list, max_length=8)
    """Of what; none: what the sink's type is for."""
    after: Duration = "30s"
    """How long it must be so, or be well again, before it is told: what flaps faster is not told at all."""
    template: Annotated[str, StringConstraints(max_length=4096)] = ""
    """The text, as a Jinja2 template over the message's fields; the first line is its title."""


class NotificationOfMany(Notification):
    """Tell one sink of this object, and if asked of each child."""

    children: bool = False
    """Of each child as well; else of sets and hand-written Applications."""
