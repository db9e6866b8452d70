"""What can go wrong, by what the caller may do about it.

`reason` is CamelCase and stable: it is the condition's reason, the CLI's and the metrics' label.
"""

from __future__ import annotations

_PASSES = frozenset({410, 429})


class AxletreeError(Exception):
    """Base of every failure that this project raises on purpose."""

    reason: str = "Error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class TransientError(AxletreeError):
    """May pass by itself: try again, not before `retry_after` seconds where the other side said so."""

    reason = "Transient"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class TerminalError(AxletreeError):
    """Will not pass without a person's change: becomes `Stalled`."""

    reason = "Invalid"


class ApiError(AxletreeError):
    """A Kubernetes API server's answer other than success.

    `status` is the HTTP status, `api_reason` the `Status` object's reason (`NotFound`, `Conflict`, ...),
    `ref` what was asked for (a printable reference), `details` the `Status.details` as received.
    """

    reason = "ApiError"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        api_reason: str = "",
        ref: str = "",
        details: dict[str, object] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason=api_reason or None)
        self.status = status
        self.api_reason = api_reason
        self.ref = ref
        self.details = details or {}
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same may be asked with success later (429, 5xx, a server timeout; 410: as of a later version)."""
        return self.status in _PASSES or self.status >= 500  # noqa: PLR2004 - HTTP statuses
