"""What this machine knows of its own fleet, sooner than any Lease tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.fleet.home import home, kubeconfig_of
from hub.fleet.services import HUB, Services

if TYPE_CHECKING:
    from pathlib import Path


def hub_stopped(kubeconfig: Path) -> bool:
    """Whether `kubeconfig` is of the local fleet's hub, whose process has ended."""
    if kubeconfig != kubeconfig_of(home()):
        return False
    records = [one for one in Services(home()).processes() if one.name == HUB]
    return bool(records) and not any(one.alive() for one in records)
