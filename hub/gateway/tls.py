"""The listener's side of TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from agent.kube.config import load_identity

if TYPE_CHECKING:
    from datetime import datetime

    from hub.gateway.identity import HubIdentity


def server_tls(identity: HubIdentity, hosts: tuple[str, ...], *, now: datetime) -> ssl.SSLContext:
    """TLS 1.2 and up with a fresh certificate. A client's is optional (who joins has none), but verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # no client resumes, and to make two is a third of what a handshake costs here
    serve_as(context, identity, hosts, now=now)
    return context


def serve_as(
    context: ssl.SSLContext, identity: HubIdentity, hosts: tuple[str, ...], *, now: datetime
) -> None:
    """Show new connections a certificate of the CA in use, and take clients' of all that are trusted.

    A context forgets no CA: what is no longer trusted has to be refused by who looks at the certificate.
    """
    pair = identity.issue_server(hosts, now)
    load_identity(context, certificate=pair.certificate, key=pair.key)
    context.load_verify_locations(cadata=identity.trust_pem)
