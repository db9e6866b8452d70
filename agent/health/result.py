"""The verdict on one object, and what every rule reads to reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.health import HealthState

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

MAX_MESSAGE = 1024
"""Messages come from controllers that people do not control: bounded before they travel."""


@dataclass(frozen=True, slots=True)
class HealthResult:
    """One object's health, and in words why it is not Healthy."""

    state: HealthState
    message: str = ""


HEALTHY = HealthResult(HealthState.HEALTHY)


def progressing(message: str) -> HealthResult:
    return HealthResult(HealthState.PROGRESSING, message[:MAX_MESSAGE])


def degraded(message: str) -> HealthResult:
    return HealthResult(HealthState.DEGRADED, message[:MAX_MESSAGE])


def suspended(message: str) -> HealthResult:
    return HealthResult(HealthState.SUSPENDED, message[:MAX_MESSAGE])


def spec_of(obj: Manifest) -> dict[str, Any]:
    """Read the spec, empty where there is none or where it is not a mapping (custom kinds are free)."""
    value = obj.get("spec")
    return value if isinstance(value, dict) else {}


def status_of(obj: Manifest) -> dict[str, Any]:
    """Read the status, empty where there is none or where it is not a mapping."""
    value = obj.get("status")
    return value if isinstance(value, dict) else {}


def conditions_of(obj: Manifest) -> dict[str, dict[str, Any]]:
    """Conditions by type. Malformed ones are left out: a custom kind's status may hold anything."""
    found = status_of(obj).get("conditions")
    if not isinstance(found, list):
        return {}
    return {
        item["type"]: item for item in found if isinstance(item, dict) and isinstance(item.get("type"), str)
    }


def is_true(condition: dict[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def is_false(condition: dict[str, Any] | None) -> bool:
    return condition is not None and condition.get("status") == "False"


def why(condition: dict[str, Any]) -> str:
    """Join a condition's reason and message into one line."""
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    return ": ".join(part for part in (reason, message) if part) or str(condition.get("type", ""))


def number(mapping: dict[str, Any], key: str, default: int = 0) -> int:
    """Read an integer field; API servers leave zeroes out."""
    value = mapping.get(key)
    return value if isinstance(value, int) else default


def not_observed(obj: Manifest) -> HealthResult | None:
    """Progressing while the controller has not seen the latest spec: its status tells of an older one."""
    observed = status_of(obj).get("observedGeneration")
    generation = (obj.get("metadata") or {}).get("generation")
    if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
        return progressing("the controller has not observed the latest spec yet")
    return None
