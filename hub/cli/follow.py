"""Following one root until everything under it is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hub.cli.kinds import APPS, CLUSTERS, SETS, field, health, key_of, short, sync, why
from hub.cli.liveness import LEASES, leads
from hub.cli.verdict import Wanted, reached
from hub.cli.watching import following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_SHOWN = 3
_PACE = 0.2
"""Seconds between two looks: a fleet that starts changes a hundred times a second."""
_RANK = ("Unknown", "Degraded", "Missing", "Progressing", "Suspended", "", "Healthy")


async def until_led(client: RestClient, pid: int, *, seconds: float) -> bool:
    """Until the hub of this process leads; a crashed one keeps its Lease for some seconds."""
    async with following(client, LEASES) as followed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not leads(followed.objects(), pid, datetime.now(UTC)):
                    await followed.change()
                return True
    return False


async def until_healthy(
    client: RestClient, root: str, *, seconds: float, tell: Callable[[str], None]
) -> list[str]:
    """Tell of progress until the root Application is Healthy. Returns the worst where it is not in time."""
    async with following(client, APPS.path(), SETS.path(), CLUSTERS.path()) as followed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not well(root, followed.objects(0), followed.objects(1)):
                    tell(summary(root, *(followed.objects(index) for index in range(3))))
                    await asyncio.sleep(_PACE)
                    await followed.change()
                return []
        return [
            *absent(followed.objects(2)),
            *worst(root, followed.objects(0), followed.objects(1)),
        ]


def well(root: str, apps: Sequence[Manifest], sets: Sequence[Manifest]) -> bool:
    """Whether the root is Healthy at its target, and agrees with what is under it."""
    found = next((app for app in apps if key_of(app) == root), None)
    return reached(found, Wanted.HEALTHY) and not _unwell([*sets, *apps])


def summary(
    root: str, apps: Sequence[Manifest], sets: Sequence[Manifest], clusters: Sequence[Manifest]
) -> str:
    """`3/4 clusters joined, 5/9 apps Healthy; waiting for shop/backend-eu1 (Syncing)`."""
    joined = sum(bool(field(cluster, "status", "fingerprint")) for cluster in clusters)
    healthy = sum(reached(app, Wanted.HEALTHY) for app in apps)
    parts = [f"{joined}/{len(clusters)} clusters joined", f"{healthy}/{len(apps)} apps Healthy"]
    if not sets:
        return ", ".join(parts)
    waiting = [app for app in _unwell(apps) if key_of(app) != root]
    if not waiting:
        return ", ".join(parts)
    states = Counter(sync(app) if sync(app) not in {"", "Synced"} else health(app) for app in waiting)
    counted = ", ".join(f"{count} {state or 'new'}" for state, count in sorted(states.items()))
    return f"{', '.join(parts)} ({counted})"


def absent(clusters: Sequence[Manifest]) -> list[str]:
    """Clusters whose agent never came: nothing can be Healthy there."""
    return [
        f"cluster {each['metadata']['name']}: its agent has not joined"
        for each in sorted(clusters, key=key_of)
        if not field(each, "status", "fingerprint")
    ]


def worst(root: str, apps: Sequence[Manifest], sets: Sequence[Manifest]) -> list[str]:
    """The worst few in a line each, children before what merely sums them up. An empty `root` is no root."""
    unwell = _unwell(apps)
    ranked = sorted(unwell, key=lambda app: (key_of(app) == root, _rank(app), key_of(app)))
    chosen = [*ranked[:_SHOWN], *sorted(_unwell(sets), key=key_of)[:_SHOWN]]
    if root and not any(key_of(app) == root for app in apps):
        return [f"application {root} is not there"]
    return [_line(obj) for obj in chosen]


def _line(obj: Manifest) -> str:
    where = field(obj, "spec", "cluster")
    name = f"{'app' if obj['kind'] == APPS.kind else 'set'} {key_of(obj)}" + (f" on {where}" if where else "")
    state = f"{sync(obj) or 'not planned'}, " if obj["kind"] == APPS.kind else ""
    return f"{name}: {state}{health(obj) or 'Unknown'}: {short(why(obj)) or 'nothing is said'}"


def _unwell(objects: Iterable[Manifest]) -> list[Manifest]:
    return [obj for obj in objects if not reached(obj, Wanted.HEALTHY)]


def _rank(obj: Manifest) -> int:
    state = health(obj)
    return _RANK.index(state) if state in _RANK else 0
