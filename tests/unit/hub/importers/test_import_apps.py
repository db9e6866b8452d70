"""Applications, AppProjects and cluster Secrets of Argo CD as ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.main import app
from hub.importers.application import json_path
from hub.importers.convert import convert
from tests.unit.hub.importers.argo import SECRETS, converted

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()

APPS = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: database
  namespace: argocd
  finalizers: [resources-finalizer.argocd.argoproj.io]
spec:
  project: shop
  sources:
    - repoURL: registry.example.com/charts
      chart: pg
      targetRevision: 1.2.x
      helm: {valueFiles: [$v/pg.yaml], values: "a: 1"}
    - {repoURL: "https://git.example.com/values.git", ref: v}
  destination: {name: eu1, namespace: db}
  syncPolicy: {automated: {prune: true, selfHeal: true, allowEmpty: true}, retry: {limit: -1, backoff: {duration: 5s}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd, annotations: {argocd.argoproj.io/sync-wave: "2"}}
spec:
  project: shop
  source:
    repoURL: https://git.example.com/web.git
    path: overlays/prod
    kustomize: {namePrefix: x-, images: ["a=b:1"], commonLabels: {a: b}, forceCommonLabels: true}
  destination: {server: "https://lab1:6443", namespace: web}
  ignoreDifferences:
    - {group: apps, kind: Deployment, jqPathExpressions: [".spec.replicas"], managedFieldsManagers: [hpa]}
    - {kind: Secret, jqPathExpressions: [".data | keys"]}
  info: [{name: a, value: b}]
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: stray, namespace: argocd}
spec:
  source: {repoURL: "https://git.example.com/web.git", path: a, directory: {recurse: true, jsonnet: {libs: [x]}}}
  destination: {server: "https://nobody:6443"}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: shop, namespace: argocd}
spec:
  sourceRepos: ["*", "!https://bad/*"]
  destinations:
    - {server: "https://eu1:6443", namespace: "shop-*"}
    - {name: "*", namespace: "*"}
    - {server: "https://nobody", namespace: "*"}
  clusterResourceWhitelist: [{group: "*", kind: Namespace}]
  roles: [{name: r}]
"""


def test_applications_and_projects() -> None:
    done = converted(SECRETS, APPS)
    named = {(obj["kind"], obj["metadata"]["name"]): obj for _, obj in done.objects}
    database = named["Application", "database"]
    assert database["metadata"]["namespace"] == "shop"
    assert database["spec"]["sources"] == [
        {
            "repoURL": "oci://registry.example.com/charts",
            "chart": "pg",
            "revision": "1.2.x",
            "helm": {"valueFiles": ["$v/pg.yaml"], "values": {"a": 1}},
        },
        {"repoURL": "https://git.example.com/values.git", "ref": "v"},
    ]
    assert database["spec"]["sync"] == {
        "mode": "Auto",
        "prune": True,
        "allowEmpty": True,
        "drift": {"mode": "Correct"},
        "retry": {"limit": 1000},
    }
    assert "deletion" not in database["spec"]
    web = named["Application", "web"]["spec"]
    assert web["cluster"] == "lab1"
    assert web["dependsOn"] == [{"name": "database", "clusters": {"names": ["eu1"]}}]
    assert web["sync"]["ignoreDifferences"] == [
        {"group": "apps", "kind": "Deployment", "jsonPaths": [".spec.replicas"], "managers": ["hpa"]}
    ]
    assert web["deletion"] == {"policy": "Orphan"}
    assert web["sources"][0]["kustomize"]["images"] == ["a=b:1"]
    project = named["Project", "project"]
    assert project["metadata"]["namespace"] == "shop"
    assert project["spec"] == {
        "sourceRepos": ["**"],
        "destinations": [
            {"clusters": ["eu1"], "namespaces": ["shop-*"]},
            {"clusters": ["*"], "namespaces": ["*"]},
        ],
        "serviceAccount": "deployer",
        "clusterResources": [{"group": "*", "kind": "Namespace"}],
    }
    lost = {f"{note.where}: {note.path}" for note in done.notes if note.lost}
    assert lost >= {
        "Application database: spec.syncPolicy.retry.backoff",
        "Application web: spec.info",
        "Application web: spec.ignoreDifferences[1]",
        "Application web: spec.source.kustomize.forceCommonLabels",
        "Application stray: spec.destination.server",
        "Application stray: spec.source.directory.jsonnet.libs",
        "Application stray: spec.source.directory.recurse",
        "AppProject shop: spec.sourceRepos",
        "AppProject shop: spec.destinations[2]",
        "AppProject shop: spec.roles",
    }
    assert not any("not-a-cluster" in str(obj) for _, obj in done.objects)


