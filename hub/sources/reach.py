"""Addresses that no source is at, and that answer whoever is on the machine: link-local, and clouds' metadata services.

Whoever may name a repository would have the hub ask them; they tell a machine's own credentials to who asks. Other
private addresses are left alone: that is where a company's own Git host, registry and charts are. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER = tuple(
    map(
        ipaddress.ip_network,
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "168.63.129.16/32", "100.100.100.200/32"),
    )
)
"""Link-local of both versions; the metadata services that are elsewhere: of AWS, Azure, Alibaba."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NUMERIC = re.compile(r"[0-9a-fA-FxX.]+")


def is_never_asked(host: str) -> bool:
    """Whether it is such an address, in any spelling that a resolver takes; a name is none."""
    plain = host.strip("[]")
    if not plain[:1].isdigit() and ":" not in plain:  # names, which most are
        return False
    found = _address(plain.partition("%")[0])
    return found is not None and any(found in network for network in _NEVER)


def _address(text: str) -> _Address | None:
    try:
        found: _Address = ipaddress.ip_address(text)
    except ValueError:
        if not _NUMERIC.fullmatch(text):
            return None
        try:
            # `2852039166`, `0xa9fea9fe` and `169.254.43518` are addresses to every C library
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except OSError:
            return None
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return found.ipv4_mapped or found
    return found
