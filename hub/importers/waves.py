"""Argo CD's sync waves between Applications as edges: an app waits for those of the wave before its own."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from hub.importers.notes import Notes

WAVE = "argocd.argoproj.io/sync-wave"
_MAX_EDGES = 32


def ordered(apps: Sequence[Manifest], notes: Notes) -> None:
    """Write `dependsOn` into apps that carry a wave. Those of one namespace are taken for one app of apps."""
    by_namespace: dict[str, dict[int, list[Manifest]]] = {}
    for app in apps:
        wave = _wave(app)
        waves = by_namespace.setdefault(app["metadata"]["namespace"], {})
        waves.setdefault(wave, []).append(app)
    for waves in by_namespace.values():
        numbers = sorted(waves)
        for before, after in pairwise(numbers):
            for app in waves[after]:
                _wait(app, waves[before], notes.of(f"Application {app['metadata']['name']}"))


def _wave(app: Manifest) -> int:
    try:
        return int((app["metadata"].get("annotations") or {}).get(WAVE, 0))
    except ValueError:
        return 0


def _wait(app: Manifest, before: Sequence[Manifest], notes: Notes) -> None:
    if len(before) > _MAX_EDGES:
        notes.lost(f"metadata.annotations.{WAVE}", f"more than {_MAX_EDGES} apps are in the wave before it")
        return
    app["spec"]["dependsOn"] = [
        {
            "name": one["metadata"]["name"],
            "clusters": {"scope": "Same"}
            if one["spec"].get("cluster") == app["spec"].get("cluster")
            else {"names": [one["spec"].get("cluster")]},
        }
        for one in before
    ]
