"""What a hub holds of its fleet for long is kept out of the garbage collector's way.

A full collection looks at every object that is alive: with 100,000 Applications in the caches, the better part of a
second in which no agent is answered. What is there once the fleet is known is frozen: it is freed as ever when the last
reference to it goes, and only cycles among it stay until the term ends.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SETTLED_SECONDS = (0.0, 30.0, 300.0)
"""After the caches are whole: at once, when the first plans are made, and when their renderings have come."""


async def keep(known: Callable[[], Awaitable[None]], *, moments: tuple[float, ...] = SETTLED_SECONDS) -> None:
    """Freeze what there is at these moments after `known`, until cancelled; then it is collected like all else."""
    try:
        await known()
        began = asyncio.get_running_loop().time()
        for moment in moments:
            await asyncio.sleep(began + moment - asyncio.get_running_loop().time())
            gc.freeze()
        await asyncio.Event().wait()
    finally:
        gc.unfreeze()
