from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hub.cli.main import app
from hub.fleet.sample import SAMPLE
from tests.unit.hub.cli.offline_files import CYCLE, REPO

if TYPE_CHECKING:
    from pathlib import Path

CLUSTERS = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {env: prod}}
"""
runner = CliRunner()


@pytest.fixture
def sample(tmp_path: Path) -> list[str]:
    path = tmp_path / "clusters.yaml"
    path.write_text(CLUSTERS)
    return ["graph", "-f", str(SAMPLE / "root"), "--clusters", str(path), "--repo", REPO]


@pytest.fixture
def cycle(tmp_path: Path) -> list[str]:
    path = tmp_path / "app.yaml"
    path.write_text(CYCLE)
    return ["graph", "-f", str(path)]


def test_graph_prints_levels(sample: list[str]) -> None:
    found = json.loads(runner.invoke(app, [*sample, "-o", "json"]).stdout)
    assert found["levels"][1:] == [["shop/backend-eu1"], ["shop/frontend-eu1"]]
    assert {"from": "shop/database-eu1", "to": "shop/backend-eu1"} in found["edges"]
    assert (found["cycles"], found["unmatched"]) == ([], [])
    table = runner.invoke(app, sample)
    assert table.exit_code == 0
    assert "shop/frontend-eu1  after shop/backend-eu1" in table.stdout


def test_graph_draws_for_graphviz(sample: list[str]) -> None:
    result = runner.invoke(app, [*sample, "-o", "dot"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("digraph axletree {")
    assert '"shop/database-eu1" -> "shop/backend-eu1";' in result.stdout
    assert 'label="eu1"' in result.stdout


def test_graph_draws_for_mermaid(sample: list[str]) -> None:
    result = runner.invoke(app, [*sample, "-o", "mermaid"])
    lines = result.stdout.splitlines()
    assert lines[0] == "flowchart LR"
    ids = {line.split('["')[1][:-2]: line.split("[")[0].strip() for line in lines if '["' in line}
    assert f"  {ids['database@eu1']} --> {ids['backend@eu1']}" in lines


def test_graph_prints_a_cycle_with_its_path_and_says_no(cycle: list[str]) -> None:
    result = runner.invoke(app, cycle)
    assert result.exit_code == 1
    assert "a@eu1 -> b@eu1 -> a@eu1" in result.stderr
    assert result.stdout == ""


def test_a_drawn_cycle_is_marked(cycle: list[str]) -> None:
    dot = runner.invoke(app, [*cycle, "-o", "dot"])
    assert dot.exit_code == 1
    assert '"shop/a-eu1" -> "shop/b-eu1" [color=red];' in dot.stdout
    mermaid = runner.invoke(app, [*cycle, "-o", "mermaid"])
    assert "linkStyle 0,1 stroke:red" in mermaid.stdout
    found = json.loads(runner.invoke(app, [*cycle, "-o", "json"]).stdout)
    assert found["cycles"] == ["a@eu1 -> b@eu1 -> a@eu1"]
    assert all(edge["cycle"] for edge in found["edges"])


def test_edges_say_how_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    edge = "{name: b-eu1, ready: Synced, at: Any, onStale: Ignore, optional: true}"
    path.write_text(CYCLE.replace("{name: b-eu1}", edge).replace("[{name: a-eu1}]", "[]"))
    result = runner.invoke(app, ["graph", "-f", str(path), "-o", "dot"])
    assert result.exit_code == 0, result.output
    assert '[label="Synced, at Any, onStale Ignore, optional", style=dashed]' in result.stdout


def test_graph_tells_of_edges_that_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(CYCLE.replace("name: b-eu1}]", "name: nobody}]"))
    result = runner.invoke(app, ["graph", "-f", str(path)])
    assert result.exit_code == 0
    assert "NoMatch: shop/a-eu1: spec.dependsOn[0]" in result.stderr


def test_files_with_nothing_to_draw_are_no_graph(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    result = CliRunner().invoke(app, ["graph", "-f", str(tmp_path / "empty.yaml")])
    assert result.exit_code == 2
    assert "neither Application nor ApplicationSet" in result.stderr


CROSSED = """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {name: %(own)s, namespace: shop}
spec:
  generators: [{clusters: {}}]
  template:
    metadata: {name: "%(own)s-{{ cluster.name }}", labels: {app: %(own)s, ring: "{{ cluster.labels.ring }}"}}
    spec:
      cluster: "{{ cluster.name }}"
      sources: [{repoURL: https://git.example.com/shop}]
      dependsOn:
        - selector: {matchLabels: {app: %(other)s}}
          clusters: {selector: {matchLabels: {after: "{{ cluster.labels.ring }}"}}}
          optional: true
  rollout:
    waves: [{name: canary, selector: {matchLabels: {ring: "0"}}}, {name: fleet}]
---
"""
RINGS = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {ring: "0"}}
---
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: us1, labels: {ring: "1", after: "0"}}
"""


def test_waves_of_two_sets_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    sets = [CROSSED % {"own": one, "other": other} for one, other in (("a", "b"), ("b", "a"))]
    path.write_text("".join(sets) + RINGS)
    result = runner.invoke(app, ["graph", "-f", str(path)])
    assert result.exit_code == 1, result.output
    assert (
        "WaveInversion: shop/a-eu1: wave canary would wait for wave fleet, which comes later: a@eu1 (canary) -> "
        "b@us1 (fleet of shop/b) -> b@eu1 (canary of shop/b) -> a@us1 (fleet)"
    ) in " ".join(result.stderr.split())
    found = json.loads(runner.invoke(app, ["graph", "-f", str(path), "-o", "json"]).stdout)
    assert list(found["inversions"]) == ["shop/a-eu1", "shop/b-eu1"]
