"""The sample's shop: one chart, values of each part and cluster, an overlay; and the same from Argo CD's words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from hub.cli.main import app
from hub.fleet.sample import PLACEHOLDER, SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {env: prod}}
spec: {values: {ingressDomain: eu1.example.com, shop: {replicas: 2}}}
"""
ARGO = f"""
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: backend, namespace: argocd}}
spec:
  project: default
  destination: {{name: eu1, namespace: shop-backend}}
  sources:
    - repoURL: {PLACEHOLDER}
      targetRevision: main
      path: charts/shop
      helm:
        releaseName: backend
        valueFiles: [$fleet/shop/backend/values.yaml]
        parameters: [{{name: replicas, value: "2"}}]
    - repoURL: {PLACEHOLDER}
      targetRevision: main
      path: shop/backend
      directory: {{exclude: values.yaml}}
    - repoURL: {PLACEHOLDER}
      targetRevision: main
      ref: fleet
"""
REPO = f"{PLACEHOLDER}={SAMPLE}"


@pytest.fixture
def clusters(tmp_path: Path) -> str:
    file = tmp_path / "clusters.yaml"
    file.write_text(CLUSTER)
    return str(file)


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def _set(clusters: str) -> list[str]:
    root = SAMPLE / "root"
    files = ["-f", str(root / "shop.yaml"), "-f", str(root / "fleet.yaml")]
    return [*files, "--clusters", clusters, "--repo", REPO]


def test_explain_tells_the_story_of_a_field(clusters: str) -> None:
    found = json.loads(
        _run(
            "explain", "frontend-eu1", "deployment/frontend", ".spec.replicas", *_set(clusters), "-o", "json"
        )
    )
    assert [(one["stage"], one.get("before"), one["after"]) for one in found] == [
        ("source 1: chart defaults", None, 1),
        ("source 1: $fleet/shop/frontend/values.yaml", 1, 3),
        ("source 1: cluster eu1: values.shop", 3, 2),
    ]
    assert found[1]["at"].startswith("$fleet/shop/frontend/values.yaml:")
    (overlay,) = json.loads(
        _run(
            "explain",
            "frontend-eu1",
            "deployment/frontend",
            ".spec.revisionHistoryLimit",
            *_set(clusters),
            "-o",
            "json",
        )
    )
    assert (overlay["stage"], overlay["after"]) == ("overlay overlays/shop", 3)


def test_argo_cds_words_for_the_same_give_the_same(clusters: str, tmp_path: Path) -> None:
    argo = tmp_path / "argo.yaml"
    argo.write_text(ARGO)
    ours = tmp_path / "ours.yaml"
    ours.write_text(_run("import", "argocd", str(argo)))
    directly = _objects("-f", str(argo), "--clusters", clusters, "--repo", REPO)
    imported = _objects("-f", str(ours), "--clusters", clusters, "--repo", REPO)
    assert directly == imported
    child = _objects(*_set(clusters), "--app", "backend-eu1")
    for one in child:  # Argo CD has no overlay over several sources, and no inputs
        one["metadata"].pop("labels")
        one["spec"].pop("revisionHistoryLimit", None)
        if one["kind"] == "Deployment":
            env = one["spec"]["template"]["spec"]["containers"][0].pop("env")
            assert env == [
                {"name": "PRIMARY", "value": "{{ inputs.primary.host }}:{{ inputs.primary.port }}"}
            ]
    assert imported == child


def _objects(*arguments: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(_run("render", *arguments, "-o", "json"))["items"]
    return sorted(items, key=lambda one: str(one["kind"]))
