"""What the spoke can do, told to the hub once and again when it changes: charts are rendered by it.

It goes with a report, which otherwise stays small: the first of a process, one after a change, and one where the hub
lost what it knew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError, TransientError
from agent.kube.served import served_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.wire import ReportBatch
    from agent.kube.client import RestClient

logger = logging.getLogger(__name__)

_EVERY = 300.0
_RETRY = 20.0


class Capabilities:
    """The API versions that are served. `untold` are those that the next report should carry."""

    def __init__(self) -> None:
        self._served: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()

    @property
    def untold(self) -> list[str] | None:
        return list(self._served) if self._served != self._told else None

    def delivered(self, batch: ReportBatch, *, resend: bool) -> None:
        """A report has arrived; with `resend` the hub wants everything again."""
        if resend:
            self._told = ()
        elif batch.api_versions is not None:
            self._told = tuple(batch.api_versions)

    async def run(self, client: RestClient, *, changed: Callable[[], None]) -> None:
        """Look now and then, until cancelled. `changed` is called where there is something to tell."""
        while True:
            pause = _EVERY
            try:
                self._served = await served_versions(client)
            except (ApiError, TransientError, KeyError, TypeError) as error:
                # what was known stays known: no answer takes nothing away
                logger.info("what the API server serves: %s", error)
                pause = _RETRY
            if self.untold is not None:
                changed()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
