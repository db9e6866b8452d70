from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from hub import memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def test_what_a_fleet_holds_is_not_looked_at_again_until_the_term_ends() -> None:
    known = asyncio.Event()
    term = asyncio.create_task(memory.keep(_until(known), moments=(0.0, 0.01)))
    fleet = [{"metadata": {"name": str(number)}, "status": [{}]} for number in range(5_000)]
    before = gc.get_freeze_count()
    assert any(each is fleet for each in gc.get_objects())
    known.set()
    async with asyncio.timeout(60):
        while gc.get_freeze_count() < before + len(fleet):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    assert not any(each is fleet for each in gc.get_objects()), "a full collection passes it over"
    term.cancel()
    await asyncio.gather(term, return_exceptions=True)
    assert gc.get_freeze_count() == 0
    assert any(each is fleet for each in gc.get_objects())


def _until(known: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await known.wait()

    return wait
