"""Where the local fleet lives and what it has, from its files alone: cheap enough for every command."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hub.fleet.names import HUB, STATE

KUBECTL = "kubectl"


def home() -> Path:
    """The folder of the local fleet: $AXLETREE_HOME, else ~/.axletree."""
    return Path(os.environ.get("AXLETREE_HOME") or "~/.axletree").expanduser().absolute()


def cluster_names(root: Path) -> list[str]:
    """The clusters of the fleet in `root`, the hub first; empty where there is none."""
    names = _state(root).get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def provider_of(root: Path) -> str:
    """`processes` or `kind`; empty where there is no fleet."""
    return str(_state(root).get("provider", ""))


def kubeconfig_of(root: Path, cluster: str = HUB) -> Path | None:
    """The administrator's kubeconfig of one cluster; every provider keeps it at the same place."""
    path = root / "clusters" / cluster / "kubeconfig"
    return path if cluster in cluster_names(root) and path.exists() else None


def kubectl_of(root: Path) -> str:
    """A kubectl that is there: one is built beside the control planes, so nobody has to install it."""
    built = Path(str(_state(root).get("binary") or "/nowhere")).with_name(KUBECTL)
    return str(built) if built.exists() else KUBECTL


def _state(root: Path) -> dict[str, object]:
    try:
        found = json.loads((root / STATE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return found if isinstance(found, dict) else {}
