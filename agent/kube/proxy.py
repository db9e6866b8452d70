"""The way out that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in either case of letters.

`NO_PROXY` is read as kubectl and every other program in Go reads it, networks included: it is what people set for all
of their Pods at once, and Python's own reader sends half of it through the proxy.

https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_USER = re.compile(r"(?:(?<=//)|(?<![^\s'\"(]))[^\s/'\"]+@")


def environment_proxy(server: str) -> str | None:
    """The proxy for the address `server`; never one for loopback."""
    parts = urlsplit(server)
    proxy = _value(f"{parts.scheme}_proxy") if parts.scheme in _PORTS else ""
    if not proxy:
        return None
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    excepted = any(_covers(each.strip().lower(), host, port) for each in _value("no_proxy").split(","))
    return None if excepted else proxy


def without_users(text: str) -> str:
    """Without user parts of addresses: a proxy's password stands there, and libraries quote what did not work."""
    return _USER.sub("***@", text)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether one entry of `NO_PROXY` is about this host: a name and all below it, an address, or a network."""
    if not entry or entry == "*":
        return bool(entry)
    address = _address(host)
    if "/" in entry:
        return address is not None and _within(address, entry)
    found = re.fullmatch(r"\[(?P<six>[^\]]+)\](?::(?P<a>[0-9]+))?|(?P<name>[^:]+)(?::(?P<b>[0-9]+))?", entry)
    if found is None:
        return address is not None and address == _address(entry)
    if (found["a"] or found["b"] or str(port)) != str(port):
        return False
    name = found["six"] or found["name"]
    if address is not None:
        return address == _address(name)
    name = name.removeprefix("*").removeprefix(".")
    return host == name or host.endswith(f".{name}")


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _value(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper()) or ""
