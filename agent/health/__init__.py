"""How healthy one object is: pure rules, one per kind, and kstatus conditions for the rest."""

from __future__ import annotations

from agent.health.evaluate import evaluate
from agent.health.pods import pod_reasons
from agent.health.result import HealthResult

__all__ = ["HealthResult", "evaluate", "pod_reasons"]
