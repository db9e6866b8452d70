"""Keeps the newest assignment on the spoke, so that an agent that starts again knows what it had decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from agent.link.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.link.assignment import SignedAssignment
    from agent.link.state import StateStore

logger = logging.getLogger(__name__)

_DOCUMENT_AFTER = 20.0


class DocumentKeeper:
    """The document that is held, and the order of the one that the spoke's store is known to have.

    Releases do not wait for it: each is kept with its own app, and with the order of the document that assigned it.
    So a rush of documents costs one write after it. Deletions do: `on_kept` says that they may begin.
    """

    def __init__(self, store: StateStore, *, on_kept: Callable[[], None]) -> None:
        self.held: SignedAssignment | None = None
        self._kept: tuple[int, int] | None = None
        self._store = store
        self._on_kept = on_kept
        self._dirty, self._urgent = asyncio.Event(), asyncio.Event()

    @property
    def order(self) -> tuple[int, int]:
        return self.held.order if self.held else (0, 0)

    @property
    def kept(self) -> bool:
        """Whether what is held is on the spoke, too."""
        return self._kept == self.order

    def restore(self, document: SignedAssignment | None) -> None:
        self.held = document
        self._kept = document.order if document else None

    def hold(self, document: SignedAssignment) -> None:
        self.held = document

    def keep(self, *, urgent: bool) -> None:
        """Have the held document written: soon, or, where a deletion waits for that, at once."""
        self._dirty.set()
        if urgent:
            self._urgent.set()

    async def run(self) -> None:
        """Write until cancelled, each time the newest document."""
        backoff = Backoff(base=0.2, cap=30.0)
        while True:
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DOCUMENT_AFTER * random.uniform(0.7, 1.3)):  # noqa: S311 - jitter
                    await self._urgent.wait()
            self._urgent.clear()
            self._dirty.clear()
            held = self.held
            if held is None or self.kept:
                continue
            try:
                await self._store.save_assignment(held)
            except AxletreeError as error:
                pause = backoff.next()
                logger.warning("the assignment %s is not kept: %s; again in %.1f s", held.order, error, pause)
                await asyncio.sleep(pause)
                self.keep(urgent=True)
                continue
            backoff.reset()
            self._kept = held.order
            self._on_kept()

    async def finish(self, *, seconds: float) -> None:
        """The last write. Raises AxletreeError, TimeoutError."""
        async with asyncio.timeout(seconds):
            if self.held is not None and not self.kept:
                await self._store.save_assignment(self.held)
