"""Sockets that notice a peer which is gone without a word."""

from __future__ import annotations

import socket
from typing import Any

KEEP_ALIVE = 60.0
"""Seconds that an idle connection is kept: below the 90 after which an API server closes it."""
_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 20),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 35_000),
)


def open_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket for one address (as getaddrinfo gives it) that fails after some 35 s without its peer.

    A watch is silent for minutes. Without probes by the kernel, a machine that lost power or a firewall that
    forgot the connection would look like an API server where nothing happens.
    """
    family, kind, protocol = address[:3]
    opened = socket.socket(family, kind, protocol)
    for level, name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is not None:
            opened.setsockopt(level, option, value)
    return opened
