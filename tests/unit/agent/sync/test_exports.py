from __future__ import annotations

import pytest

from agent.contract.errors import ApiError
from agent.contract.output import OutputRule
from agent.sync.exports import output

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db"},
    "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 5432}], "note": "x" * 2000},
    "status": {"loadBalancer": {}},
}


def rule(value: str) -> OutputRule:
    return OutputRule.model_validate(
        {"name": "url", "object": {"kind": "Service", "name": "db"}, "value": value}
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("object.spec.clusterIP", '"10.0.0.1"'),
        ("spec.ports[0].port", "5432"),
        ("{'port': spec.ports[0].port, 'host': spec.clusterIP}", '{"host":"10.0.0.1","port":5432}'),
        ("spec.ports.exists(p, p.port == 5432)", "true"),
    ],
)
def test_a_value_is_json_in_one_form(value: str, text: str) -> None:
    found = output(rule(value), SERVICE)
    assert (found.value, found.problem) == (text, "")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("status.loadBalancer.ingress[0].ip", "gives nothing yet"),
        ("spec.note", "more than 1024 bytes"),
        ("b'x'", "which is no JSON value"),
        ("spec.", "RuleInvalid"),
        ("spec.ports.map(p, p)", "RuleInvalid"),
    ],
)
def test_what_has_no_value_says_why(value: str, problem: str) -> None:
    found = output(rule(value), SERVICE)
    assert found.value is None
    assert problem in found.problem


def test_s9_a_secret_gives_nothing_whatever_the_rule_is_called() -> None:
    secret = SERVICE | {"kind": "Secret", "data": {"password": "eA=="}}
    found = output(rule("data.password"), secret)
    assert (found.value, "never read from a Secret" in found.problem) == (None, True)


def test_what_the_apps_account_may_not_read_is_no_output() -> None:
    refused = ApiError("services db is forbidden", status=403, api_reason="Forbidden")
    assert output(rule("spec.clusterIP"), refused).problem.startswith("Forbidden")
    assert "the app has no Service db" in output(rule("spec.clusterIP"), None).problem
