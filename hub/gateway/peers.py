"""Who is at the other end of a connection, from its client certificate. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509

from agent.contract.wire import CLUSTER_SAN_PREFIX
from hub.gateway.errors import CertificateRefused

if TYPE_CHECKING:
    from datetime import datetime

    from agent.contract.manifest import Manifest

ANNOTATION_RENEWAL = "axletree.dev/renewal"
"""On a Cluster: `<fingerprint in force>:<fingerprint of its renewal>`.

The renewed certificate takes over at its first use, not when it is issued: an agent that lost the answer
still has a certificate in force. Bound to the one in force, so that a revocation takes the renewal with it.
"""

_SAN = re.compile(re.escape(CLUSTER_SAN_PREFIX) + r"([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)")
_CACHED_PEERS = 20_000


@dataclass(frozen=True, slots=True)
class Peer:
    """A verified certificate's cluster, its fingerprint (hex sha256 over DER), and its end."""

    cluster: str
    fingerprint: str
    not_after: datetime


class Admission(Enum):
    REFUSED = "Refused"
    IN_FORCE = "InForce"
    RENEWED = "Renewed"
    """Issued to follow the one in force, and now used for the first time."""


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
    )


def admit(peer: Peer, cluster: Manifest | None, *, now: datetime) -> Admission:
    """Whether this certificate counts, by the Cluster as it is now.

    A Cluster that is being deleted still counts: its agent has tombstones to carry out.
    """
    if cluster is None or now >= peer.not_after or not (cluster.get("spec") or {}).get("accepted"):
        return Admission.REFUSED
    in_force = (cluster.get("status") or {}).get("fingerprint") or ""
    if not in_force:
        return Admission.REFUSED
    if peer.fingerprint == in_force:
        return Admission.IN_FORCE
    annotations = cluster["metadata"].get("annotations") or {}
    if annotations.get(ANNOTATION_RENEWAL) == renewal_of(in_force, peer.fingerprint):
        return Admission.RENEWED
    return Admission.REFUSED


def renewal_of(in_force: str, renewed: str) -> str:
    """Form the value of `ANNOTATION_RENEWAL`."""
    return f"{in_force}:{renewed}"
