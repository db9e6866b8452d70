from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.main import app
from hub.core.children import validate_set
from hub.importers.application import json_path
from hub.importers.convert import Imported, convert

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()

SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: c1, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, env: prod}}
stringData: {name: eu1, server: "https://eu1:6443", config: "{}"}
---
apiVersion: v1
kind: Secret
metadata: {name: c2, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, env: dev}}
data: {name: bGFiMQ==, server: aHR0cHM6Ly9sYWIxOjY0NDM=}
---
apiVersion: v1
kind: Secret
metadata: {name: other}
stringData: {name: not-a-cluster}
"""
GO_SET = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: web, namespace: argocd}
spec:
  goTemplate: true
  goTemplateOptions: ["missingkey=error"]
  generators:
    - matrix:
        generators:
          - clusters: {selector: {matchLabels: {env: prod}}, values: {size: '{{ index .metadata.labels "env" }}-l'}}
          - list:
              elements:
                - {app: a, autoSync: true, prune: true, valueFiles: [x.yaml, y.yaml]}
                - {app: b, autoSync: false, prune: false, valueFiles: []}
  strategy:
    type: RollingSync
    rollingSync:
      steps:
        - matchExpressions: [{key: env, operator: In, values: [dev]}]
        - matchExpressions: [{key: env, operator: In, values: [prod]}]
          maxUpdate: 10%
        - matchExpressions: [{key: app, operator: In, values: [a]}]
  template:
    metadata:
      name: '{{ .app }}-{{ .nameNormalized }}'
      labels: {env: '{{ .metadata.labels.env }}', app: '{{ .app }}'}
    spec:
      project: shop
      source:
        repoURL: https://git.example.com/shop.git
        targetRevision: main
        path: 'charts/{{ .app }}'
        helm:
          releaseName: '{{ .app | upper | lower }}'
          values: |
            size: {{ .values.size }}
            {{- if .prune }}
            pruned: yes
            {{- end }}
          parameters: [{name: a.b, value: '{{ .app }}'}]
      destination: {server: '{{ .server }}', namespace: 'ns-{{ .app }}'}
      syncPolicy:
        syncOptions: [CreateNamespace=true, ServerSideApply=true, Validate=false]
  templatePatch: |
    spec:
      source:
        helm:
          valueFiles:
          {{- range $file := .valueFiles }}
            - {{ $file }}
          {{- end }}
    {{- if .autoSync }}
      syncPolicy:
        automated:
          prune: {{ .prune }}
          selfHeal: true
    {{- end }}
"""
FAST_SET = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: addons, namespace: argocd}
spec:
  generators:
    - git:
        repoURL: https://git.example.com/shop.git
        revision: HEAD
        directories: [{path: "addons/*"}]
        requeueAfterSeconds: 60
        template: {metadata: {name: ""}, spec: {project: shop, source: {path: "x/{{path}}"}}}
      selector: {matchLabels: {"path[1]": one}}
  syncPolicy: {preserveResourcesOnDeletion: true}
  template:
    metadata: {name: '{{path.basename}}', annotations: {at: '{{path[0]}}/{{path[1]}}'}}
    spec:
      project: shop
      source: {repoURL: https://git.example.com/shop.git, targetRevision: HEAD, path: '{{path}}'}
      destination: {server: https://lab1:6443, namespace: default}
      syncPolicy: {automated: {}}
"""


def converted(*texts: str, **more: Any) -> Imported:
    return convert([("f.yaml", obj) for text in texts for obj in load_all(text, source="f.yaml")], **more)


def expanded(tmp_path: Path, text: str) -> tuple[list[dict[str, Any]], str]:
    (tmp_path / "set.yaml").write_text(text)
    (tmp_path / "clusters.yaml").write_text(SECRETS)
    for name in ("one", "two"):
        (tmp_path / "repo" / "addons" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / "addons" / name / "x.yaml").write_text("")
    result = runner.invoke(
        app,
        [
            *("expand", "-f", str(tmp_path / "set.yaml"), "--clusters", str(tmp_path / "clusters.yaml")),
            *("--repo", f"https://git.example.com/shop.git={tmp_path / 'repo'}", "-o", "json"),
        ],
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["items"], result.stderr


def test_a_go_set_expands_as_it_is(tmp_path: Path) -> None:
    children, said = expanded(tmp_path, GO_SET)
    assert [child["metadata"]["name"] for child in children] == ["a-eu1", "b-eu1"]
    first, second = (child["spec"] for child in children)
    assert (first["cluster"], first["namespace"]) == ("eu1", "ns-a")
    assert first["sources"] == [
        {
            "repoURL": "https://git.example.com/shop.git",
            "revision": "main",
            "path": "charts/a",
            "helm": {
                "releaseName": "a",
                "values": {"size": "prod-l", "pruned": True},
                "parameters": [{"name": "a.b", "value": "a"}],
                "valueFiles": ["x.yaml", "y.yaml"],
            },
        }
    ]
    assert first["sync"] == {
        "mode": "Auto",
        "prune": True,
        "drift": {"mode": "Correct"},
        "createNamespace": True,
    }
    assert second["sync"] == {
        "mode": "Manual",
        "prune": False,
        "drift": {"mode": "Alert"},
        "createNamespace": True,
    }
    assert second["sources"][0]["helm"]["values"] == {"size": "prod-l"}
    assert "Validate=false" in said
    assert "steps[2]: no equal" in said
    assert children[0]["metadata"]["namespace"] == "shop"


def test_what_argo_cd_makes_text_is_text(tmp_path: Path) -> None:
    ((child,), _) = expanded(
        tmp_path,
        """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: typed, namespace: argocd}
spec:
  goTemplate: true
  generators:
    - clusters: {selector: {matchLabels: {env: dev}}, values: {size: '{{ len .name }}'}}
  template:
    metadata: {name: typed}
    spec:
      project: shop
      destination: {name: lab1, namespace: x}
      source:
        repoURL: https://git.example.com/shop.git
        targetRevision: '{{ len .name }}'
        path: x
        helm:
          valuesObject: {a: '{{ len .name }}', b: '{{ eq .values.size "4" }}', c: ['{{ .name }}'], d: 4}
          parameters: [{name: size, value: '{{ len .name }}'}]
""",
    )
    assert child["spec"]["sources"][0]["revision"] == "4"
    assert child["spec"]["sources"][0]["helm"] == {
        "valuesObject": {"a": "4", "b": "true", "c": ["lab1"], "d": 4},
        "parameters": [{"name": "size", "value": "4"}],
    }


def test_a_fasttemplate_set_expands_as_it_is(tmp_path: Path) -> None:
    ((child,), _) = expanded(tmp_path, FAST_SET)
    assert child["metadata"]["name"] == "one"
    assert child["metadata"]["annotations"] == {"at": "addons/one"}
    assert child["spec"]["cluster"] == "lab1"
    assert child["spec"]["sources"][0]["path"] == "x/addons/one"


@pytest.mark.parametrize("text", [GO_SET, FAST_SET])
def test_the_imported_set_expands_to_the_same_children(tmp_path: Path, text: str) -> None:
    direct, _ = expanded(tmp_path, text)
    (tmp_path / "argo.yaml").write_text(text + "---" + SECRETS)
    result = runner.invoke(app, ["import", "argocd", str(tmp_path / "argo.yaml")])
    assert result.exit_code == 0, result.stderr
    again, said = expanded(tmp_path, result.stdout)
    assert again == direct
    assert said == "", "what was imported has nothing more to say"


def test_an_imported_set_is_a_set_that_our_api_takes() -> None:
    done = converted(GO_SET, FAST_SET)
    (go, fast) = (obj for _, obj in done.objects)
    validate_set(go["spec"], set_key="shop/web")
    validate_set(fast["spec"], set_key="shop/addons")
    assert go["spec"]["rollout"] == {
        "waves": [
            {
                "name": "step-1",
                "selector": {"matchExpressions": [{"key": "env", "operator": "In", "values": ["dev"]}]},
            },
            {
                "name": "step-2",
                "selector": {"matchExpressions": [{"key": "env", "operator": "In", "values": ["prod"]}]},
                "maxConcurrent": "10%",
            },
        ]
    }
    assert go["spec"]["template"]["spec"]["cluster"] == "{{ cluster.name }}"
    assert go["spec"]["generators"][0]["matrix"]["generators"][0]["clusters"]["values"] == {
        "size": '{{ metadata.labels["env"] }}-l'
    }
    assert fast["spec"]["deletion"] == {"policy": "Orphan"}
    assert fast["spec"]["generators"][0]["selector"] == {"matchLabels": {"path.segments.1": "one"}}
    assert fast["spec"]["generators"][0]["template"]["spec"] == {
        "sources": [
            {
                "repoURL": "https://git.example.com/shop.git",
                "revision": "HEAD",
                "path": "x/{{ path.path }}",
            }
        ]
    }


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


def test_a_patch_that_has_no_equal_freezes_the_set(tmp_path: Path) -> None:
    text = GO_SET.replace(
        "      source:\n        helm:\n          valueFiles:",
        "      info: [1]\n      source:\n        helm:\n          valueFiles:",
    )
    (tmp_path / "set.yaml").write_text(text)
    (tmp_path / "clusters.yaml").write_text(SECRETS)
    result = runner.invoke(
        app, ["expand", "-f", str(tmp_path / "set.yaml"), "--clusters", str(tmp_path / "clusters.yaml")]
    )
    assert result.exit_code == 2
    assert "templatePatch: it has no equal: spec.info" in result.stderr


def test_generators_that_ask_somebody_keep_what_we_have_at_any_depth() -> None:
    done = converted(
        """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: previews, namespace: argocd}
