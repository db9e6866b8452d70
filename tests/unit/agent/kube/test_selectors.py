from __future__ import annotations

from typing import Any

import pytest

from agent.kube.selectors import Selector, SelectorError, parse_selector


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {
        "matchExpressions": [
            {"key": key, "operator": operator} | ({"values": list(values)} if values else {})
        ]
    }


@pytest.mark.parametrize(
    ("spec", "text", "matching", "other"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2", {"a": "1", "b": "2", "c": "3"}, {"a": "1"}),
        ({"matchLabels": {"a": ""}}, "a=", {"a": ""}, {}),
        (_expression("a", "In", "1", "2"), "a in (1,2)", {"a": "2"}, {}),
        (_expression("a", "NotIn", "1"), "a!=1", {}, {"a": "1"}),
        (_expression("a", "NotIn", "1", "2"), "a notin (1,2)", {"a": "3"}, {"a": "2"}),
        (_expression("x.io/a", "Exists"), "x.io/a", {"x.io/a": ""}, {"a": ""}),
        (_expression("a", "DoesNotExist"), "!a", {"b": ""}, {"a": ""}),
        (_expression("a", "Gt", "5"), "a>5", {"a": "10"}, {"a": "5"}),
        (_expression("a", "Gt", "5"), "a>5", {"a": "6"}, {"a": "x"}),
        (_expression("a", "Lt", "5"), "a<5", {"a": "-1"}, {}),
        ({"matchLabels": {"a": "1"}} | _expression("b", "Exists"), "a=1,b", {"a": "1", "b": ""}, {"b": ""}),
    ],
)
def test_a_selector_matches_as_kubectl_does(
    spec: dict[str, Any], text: str, matching: dict[str, str], other: dict[str, str]
) -> None:
    selector = parse_selector(spec)
    assert str(selector) == text
    assert selector.matches(matching)
    assert not selector.matches(other)
    assert selector


@pytest.mark.parametrize(
    "spec", [None, {}, {"matchLabels": {}, "matchExpressions": []}, {"matchLabels": None}]
)
def test_an_empty_selector_matches_everything(spec: Any) -> None:
    assert parse_selector(spec) == Selector()
    assert parse_selector(spec).matches({})
    assert not parse_selector(spec)
    assert str(parse_selector(spec)) == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"matchLabel": {"a": "1"}},
        {"matchLabels": ["a"]},
        {"matchLabels": {"a": 1}},
        {"matchLabels": {"a b": "1"}},
        {"matchLabels": {"a": "1,b=2"}},
        {"matchExpressions": ["a"]},
        {"matchExpressions": [{"operator": "Exists"}]},
        _expression("a", "in", "1"),
        _expression("a", "In"),
        _expression("a", "Exists", "1"),
        _expression("a", "Gt", "x"),
        _expression("a", "Lt", "1", "2"),
    ],
)
def test_a_selector_that_the_api_server_would_refuse_is_refused(spec: Any) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(spec)
    assert caught.value.reason == "InvalidSelector"
