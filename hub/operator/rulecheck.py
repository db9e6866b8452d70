"""Health rules that do not read are refused when they are written, not first by the agents that would judge by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.contract.healthrule import HealthRule
from agent.health.cel import CelMissing, Expression, RuleInvalid

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

_TEMPLATED = ("{{", "{%")


def rule_problem(obj: Manifest) -> str:
    """Why an Application's, a set's or a Project's health rules cannot be; empty where they can.

    What only an expansion fills in cannot be told yet, and types are the schema's to say.
    """
    spec = obj.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    for place in (spec, template.get("spec") if isinstance(template, dict) else None):
        rules = place.get("healthRules") if isinstance(place, dict) else None
        for number, rule in enumerate(rules if isinstance(rules, list) else ()):
            problem = _problem(rule)
            if problem:
                return f"{RuleInvalid.reason}: healthRules[{number}]: {problem}"
    return ""


def _problem(fields: Any) -> str:
    try:
        rule = HealthRule.model_validate(fields)
    except ValidationError:
        return ""
    sources = (rule.in_progress, rule.failed, rule.suspended, rule.current, rule.message)
    for source in sources:
        if not source or any(sign in source for sign in _TEMPLATED):
            continue
        try:
            Expression(source)
        except CelMissing:
            return ""  # nobody here can tell
        except RuleInvalid as error:
            return str(error)
    return ""