spec:
  goTemplate: true
  generators:
    - matrix:
        generators:
          - scmProvider:
              requeueAfterSeconds: 5
              github: {organization: org, tokenRef: {secretName: s, key: k}, appSecretName: app}
          - pullRequest:
              github: {owner: org, repo: "{{ .repository }}", labels: [preview]}
    - plugin: {configMapRef: {name: p}, input: {parameters: {a: "{{ .x }}"}}}
    - clusterDecisionResource: {configMapRef: ocm, name: d, requeueAfterSeconds: 180}
  template:
    metadata: {name: "{{ .number }}"}
    spec: {project: default, destination: {name: "{{ .name }}"}, source: {repoURL: "{{ .url }}", path: x}}
"""
    )
    ((_, obj),) = done.objects
    first, plugin, decision = obj["spec"]["generators"]
    scm, request = first["matrix"]["generators"]
    assert scm["scmProvider"] == {
        "requeueAfterSeconds": 30,
        "github": {"organization": "org", "tokenRef": {"secretName": "s", "key": "k"}},
    }
    assert request["pullRequest"]["github"]["repo"] == "{{ repository }}"
    assert plugin["plugin"]["input"] == {"parameters": {"a": "{{ x }}"}}
    assert decision["clusterDecisionResource"]["name"] == "d"
    assert obj["spec"]["template"]["spec"]["cluster"] == "{{ name }}"
    said = [str(note) for note in done.notes]
    assert any("scmProvider.github.appSecretName: no equal" in one for one in said)
    assert any("axletree.dev/credentials: generator" in one for one in said)
    validate_set(obj["spec"], set_key="default/previews")


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


def test_in_cluster_is_the_hub_that_every_hub_has(tmp_path: Path) -> None:
    text = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: web, namespace: argocd}
spec:
  generators: [{list: {elements: [{url: "https://kubernetes.default.svc", name: here}]}}]
  template:
    metadata: {name: "{{name}}"}
    spec:
      project: default
      source: {repoURL: "https://git.example.com/web.git", path: a}
      destination: {server: "{{url}}", namespace: web}
"""
    (tmp_path / "set.yaml").write_text(text)
    result = runner.invoke(app, ["expand", "-f", str(tmp_path / "set.yaml"), "-o", "json"])
    assert result.exit_code == 0, result.output
    (child,) = json.loads(result.stdout)["items"]
    assert child["spec"]["cluster"] == "hub"
