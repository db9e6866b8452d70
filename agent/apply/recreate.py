"""Whether an object may be deleted to be made again: only what surely comes back, and what nobody asked to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.errors import RecreateRefused
from agent.apply.failures import causes, explain
from agent.apply.prepare import kept
from agent.contract.errors import ApiError

if TYPE_CHECKING:
    from agent.apply.prepare import Desired
    from agent.apply.remote import Remote
    from agent.contract.manifest import Manifest

_INVALID = 422
_HELD = "already allocated"
"""A port or an address that the very object has, which is to go."""
_NAME = "metadata.name"
"""The question is asked under another name, which some kinds derive from the rest."""


async def ask(remote: Remote, desired: Desired, live: Manifest, *, impersonate: str | None) -> None:
    """Raise where `live` must stay: `RecreateRefused`, or what the API server says that may pass by itself.

    A dry run makes the new one first: rights, policies and webhooks that refuse it would leave nothing behind.
    """
    if kept(live) or kept(desired.manifest):
        raise RecreateRefused(
            f"{desired.ref} has to be deleted and made again, and its keep annotation says that it is not deleted"
        )
    try:
        await remote.as_new(desired, impersonate=impersonate)
    except ApiError as error:
        if error.transient:
            raise
        if not _only_in_the_way(error):
            why = explain(error, desired.ref)
            raise RecreateRefused(
                f"{desired.ref} is not deleted, since it could not be made again: {why.reason}: {why.message}"
            ) from error


def _only_in_the_way(error: ApiError) -> bool:
    """Whether all that speaks against the new object is that the old one is still there."""
    found = causes(error)
    return (
        error.status == _INVALID
        and bool(found)
        and all(
            _HELD in str(cause.get("message", "")) or str(cause.get("field", "")) == _NAME for cause in found
        )
    )
