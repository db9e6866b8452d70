"""What every output is read from, plain or sealed: the one live object that its rule means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError, TerminalError

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.contract.output import OutputRule, SealedRule

MAX_PROBLEM = 512
"""Characters that are said of an output without a value."""


class OutputUnreadable(TerminalError):
    """An output that has no value, whose object is not the app's, or whose value is too large.

    What is said of a sealed one holds nothing of the object.
    """

    reason = "OutputUnreadable"


def readable(rule: OutputRule | SealedRule, obj: Manifest | AxletreeError | None) -> Manifest:
    """The object that was read. Raises `OutputUnreadable` where there is none, or what its reading raised."""
    if obj is None:
        named = f"{rule.object.kind} {rule.object.name}"
        raise OutputUnreadable(f"the app has no {named}, or several: say group and namespace")
    if isinstance(obj, AxletreeError):
        raise obj
    return obj
