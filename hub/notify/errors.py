"""What can go wrong between the hub and a sink. No message carries a token, an address's path, or what a sink wrote."""

from __future__ import annotations

from agent.contract.errors import TerminalError, TransientError


class SinkAway(TransientError):
    """It did not answer in time, or says that it cannot now: tried again with growing pauses."""

    reason = "SinkAway"


class SinkRefused(TerminalError):
    """It will not take this message, now or later: the message is dropped."""

    reason = "SinkRefused"


class SinkInvalid(TerminalError):
    """The Secret that describes it lacks something, or names no type of ours."""

    reason = "SinkInvalid"
