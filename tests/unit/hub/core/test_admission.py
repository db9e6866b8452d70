from __future__ import annotations

import json
from typing import Any

import pytest

from agent.contract.names import API_VERSION
from hub.core.graph import AppGraph
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
    from hub.cli.snapshot import node_of  # noqa: PLC0415 - the same nodes as everywhere

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


def test_nobody_is_asked_about_what_the_schema_refuses() -> None:
    assert refusal(AppGraph(), {"metadata": {"name": "a", "namespace": "shop"}, "spec": {}}) == ""


@pytest.mark.parametrize(
    ("reason", "operation", "allowed"),
    [("no", "CREATE", False), ("", "UPDATE", True), ("no", "DELETE", True)],
)
def test_the_answer_of_a_review(reason: str, operation: str, allowed: bool) -> None:  # noqa: FBT001
    body = json.dumps({"request": {"uid": "u", "operation": operation, "object": app("a")}}).encode()
    found = answer(body, lambda _: reason)["response"]
    assert (found["uid"], found["allowed"]) == ("u", allowed)
    assert answer(body, None)["response"]["allowed"] is True


def test_the_path_is_a_hubs_own() -> None:
    assert admission_key(b"1" * 32) != admission_key(b"2" * 32)
    assert len(admission_key(b"1" * 32)) == 40
