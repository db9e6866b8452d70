"""Who is at the other end of a connection, from its client certificate. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509

from agent.contract.wire import CLUSTER_SAN_PREFIX
from hub.gateway.certificates import BACKDATE
from hub.gateway.errors import CertificateRefused

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.gateway.identity import Recovery

ANNOTATION_RENEWAL = "axletree.dev/renewal"
"""On a Cluster: `<fingerprint in force>:<fingerprint of its renewal>`.

The renewed certificate takes over at its first use, not when it is issued: an agent that lost the answer
still has a certificate in force. Bound to the one in force, so that a revocation takes the renewal with it.
"""

ANNOTATION_SEALING = "axletree.dev/renewal-sealing-key"
"""On a Cluster: `<fingerprint of the renewal>:<base64 of the key to seal to once that is in force>`."""
ANNOTATION_ROTATE = "axletree.dev/rotate"
"""On a Cluster: a certificate's fingerprint; while it is in force, its agent is asked for new keys."""
ANNOTATION_RETURNING = "axletree.dev/returning"
"""On a Cluster that came back to a recovered hub which did not know it: the fingerprint that it showed."""
SETTLED = timedelta(seconds=60)
"""After a renewal, requests with the former certificate are late for at most so long."""
_SAME = timedelta(seconds=5)

_SAN = re.compile(re.escape(CLUSTER_SAN_PREFIX) + r"([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)")
_CACHED_PEERS = 20_000


@dataclass(frozen=True, slots=True)
class Peer:
    """A verified certificate's cluster, its fingerprint (hex sha256 over DER), its life, and who issued it."""

    cluster: str
    fingerprint: str
    not_after: datetime
    issued: datetime | None = None
    issuer: str = ""
    """Hex of the issuing CA's key identifier; empty where it is not told."""


class Admission(Enum):
    REFUSED = "Refused"
    IN_FORCE = "InForce"
    RENEWED = "Renewed"
    """Issued to follow the one in force, and now used for the first time."""
    RETURNED = "Returned"
    """Issued between the backup that the hub was recovered from and that recovery: it is the newest."""
    SUPERSEDED = "Superseded"
    """Of this cluster, and another one is in force."""
    UNKNOWN = "Unknown"
    """Of a cluster that a recovered hub has never heard of: who it is, is for a person to say."""


@lru_cache(maxsize=_CACHED_PEERS)
def peer_of(der: bytes) -> Peer:
    """Read a certificate that TLS has verified against our CA. Cached: agents show theirs for months.

    Raises `CertificateRefused` unless its only alternative name is one cluster's URI, matched whole: a name
    that merely begins like another's is another cluster.
    """
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CertificateRefused from error
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise CertificateRefused
    match = _SAN.fullmatch(names[0].value)
    if match is None:
        raise CertificateRefused
    return Peer(
        cluster=match[1],
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_after=certificate.not_valid_after_utc,
        issued=certificate.not_valid_before_utc + BACKDATE,
        issuer=_issuer(certificate),
    )


def _issuer(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return (found.key_identifier or b"").hex()


def admit(  # noqa: PLR0911 - one a verdict
    peer: Peer, cluster: Manifest | None, *, now: datetime, recovery: Recovery | None = None
) -> Admission:
    """Whether this certificate counts, by the Cluster as it is now.

    A Cluster that is being deleted still counts: its agent has tombstones to carry out. `recovery` says that the
    hub came back from a backup: certificates of after that backup are not known to it.
    """
    if now >= peer.not_after:
        return Admission.REFUSED
    if cluster is None:
        known = recovery is not None and peer.issued is not None and peer.issued <= recovery.at
        return Admission.UNKNOWN if known else Admission.REFUSED
    annotations = cluster["metadata"].get("annotations") or {}
    in_force = (cluster.get("status") or {}).get("fingerprint") or ""
    status = cluster.get("status") or {}
    if recovery is not None and "fingerprint" not in status and peer.issued and peer.issued <= recovery.at:
        return Admission.UNKNOWN  # declared, and never joined since: a revoked one has an empty fingerprint
    if not (cluster.get("spec") or {}).get("accepted") or not in_force:
        return Admission.REFUSED
    if peer.fingerprint == in_force:
        return Admission.IN_FORCE
    if annotations.get(ANNOTATION_RENEWAL) == renewal_of(in_force, peer.fingerprint):
        return Admission.RENEWED
    if recovery is not None and peer.issued is not None and recovery.backup <= peer.issued <= recovery.at:
        enrolled = _joined_at(cluster)
        if (enrolled is None or enrolled <= recovery.backup) and not _outlived(peer, status):
            return Admission.RETURNED
    return Admission.SUPERSEDED


def is_clone(peer: Peer, cluster: Manifest, *, now: datetime) -> bool:
    """Whether a superseded certificate is shown by a second agent of the same enrolment.

    One of before the last join belongs to an agent that somebody replaced on purpose. And for a moment after the
    newer one took over, requests of the same agent may still be under way with the older.
    """
    certificate = (cluster.get("status") or {}).get("certificate") or {}
    joined, since = _moment(certificate.get("joinedAt")), _moment(certificate.get("since"))
    if peer.issued is None or joined is None or since is None:
        return False
    return peer.issued >= joined - _SAME and now - since > SETTLED


def _outlived(peer: Peer, status: Manifest) -> bool:
    """Whether the one in force was issued after this one: what was renewed does not come back, a recovery or not."""
    ends = _moment((status.get("certificate") or {}).get("notAfter"))
    return ends is not None and peer.not_after < ends


def _joined_at(cluster: Manifest) -> datetime | None:
    return _moment(((cluster.get("status") or {}).get("certificate") or {}).get("joinedAt"))


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def renewal_of(in_force: str, renewed: str) -> str:
    """Form the value of `ANNOTATION_RENEWAL`."""
    return f"{in_force}:{renewed}"
