"""What a worker's failures are here: those that it tells, and those that it does not survive."""

from __future__ import annotations

from typing import Any

from agent.contract.errors import TerminalError
from hub.core.expansion import ExpansionError
from hub.render.explain import NoSuchField, NoSuchObject, TooMuchToTell
from hub.render.plain import ManifestError


class RenderFailed(TerminalError):
    """A worker gave no result for this call; the message says why."""

    reason = "RenderFailed"


class RenderCrashed(RenderFailed):
    reason = "RenderCrashed"


class RenderTimeout(RenderFailed):
    reason = "RenderTimeout"


class RenderOutOfMemory(RenderFailed):
    reason = "RenderOutOfMemory"


class RenderTooLarge(RenderFailed):
    reason = "RenderTooLarge"


_ANSWERS = {one.reason: one for one in (NoSuchObject, NoSuchField, TooMuchToTell)}
_BY_REASON = {"OutOfMemory": RenderOutOfMemory, "TooLarge": RenderTooLarge}


def failure_of(error: dict[str, Any]) -> TerminalError:
    """The error that a worker wrote down."""
    match error["type"]:
        case "expansion":
            return ExpansionError.from_wire(error)
        case "manifest":
            return ManifestError.from_wire(error)
        case "answer" if error["reason"] in _ANSWERS:
            return _ANSWERS[error["reason"]](error["detail"])
        case _:
            return _BY_REASON.get(error["reason"], RenderFailed)(error["detail"])
