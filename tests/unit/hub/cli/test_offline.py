from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.main import app
from hub.fleet.sample import SAMPLE
from tests.unit.hub.cli.offline_files import CYCLE, REPO

if TYPE_CHECKING:
    from pathlib import Path

CLUSTERS = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {env: prod}}
---
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: lab1, labels: {env: dev}}
---
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: us1, labels: {env: prod}}
spec: {accepted: false}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: not-ours}
"""
runner = CliRunner()


@pytest.fixture
def clusters(tmp_path: Path) -> str:
    path = tmp_path / "clusters.yaml"
    path.write_text(CLUSTERS)
    return str(path)


def test_expand_prints_the_children_as_applications(clusters: str) -> None:
    files = ["-f", str(SAMPLE / "root" / "shop.yaml"), "-f", str(SAMPLE / "root" / "fleet.yaml")]
    result = runner.invoke(app, ["expand", *files, "--clusters", clusters, "--repo", REPO])
    assert result.exit_code == 0, result.output
    children = load_all(result.stdout)
    assert [child["metadata"]["name"] for child in children] == [
        "backend-eu1",
        "database-eu1",
        "frontend-eu1",
    ]
    assert {child["kind"] for child in children} == {"Application"}
    assert children[0]["spec"]["dependsOn"] == [
        {"selector": {"matchLabels": {"app": "database"}}, "clusters": {"scope": "Same"}}
    ]


def test_expand_prints_json_too(clusters: str) -> None:
    arguments = ["expand", "-f", str(SAMPLE / "root"), "--clusters", clusters, "--repo", REPO, "-o", "json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["kind"] == "List"
    assert len(found["items"]) == 6


def test_a_repository_that_is_not_mapped_says_how(clusters: str) -> None:
    result = runner.invoke(app, ["expand", "-f", str(SAMPLE / "root"), "--clusters", clusters])
    assert result.exit_code == 2
    assert "--repo URL=DIR" in result.stderr
    assert "dev/dev" in result.stderr


def test_a_misspelt_field_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(CYCLE.replace("dependsOn", "dependOn"))
    result = runner.invoke(app, ["graph", "-f", str(path)])
    assert result.exit_code == 2
    assert "app.yaml" in result.stderr
    assert 'did you mean "dependsOn"' in result.stderr


def test_graph_reads_folders_and_leaves_out_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "chart.yaml").write_text("replicas: {{ values.replicas }}\n")
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "app.yml").write_text(CYCLE.split("---", maxsplit=1)[0].replace("b-eu1", "nobody"))
    result = runner.invoke(app, ["graph", "-f", str(tmp_path), "-o", "name"])
    assert (result.exit_code, result.stdout) == (0, "application.axletree.dev/shop/a-eu1\n")


@pytest.mark.parametrize("text", ["kind: [", "apiVersion: axletree.dev/v1alpha1\nkind: Cluster\n"])
def test_a_file_that_does_not_read_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    result = runner.invoke(app, ["graph", "-f", str(path)])
    assert result.exit_code == 2
    assert "broken.yaml" in result.stderr
