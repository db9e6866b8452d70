from __future__ import annotations

import json
from typing import Any

import pytest

from agent.contract.names import API_VERSION
from hub.cli.snapshot import node_of
from hub.core.admission import new_cycles
from hub.core.graph import AppGraph
from hub.core.template import template_problem
from hub.gateway.admission import admission_key, answer
from hub.operator.admission import refusal


def app(name: str, *needs: str, cluster: str = "eu1") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "cluster": cluster,
            "sources": [{"repoURL": "https://h/x"}],
            "dependsOn": [{"name": each} for each in needs],
        },
    }


def graph_of(*apps: dict[str, Any]) -> AppGraph:
    graph = AppGraph()
    for obj in apps:
        graph.upsert(node_of(f"shop/{obj['metadata']['name']}", obj))
    return graph


def test_a_cycle_is_refused_with_its_whole_path_and_nothing_stays_of_the_question() -> None:
    graph = graph_of(app("a", "b"), app("b", "c"))
    assert refusal(graph, app("c", "a")) == "DependencyCycle: c@eu1 -> a@eu1 -> b@eu1 -> c@eu1"
    assert "shop/c" not in graph
    assert graph.cycles() == ()
    assert refusal(graph, app("c", "z")) == ""
    assert refusal(graph, app("a", "a")) == "DependencyCycle: a@eu1 -> a@eu1"
    assert [edge.dependency.name for edge in graph.edges_of("shop/a")] == ["b"]


def test_what_is_in_a_cycle_already_can_be_changed() -> None:
    graph = graph_of(app("a", "b"), app("b", "a"))
    assert refusal(graph, app("a", "b")) == ""
    assert refusal(graph, app("a")) == ""
    assert len(graph.cycles()) == 1


def test_several_at_once_are_looked_at_together_and_what_goes_closes_nothing() -> None:
    graph = graph_of(app("a", "b"), app("b"), app("old", "a"))
    both = [node_of("shop/b", app("b", "old")), node_of("shop/c", app("c"))]
    assert new_cycles(graph, both) == "b@eu1 -> old@eu1 -> a@eu1 -> b@eu1"
    assert new_cycles(graph, both, {"shop/old"}) == ""
    assert sorted(node.key for node in graph) == ["shop/a", "shop/b", "shop/old"]
    assert graph.cycles() == ()
    assert [edge.dependency.name for edge in graph.edges_of("shop/old")] == ["a"]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"spec": {"dependOn": []}}, 'spec.template.spec.dependOn: unknown field; did you mean "dependsOn"?'),
        (
            {"spec": {"sources": [{"repoUrl": "x", "{{ key }}": 1}]}},
            'spec.template.spec.sources[0].repoUrl: unknown field; did you mean "repoURL"?',
        ),
        ({"sepc": {}}, 'spec.template.sepc: unknown field; did you mean "spec"?'),
        ({"spec": {"sources": ["{{ one }}"], "sync": "{{ sync }}", "dependsOn": [{"name": "{{ b }}"}]}}, ""),
        ({"metadata": {"labels": {"any": "x"}}, "spec": {"sources": [{"helm": {"values": {"any": 1}}}]}}, ""),
    ],
)
def test_a_misspelt_key_of_a_template_is_known_before_anything_is_rendered(template: Any, said: str) -> None:
    found = template_problem({"template": template, "generators": [{"list": {"elements": []}}]})
    assert found.startswith(said) if said else found == ""
    found = template_problem({"generators": [{"list": {}, "template": template}]})
    assert found.startswith(said.replace("template", "generators[0].template", 1)) if said else found == ""


def test_nobody_is_asked_about_what_the_schema_refuses() -> None:
    assert refusal(AppGraph(), {"metadata": {"name": "a", "namespace": "shop"}, "spec": {}}) == ""


@pytest.mark.parametrize(
    ("reason", "operation", "allowed"),
    [("no", "CREATE", False), ("", "UPDATE", True), ("no", "DELETE", True)],
)
async def test_the_answer_of_a_review(reason: str, operation: str, allowed: bool) -> None:  # noqa: FBT001
    async def refuse(_: Any) -> str:
        return reason

    body = json.dumps({"request": {"uid": "u", "operation": operation, "object": app("a")}}).encode()
    found = (await answer(body, refuse))["response"]
    assert (found["uid"], found["allowed"]) == ("u", allowed)
    assert (await answer(body, None))["response"]["allowed"] is True


def test_the_path_is_a_hubs_own() -> None:
    assert admission_key(b"1" * 32) != admission_key(b"2" * 32)
    assert len(admission_key(b"1" * 32)) == 40
