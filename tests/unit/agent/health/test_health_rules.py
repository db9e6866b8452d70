from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agent.contract.healthrule import HealthRule
from agent.health.cel import Expression, RuleInvalid, Undecided, check
from agent.health.rules import LuaAnswer, LuaMissing, RuleSet

PHASES = HealthRule(
    group="example.com",
    kind="Database",
    in_progress="object.status.phase == 'Creating'",
    failed="status.phase in ['Failed', 'Broken']",
    suspended="has(object.spec.paused) && object.spec.paused",
    current="status.phase == 'Running'",
    message="'phase: ' + status.phase",
)


def database(phase: str = "", /, **spec: Any) -> dict[str, Any]:
    status = {"phase": phase} if phase else {}
    return {
        "apiVersion": "example.com/v1",
        "kind": "Database",
        "metadata": {"name": "db", "generation": 2},
        "spec": spec,
        "status": status,
    }


@pytest.mark.parametrize(
    ("obj", "state", "message"),
    [
        (database("Creating"), "Progressing", "phase: Creating"),
        (database("Failed"), "Degraded", "phase: Failed"),
        (database("Running"), "Healthy", ""),
        (database("Waiting", paused=True), "Suspended", "phase: Waiting"),
        (database("Waiting"), "Progressing", "phase: Waiting"),
        (database(), "Progressing", "by the rule for Database"),
        ({**database("Running"), "status": {"phase": "Running", "observedGeneration": 1}}, "Progressing", ""),
    ],
)
def test_h_cel_rules_are_asked_in_progress_then_failed_then_current(
    obj: dict[str, Any], state: str, message: str
) -> None:
    result = RuleSet([PHASES]).evaluate(obj)
    assert result.state == state
    assert message in result.message


def test_h_in_progress_goes_before_failed_and_failed_before_current() -> None:
    rule = HealthRule(kind="ConfigMap", in_progress="data.a == '1'", failed="data.b == '1'", current="true")
    rules = RuleSet([rule])

    def judged(**data: str) -> str:
        return rules.evaluate({"apiVersion": "v1", "kind": "ConfigMap", "data": data}).state

    assert [judged(a="1", b="1"), judged(b="1"), judged()] == ["Progressing", "Degraded", "Healthy"]


def test_h_what_is_being_deleted_is_progressing_at_best_by_ones_own_rules() -> None:
    going = database("Running")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert RuleSet([PHASES]).evaluate(going).state == "Progressing"
    assert RuleSet([PHASES]).evaluate({**going, "status": {"phase": "Failed"}}).state == "Degraded"


def test_a_rule_for_the_very_kind_goes_before_a_pattern_and_other_kinds_keep_their_rules() -> None:
    every = HealthRule(group="*.com", kind="*", failed="true")
    rules = RuleSet([every, PHASES])
    assert rules.evaluate(database("Running")).state == "Healthy"
    assert rules.evaluate({**database("Running"), "kind": "Other"}).state == "Degraded"
    assert rules.evaluate({"apiVersion": "v1", "kind": "ConfigMap"}).state == "Healthy"


def test_the_words_of_conditions_explain_a_verdict() -> None:
    rule = HealthRule(group="example.com", kind="Database", failed="status.failed")
    ready = {"type": "Ready", "status": "False", "reason": "NoDisk", "message": "the disk is gone"}
    result = RuleSet([rule]).evaluate({**database(), "status": {"failed": True, "conditions": [ready]}})
    assert (result.state, result.message) == ("Degraded", "NoDisk: the disk is gone")


def test_what_cannot_be_told_is_unknown() -> None:
    rules = RuleSet([HealthRule(group="example.com", kind="Database", current="status.phase")])
    result = rules.evaluate(database("Running"))
    assert (result.state, "not a boolean" in result.message) == ("Unknown", True)
    assert (
        RuleSet([HealthRule(group="example.com", kind="Database", current="nosuch > 1")])
        .evaluate(database())
        .state
        == "Unknown"
    )


@pytest.mark.parametrize(
    "source",
    [
        "1 ==",
        "[1].map(x, [x, x]).size() > 0",
        "[1] . map (x, x) == []",
        "a.exists(x, b.exists(y, c.exists(z, true)))",
        "a.exists(x, x + x == '')",
        " + ".join(["a"] * 10),
        " || ".join(["a.exists(x, x)"] * 9),
        "(" * 40 + "true" + ")" * 40,
        "x" * 3000,
    ],
)
def test_expressions_that_could_grow_are_refused(source: str) -> None:
    with pytest.raises(RuleInvalid):
        Expression(source)


def test_words_in_texts_and_comments_are_no_macros() -> None:
    assert check("object.metadata.name == 'a.map(x) + + + (((' // a.map(") == 0
    assert check('a.exists(x, x.all(y, y == "exists("))') == 2


def test_long_lists_are_not_searched_by_nested_macros() -> None:
    nested = Expression("object.a.all(x, object.a.all(y, x == y))")
    assert nested.holds({"a": [1] * 10})
    with pytest.raises(Undecided):
        nested.holds({"a": [1] * 5000})
    texts = Expression("object.a.all(x, object.a.all(y, !object.s.contains('yy')))")
    assert texts.holds({"a": [1] * 10, "s": "x" * 100_000})
    with pytest.raises(Undecided):
        texts.holds({"a": [1] * 300, "s": "x" * 100_000})


def test_a_rule_has_one_language() -> None:
    with pytest.raises(ValueError, match="either expressions or a Lua script"):
        HealthRule(kind="A")
    with pytest.raises(ValueError, match="either expressions or a Lua script"):
        HealthRule(kind="A", current="true", lua="return nil")


def test_a_lua_check_decides_or_leaves_it_to_the_built_in_rules() -> None:
    answers = {"Degraded": LuaAnswer("Degraded", "broken"), "": LuaAnswer(), "x": LuaAnswer("Fine")}
    rule = HealthRule(kind="Service", lua="...")

    def judged(status: str, error: str = "") -> Any:
        rules = RuleSet([rule], lua=lambda _script, _obj: answers[status]._replace(error=error))
        return rules.evaluate({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}})

    assert (judged("Degraded").state, judged("Degraded").message) == ("Degraded", "broken")
    assert judged("").state == "Progressing"
    assert judged("x").state == "Unknown"
    assert judged("", error="line 3").message == "its Lua check: line 3"
    with pytest.raises(LuaMissing):
        RuleSet([rule])


def test_the_library_is_loaded_by_the_first_rule_and_without_its_shell() -> None:
    code = (
        "import sys, agent.health.rules as r; assert 'cel' not in sys.modules and 'cel.cel' not in sys.modules\n"
        "from agent.contract.healthrule import HealthRule\n"
        "r.RuleSet([HealthRule(kind='A', current='true')])\n"
        "assert 'cel.cel' in sys.modules and 'prompt_toolkit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
