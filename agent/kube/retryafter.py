"""`Retry-After`, as API servers, hubs and whatever stands before them write it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_LONGEST = 3600.0


def seconds_asked(text: str, *, now: float) -> float | None:
    """What a `Retry-After` asks for (RFC 9110, 10.2.3), at most an hour; None for none. `now`: seconds since the epoch.

    A date is read as well: what stands before a hub may write one.
    """
    if text.isascii() and text.isdecimal():
        return min(_LONGEST, float(text[:9]))
    try:
        at = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(_LONGEST, max(0.0, at.timestamp() - now))
