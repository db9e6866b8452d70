"""Why a hub lets an agent in no more, and what a person is told to do about it."""

from __future__ import annotations

SUPERSEDED, RECOVERED, UNKNOWN_ISSUER = "CertificateSuperseded", "HubRecovered", "CertificateIssuerUnknown"
REFUSALS = {
    SUPERSEDED: "another agent has a newer certificate of this identity: a clone, a restored backup, or a cluster that "
    "joined in this one's place. Nothing is deleted here until a person has decided; to let this agent be the one, "
    "give it a new token",
    RECOVERED: "the hub was made anew and asks who this is",
    UNKNOWN_ISSUER: "the hub is there, and ends each connection that shows this agent's certificate: its CA was "
    "replaced while this agent was away. What runs is kept as it is; to come back, give this agent a new token",
    "CertificateRefused": "the hub refuses this agent's certificate: revoked, not accepted, or its cluster was "
    "removed. What runs is kept as it is; to come back, give this agent a new token",
}
