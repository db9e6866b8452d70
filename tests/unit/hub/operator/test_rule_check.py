from __future__ import annotations

from typing import Any

import pytest

from hub.operator.rulecheck import rule_problem


def application(**rule: Any) -> dict[str, Any]:
    return {"kind": "Application", "spec": {"healthRules": [{"kind": "Database", **rule}]}}


def test_what_reads_is_taken_and_what_does_not_is_named() -> None:
    assert rule_problem(application(current="status.phase == 'Running'")) == ""
    assert rule_problem(application(lua="return {}")) == ""
    assert rule_problem({"kind": "Project", "spec": {}}) == ""
    problem = rule_problem(application(current="status.phase =="))
    assert problem.startswith("RuleInvalid: healthRules[0]: ")
    assert "+" in rule_problem(application(failed="spec.all(x, x + x == x)"))


def test_a_sets_template_counts_as_far_as_it_can_be_told() -> None:
    spec = {"template": {"spec": application(current="1 ==")["spec"]}}
    assert rule_problem({"kind": "ApplicationSet", "spec": spec}).startswith("RuleInvalid")
    spec = {"template": {"spec": application(current="{{ rule }}")["spec"]}}
    assert rule_problem({"kind": "ApplicationSet", "spec": spec}) == ""


@pytest.mark.parametrize("spec", [None, "x", {"healthRules": "x"}, {"healthRules": [1, {}]}, {"template": 3}])
def test_types_are_the_schemas_to_say(spec: Any) -> None:
    assert rule_problem({"kind": "Application", "spec": spec}) == ""


def test_an_edge_whose_condition_does_not_read_is_refused_by_its_place() -> None:
    edges = [{"name": "db"}, {"name": "db", "ready": "dep.health =="}]
    app = {"kind": "Application", "spec": {"dependsOn": edges}}
    assert rule_problem(app).startswith("ConditionInvalid: dependsOn[1].ready: ")
    child = {"kind": "ApplicationSet", "spec": {"template": {"spec": {"dependsOn": edges}}}}
    assert rule_problem(child).startswith("ConditionInvalid: dependsOn[1].ready: ")
    edges[1]["ready"] = "dep.cluster == '{{ cluster.name }}"
    assert rule_problem(child) == "", "only an expansion can tell"
