from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from hub.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: LoadBalancer}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
# nothing here
---
apiVersion: example.com/v1
kind: Database
metadata: {name: db, namespace: shop}
status: {phase: Failed, conditions: [{type: Ready, status: "True"}]}
"""
RULES = """
apiVersion: axletree.dev/v1alpha1
kind: HealthRules
rules:
- {group: example.com, kind: Database, failed: status.phase == 'Failed', current: status.phase == 'Running'}
"""
CHECK = 'hs = {}; hs.status = "Suspended"; hs.message = obj.status.phase; return hs'
runner = CliRunner()


def judged(*arguments: str, text: str = "") -> list[dict[str, Any]]:
    result = runner.invoke(app, ["health", *arguments, "-o", "json"], input=text)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def objects(tmp_path: Path) -> str:
    path = tmp_path / "objects.yaml"
    path.write_text(OBJECTS)
    return str(path)


def test_the_list_has_each_object_with_its_state_and_message(objects: str) -> None:
    service, namespace, database = judged("-f", objects)
    assert service == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "shop",
        "name": "web",
        "state": "Progressing",
        "message": "the load balancer has no address yet",
    }
    assert (namespace["namespace"], namespace["state"], namespace["message"]) == ("", "Healthy", "")
    assert database["state"] == "Healthy"


def test_json_from_stdin_is_read(objects: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}}
    assert [each["state"] for each in judged("-f", "-", text=json.dumps(pod))] == ["Degraded"]
    of_pods = {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}]}
    assert judged("-f", "-", text=json.dumps(of_pods))[0]["kind"] == "Pod"
    assert judged("-f", "-", text="") == []


def test_rules_of_ours_go_before_the_built_in_ones(objects: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    assert judged("-f", objects, "--rules", str(rules))[2]["state"] == "Degraded"


@pytest.mark.parametrize(
    "place",
    [
        "example.com/Database",
        "resource_customizations/_.com/_",
        "argo-cd/resource_customizations/example.com/_",
    ],
)
def test_a_tree_of_argo_cd_is_read_as_it_is(objects: str, tmp_path: Path, place: str) -> None:
    check = tmp_path / "tree" / place / "health.lua"
    check.parent.mkdir(parents=True)
    check.write_text(CHECK)
    (check.parent / "testdata").mkdir()
    (check.parent / "testdata" / "broken.yaml").write_text("a: [healthRules")
    found = judged("-f", objects, "--rules", str(tmp_path / "tree"))
    assert [each["state"] for each in found] == ["Progressing", "Healthy", "Suspended"]
    assert found[2]["message"] == "Failed"


@pytest.mark.parametrize(
    "data",
    [
        {"resource.customizations.health.example.com_Database": CHECK},
        {"resource.customizations": json.dumps({"*.com/*": {"health.lua": CHECK}})},
    ],
)
def test_the_config_map_of_argo_cd_is_read(objects: str, tmp_path: Path, data: dict[str, str]) -> None:
    config = tmp_path / "argocd-cm.yaml"
    config.write_text(
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": data})
    )
    assert judged("-f", objects, "--rules", str(config))[2]["state"] == "Suspended"


def test_an_object_of_other_types_than_its_kind_says_is_unknown() -> None:
    found = judged(
        "-f",
        "-",
        text="{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {updateStrategy: x}, "
        "status: {observedGeneration: 1, readyReplicas: 1, replicas: 1}}",
    )
    assert found[0]["state"] == "Unknown"


@pytest.mark.parametrize(
    ("text", "rules", "said"),
    [
        ("a: b", None, "InvalidFile"),
        ("a: [", None, "InvalidYaml"),
        ("", "rules: [{kind: A, current: '1 =='}]", "RuleInvalid"),
        ("", "rules: [{kind: A, nosuch: x}]", "RuleInvalid"),
        ("", "a: b", "InvalidFile"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, text: str, rules: str | None, said: str) -> None:
    arguments = ["health", "-f", "-"]
    if rules is not None:
        (tmp_path / "r.yaml").write_text(rules)
        arguments += ["--rules", str(tmp_path / "r.yaml")]
    result = runner.invoke(app, arguments, input=text)
    assert result.exit_code == 2
    assert said in result.stderr
