"""What an agent is told of itself with the answer to a report. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.wire import Standing
from hub.gateway.identity import Stage
from hub.gateway.peers import ANNOTATION_ROTATE

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.gateway.identity import HubIdentity
    from hub.gateway.peers import Peer

_RENEWALS_A_SECOND = 50
"""How many agents at most are asked to renew at once when the CA changes: each costs a signature and two writes."""


def standing(peer: Peer, cluster: Manifest | None, identity: HubIdentity, fleet: int) -> dict[str, Any]:
    """Fields of `ReportAnswer` beside those of reports. `fleet` is how many clusters there are."""
    told: dict[str, Any] = {"keys": identity.generation}
    if cluster is None:
        return told
    if (cluster.get("status") or {}).get("clone"):
        return told | {"standing": Standing.CLONED}  # and no renewal: it would decide which of them stays
    if _asked(peer, cluster):
        return told | {"renew_within": 1, "rotate": True}
    if identity.stage is Stage.ACTIVE and peer.issuer != identity.authority.key_id:
        return told | {"renew_within": max(5, fleet // _RENEWALS_A_SECOND)}
    return told


def _asked(peer: Peer, cluster: Manifest) -> bool:
    """By the certificate that is to go, not by a time: the clock of who asked may be another."""
    return (cluster["metadata"].get("annotations") or {}).get(ANNOTATION_ROTATE) == peer.fingerprint
