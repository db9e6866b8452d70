"""What a fleet's clusters may be called, and where a fleet says that it is one."""

from __future__ import annotations

import re

from hub.fleet.errors import FleetError

HUB = "hub"
STATE = "fleet.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")


class BadClusterNameError(FleetError):
    """A name that cannot be a node's or a folder's."""

    reason = "BadClusterName"


def checked(names: list[str], *, hub: str) -> list[str]:
    """Each name once, the hub first, the rest as given. Raises `BadClusterNameError`."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise BadClusterNameError(
                f"{name!r} is no cluster name: lower case letters, digits and dashes, up to 42"
            )
    return sorted(dict.fromkeys(names), key=lambda name: name != hub)
