"""Bundles from the hub: by their hash, a few at once, verified as received."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.contract.canonical import sha256_hex
from agent.link.session import NoInformation

if TYPE_CHECKING:
    from agent.link.session import HubSession

PARALLEL = 4
_OK = 200
_SECONDS, _QUIET = 1800.0, 60.0
"""A megabyte takes minutes on a satellite's line, and begun anew it would never be there."""


class BundleMismatch(NoInformation):
    """The bytes do not have the hash that was assigned: cut, corrupt, or not the hub's."""

    reason = "BundleMismatch"


class BundleFetcher:
    """At most `PARALLEL` downloads at once over one session."""

    def __init__(self, session: HubSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(PARALLEL)

    async def fetch(self, blob: str) -> bytes:
        """The stored bytes, which have exactly that sha256. Raises `NoInformation`."""
        async with self._slots:
            answer = await self._session.exchange(
                "GET",
                f"/agent/v1/bundles/{blob}",
                headers={"Accept-Encoding": "gzip"},
                timeout=_SECONDS,
                quiet=_QUIET,
            )
        if answer.status != _OK:
            raise answer.refused(f"the bundle {blob[:12]}")
        if sha256_hex(answer.body) != blob:
            raise BundleMismatch(f"the bundle {blob[:12]}: its bytes do not have that hash")
        return answer.body
