"""What is said where a hub is asked for something, and none is there to do it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.cli.liveness import LEASES, hub_life
from hub.cli.output import err

if TYPE_CHECKING:
    from hub.cli.reach import Reads


async def is_away(hub: Reads) -> bool:
    """Whether no controller leads; False where that may not be asked."""
    try:
        leases = (await hub.list(LEASES)).items
    except AxletreeError:
        return False
    return not hub_life(leases, datetime.now(UTC)).running


async def warn_if_away(hub: Reads) -> None:
    """What was asked for is kept on the API server, so that it is no failure."""
    if await is_away(hub):
        err.print(
            "axle: the hub is not running: it does this when it runs again (`axle status`)", style="yellow"
        )
