from __future__ import annotations

from typing import Any

from agent.contract.bundle import ApplyPolicy, Bundle, digest_of
from agent.contract.healthrule import HealthRule
from agent.sync.rulebook import BUILT_IN, RuleBook

SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}}


def test_apps_with_the_same_rules_share_a_judge() -> None:
    book = RuleBook()
    first = book.judge([HealthRule(kind="Service", current="true")])
    assert first is book.judge([HealthRule(kind="Service", current="true")])
    assert first is not book.judge([HealthRule(kind="Service", current="false")])
    assert book.judge(None) is book.judge([]) is BUILT_IN
    assert (first(SERVICE).state, BUILT_IN(SERVICE).state) == ("Healthy", "Progressing")


def test_rules_that_do_not_read_are_told() -> None:
    judge = RuleBook().judge([HealthRule(kind="Service", current="1 ==")])
    assert judge.problem.startswith("RuleInvalid: ")
    assert judge(SERVICE).state == "Progressing"


def test_rules_are_part_of_a_bundles_identity_and_none_change_nothing() -> None:
    def digest(policy: ApplyPolicy) -> str:
        return digest_of(Bundle(policy=policy, objects=[]), key=b"k" * 32)

    rule = HealthRule(kind="Service", current="true")
    assert digest(ApplyPolicy(health_rules=[rule])) != digest(ApplyPolicy())
    assert "healthRules" not in ApplyPolicy().wire()
    assert ApplyPolicy.model_validate(ApplyPolicy(health_rules=[rule]).wire()).health_rules == [rule]
