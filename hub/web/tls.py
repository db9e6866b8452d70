"""The API's side of TLS: a certificate of the hub's CA, and no client certificates: tokens say who asks."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from hub.gateway.tls import serve_as

if TYPE_CHECKING:
    from datetime import datetime

    from hub.gateway.identity import HubIdentity


def api_tls(identity: HubIdentity, hosts: tuple[str, ...], *, now: datetime) -> ssl.SSLContext:
    """TLS 1.2 and up. `serve_as` renews what it shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    serve_as(context, identity, hosts, now=now)
    return context
