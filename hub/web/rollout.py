"""Whether a commit is fully rolled out, from what the database says of its set. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.web.models import Rollout, RolloutState, Wave, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.history.rows import Row

_HALTED = "Halted"
_BAD = frozenset({"Degraded", "Missing", "Unknown"})


def verdict(
    revision: str,
    set_: Row,
    unwell: Sequence[Row],
    *,
    superseded: bool,
    unplanned: bool = False,
    frozen: bool = False,
) -> Rollout:
    """`set_` is the set's row, `unwell` its children that are not Ready.

    `superseded`: an earlier plan had it. `unplanned`: it was tried, and gave no plan. `frozen`: a later one did not,
    which says nothing about this one.
    """
    current = any(commit.startswith(revision) for commit in set_["revisions"].values())
    waves = [Wave(**each) for each in set_["waves"]]
    halted = [each.name for each in waves if each.state == _HALTED]
    state, message = RolloutState.PROGRESSING, str(set_["message"])
    if not current:
        state = RolloutState.SUPERSEDED if superseded else RolloutState.PENDING
        message = "another commit is wanted now" if superseded else "no plan has this commit yet"
        if unplanned:
            state, message = RolloutState.FAILED, f"no plan can be made of it: {set_['message']}"
    elif halted:
        state, message = RolloutState.FAILED, f"wave {halted[0]} is Halted: {message}".rstrip(": ")
    elif set_["settled"] and set_["ready"] and not unwell:
        state = RolloutState.HEALTHY
    elif frozen and not unwell:
        state, message = RolloutState.HEALTHY, f"of a later commit no plan can be made: {message}"
    elif set_["health"] == "Degraded":
        state = RolloutState.FAILED
    children = int(set_["children"])
    return Rollout(
        state=state,
        revision=revision,
        plan=set_["plan"],
        message=message,
        children=children,
        healthy=int(set_["counts"].get("Healthy", 0)),
        waves=waves,
        where=[_where(row) for row in sorted(unwell, key=_worst)] if current else [],
    )


def _worst(row: Row) -> tuple[bool, str]:
    return not (row["health"] in _BAD or row["sync"] == "Failed"), row["key"]


def _where(row: Row) -> Where:
    return Where(
        application=row["key"],
        cluster=row["cluster"],
        sync=row["sync"],
        health=row["health"],
        message=row["message"],
    )
