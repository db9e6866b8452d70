"""What a round says of its result, in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.result import CONFIRM, Action

if TYPE_CHECKING:
    from agent.apply.inventory import Inventory
    from agent.apply.result import ApplyResult

_MAX_NAMED = 3


def covered(inventory: Inventory, kept: Inventory) -> bool:
    """Whether `kept` names every object, every Job that ran, and what stayed: then nothing is lost with the rest."""
    return all(
        (held := kept.entries.get(ref)) is not None
        and (held.done, held.residue) == (entry.done, entry.residue)
        for ref, entry in inventory.entries.items()
    )


def arriving_text(others: tuple[str, ...]) -> str:
    return f"nothing is pruned before it is known what {', '.join(others[:3])} will want"


def unconfirmed(result: ApplyResult) -> str:
    found = result.unconfirmed
    named = "; ".join(f"{entry.ref}: {entry.message}" for entry in found[:_MAX_NAMED])
    more = f"; and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return f"{CONFIRM}: {named}{more}" if found else ""


def failures(result: ApplyResult) -> str:
    failed = [entry for entry in result.entries if entry.action is Action.FAILED]
    lines = [f"{entry.ref}: {entry.reason}: {entry.message}" for entry in failed[:_MAX_NAMED]]
    if len(failed) > _MAX_NAMED:
        lines.append(f"and {len(failed) - _MAX_NAMED} more")
    return "; ".join(lines)