def test_a_server_may_be_named_and_everything_put_in_one_namespace(tmp_path: Path) -> None:
    (tmp_path / "apps.yaml").write_text(APPS)
    arguments = [
        "import",
        "argocd",
        str(tmp_path),
        "-n",
        "all",
        "--server",
        "https://nobody:6443=us1",
        "-o",
        "json",
    ]
    result = runner.invoke(app, [*arguments, "--strict"])
    assert result.exit_code == 1
    items = json.loads(result.stdout)["items"]
    assert {item["metadata"]["namespace"] for item in items} == {"all"}
    assert [item["spec"]["cluster"] for item in items if item["metadata"]["name"] == "stray"] == ["us1"]
    assert runner.invoke(app, ["import", "argocd", str(tmp_path), "--server", "x"]).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec: {source: 1}\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: x}\nspec: {generators: {}}\n",
        "kind: [",
    ],
)
def test_what_is_no_file_of_argo_cd_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    result = runner.invoke(app, ["import", "argocd", str(tmp_path / "f.yaml")])
    assert result.exit_code in (0, 2)
    if result.exit_code == 2:
        assert "f.yaml" in result.stderr


@pytest.mark.parametrize(
    ("jq", "path"),
    [
        (".spec.replicas", ".spec.replicas"),
        (".spec.template.spec.containers[].image", ".spec.template.spec.containers[*].image"),
        ('.metadata.annotations["a.b/c"]', ".metadata.annotations['a.b/c']"),
        (".a[0]?.b?", ".a[0].b"),
        (
            '.spec.containers[] | select(.name == "main") | .image',
            '.spec.containers[?(@.name=="main")].image',
        ),
        ('.webhooks[]? | select(.name == "x")', '.webhooks[?(@.name=="x")]'),
        (".spec | keys", None),
        ('.a[] | select(.b | test("x"))', None),
    ],
)
def test_a_path_of_jq_as_json_path(jq: str, path: str | None) -> None:
    assert json_path(jq) == path


def test_jsonnet_and_plugins_are_tools_of_ours() -> None:
    text = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd}
spec:
  destination: {name: in-cluster, namespace: web}
  sources:
    - repoURL: https://git.example.com/web.git
      path: a
      directory: {jsonnet: {tlas: [{name: env, value: dev}], extVars: [{name: size, value: "3", code: true}]}}
    - repoURL: https://git.example.com/web.git
      path: b
      plugin:
        name: cue
        env: [{name: STAGE, value: dev}]
        parameters: [{name: size, string: "3"}, {name: all, array: [a]}]
"""
    done = convert([("a.yaml", obj) for obj in load_all(text, source="a.yaml")])
    ((_, app_),) = done.objects
    assert app_["spec"]["cluster"] == "hub"
    jsonnet, plugin = app_["spec"]["sources"]
    variable = {"name": "size", "value": "3", "code": True}
    assert jsonnet["jsonnet"] == {"tlas": [{"name": "env", "value": "dev"}], "extVars": [variable]}
    assert plugin["plugin"] == {"name": "cue", "parameters": {"STAGE": "dev", "size": "3"}}
    assert [note.path for note in done.notes if note.lost] == ["spec.sources[1].plugin.parameters[1]"]


def test_what_stands_beside_the_spec_and_a_zero_are_not_dropped_in_silence() -> None:
    done = converted(
        """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd}
operation: {sync: {revision: main}}
status: {health: {status: Healthy}}
spec:
  project: shop
  revisionHistoryLimit: 0
  source: {repoURL: "https://git.example.com/web.git", path: web}
  destination: {name: eu1, namespace: web}
"""
    )
    assert {note.path for note in done.notes if note.lost} == {"operation", "spec.revisionHistoryLimit"}
