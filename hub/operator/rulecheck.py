"""Expressions that do not read are refused when they are written, not first by whoever would judge by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.contract.healthrule import HealthRule
from agent.health.cel import CelMissing, Expression, RuleInvalid
from hub.api.dependency import Ready
from hub.core.readiness import ConditionInvalid, check_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest

_TEMPLATED = ("{{", "{%")


def rule_problem(obj: Manifest) -> str:
    """Why an Application's, a set's or a Project's expressions cannot be (health rules, edges); empty where they can.

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
        try:
            check_ready(_conditions(place))
        except ConditionInvalid as error:
            return f"{error.reason}: {error}"
    return ""


def _conditions(place: Any) -> Iterator[str]:
    """The `ready` of each edge; of what cannot be told yet, or is no text, a word that is always right."""
    edges = place.get("dependsOn") if isinstance(place, dict) else None
    for edge in edges if isinstance(edges, list) else ():
        source = edge.get("ready") if isinstance(edge, dict) else None
        known = isinstance(source, str) and not any(sign in source for sign in _TEMPLATED)
        yield str(source) if known else Ready.HEALTHY.value


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
