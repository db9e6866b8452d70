"""A lock between processes, held by an open file: the kernel lets go of it when its holder dies."""

from __future__ import annotations

import asyncio
import fcntl
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_POLL = 0.2


@asynccontextmanager
async def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """Hold `path` (made if need be). `waiting` is called at each try while somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        yield
