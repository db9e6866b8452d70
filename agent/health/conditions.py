"""Kinds without a rule of their own: kstatus conditions, and our own kinds' rollup.

kstatus: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.health import HealthState
from agent.health.result import (
    HEALTHY,
    MAX_MESSAGE,
    HealthResult,
    conditions_of,
    degraded,
    is_true,
    not_observed,
    progressing,
    status_of,
    why,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest


def by_conditions(obj: Manifest) -> HealthResult:
    """In progress, then failed, then current; Healthy for what says nothing at all."""
    waiting = not_observed(obj)
    if waiting is not None:
        return waiting
    conditions = conditions_of(obj)
    generation = (obj.get("metadata") or {}).get("generation")
    reconciling = conditions.get("Reconciling")
    if is_true(reconciling) and reconciling is not None:
        return progressing(why(reconciling))
    stalled = conditions.get("Stalled")
    if is_true(stalled) and stalled is not None:
        return degraded(why(stalled))
    ready = conditions.get("Ready")
    if ready is None:
        return HEALTHY
    seen = ready.get("observedGeneration")
    if isinstance(seen, int) and isinstance(generation, int) and 0 < seen < generation:
        return progressing("Ready tells of an older spec")
    return HEALTHY if is_true(ready) else progressing(why(ready))


def by_rollup(obj: Manifest) -> HealthResult:
    """Applications and ApplicationSets say their health in our own words, once they have seen their spec."""
    status = status_of(obj)
    if "observedGeneration" not in status:
        return progressing("not observed by the hub yet")
    waiting = not_observed(obj)
    if waiting is not None:
        return waiting
    health = status.get("health")
    if not isinstance(health, dict) or not health.get("state"):
        return progressing("no health has been reported yet")
    message = str(health.get("message") or "")[:MAX_MESSAGE]
    try:
        return HealthResult(HealthState(str(health["state"])), message)
    except ValueError:
        return HealthResult(HealthState.UNKNOWN, f"health {str(health['state'])[:64]!r} is not known here")


_AWAY = frozenset({"Stale", "Cloned", "HubBehind"})


def by_standing(obj: Manifest) -> HealthResult:
    """A Cluster of a hub: one that is away or not to be trusted needs a person, who should see it further up, too."""
    ready = conditions_of(obj).get("Ready")
    if ready is None:
        return progressing("not observed by the hub yet")
    if not is_true(ready) and ready.get("reason") in _AWAY:
        return degraded(why(ready))
    return by_conditions(obj)
