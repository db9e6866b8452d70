"""Every refusal of the gateway: its HTTP status, and a reason that agents log and people look up."""

from __future__ import annotations

from agent.contract.errors import AxletreeError


class GatewayError(AxletreeError):
    """Answered as `application/problem+json`. Agents read any of these as "no information"."""

    status = 500
    reason = "GatewayError"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RequestInvalid(GatewayError):
    status = 400
    reason = "InvalidRequest"


class CertificateRequired(GatewayError):
    status = 401
    reason = "CertificateRequired"


class CertificateRefused(GatewayError):
    """Unknown cluster, not accepted, revoked: one answer, so that nobody learns which clusters exist."""

    status = 403
    reason = "CertificateRefused"

    def __init__(self) -> None:
        super().__init__("this certificate is not in force here")


class CertificateSuperseded(GatewayError):
    """Told to who holds a certificate of ours for this very cluster: a newer one is in force."""

    status = 403
    reason = "CertificateSuperseded"

    def __init__(self) -> None:
        super().__init__("another certificate of this cluster is in force")


class HubRecovered(GatewayError):
    """This hub came back from a backup in which the cluster is not: its agent says who it is by `return`."""

    status = 403
    reason = "HubRecovered"

    def __init__(self) -> None:
        super().__init__("this hub was recovered, and does not know the cluster yet")


class TokenRefused(GatewayError):
    status = 403
    reason = "TokenRefused"


class ClusterGoing(GatewayError):
    status = 409
    reason = "ClusterGoing"


class WebhookRefused(GatewayError):
    """No secret that is set up here signed it, or its host is not one of ours: one answer for both."""

    status = 403
    reason = "WebhookRefused"


class WebhookUnreadable(GatewayError):
    """Genuine, and not what its host's documents say."""

    status = 400
    reason = "WebhookUnreadable"


class NoInformation(GatewayError):
    """Not there, or not for this cluster: the two look alike."""

    status = 404
    reason = "NoInformation"


class BodyTimeout(GatewayError):
    status = 408
    reason = "Timeout"


class BodyTooLarge(GatewayError):
    status = 413
    reason = "BodyTooLarge"


class EncodingUnsupported(GatewayError):
    status = 415
    reason = "EncodingUnsupported"


class QueueFull(GatewayError):
    status = 429
    reason = "QueueFull"


class NotReady(GatewayError):
    """The caches are not whole yet, the hub's API server is away, or too many ask at once."""

    status = 503
    reason = "NotReady"


class IdentityInvalid(GatewayError):
    """The identity Secret does not read. Never replaced by a new one: every agent would be lost."""

    reason = "IdentityInvalid"


class AssignmentUnreadable(GatewayError):
    status = 503
    reason = "AssignmentUnreadable"
