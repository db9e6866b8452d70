"""What can go wrong when a generator asks somebody. Every one freezes its set at the last good plan.

No message carries a token, nor what a host wrote beyond its status.
"""

from __future__ import annotations

from agent.contract.errors import AxletreeError, TerminalError, TransientError


class HostError(AxletreeError):
    """Base of all that asking may raise."""

    reason = "HostError"


class HostUnreachable(HostError, TransientError):
    """It did not answer, or not sensibly: a network, a 5xx, a page of HTML, half of a document."""

    reason = "HostUnreachable"


class HostBusy(HostUnreachable):
    """It limits our rate; `retry_after` is when it may be asked again."""

    reason = "HostBusy"


class HostDenied(HostUnreachable):
    """It answered that we may not, or that this is not there. Transient: a token or a grant heals it."""

    reason = "HostDenied"


class HostNotFound(HostDenied):
    """It answered 404: it is not there, or we may not know that it is."""

    reason = "HostNotFound"


class HostRefused(HostError, TerminalError):
    """We do not ask there: the address is malformed, redirects elsewhere, or the project does not allow it."""

    reason = "HostRefused"


class HostMisconfigured(HostError, TransientError):
    """The Secret, the ConfigMap or a field of the generator that says how to ask is missing or wrong."""

    reason = "HostMisconfigured"
