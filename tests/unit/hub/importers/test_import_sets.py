"""ApplicationSets of Argo CD: expanded as they are, and imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hub.cli.main import app
from hub.core.children import validate_set
from tests.unit.hub.importers.argo import SECRETS, converted, expanded

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()

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
        "size": "{{ metadata.labels[\"env\"] | default('') }}-l"
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


@pytest.mark.parametrize("go", [True, False])
def test_globs_of_git_mean_what_they_mean_there(tmp_path: Path, *, go: bool) -> None:
    """`**` of directories is one folder there; `*` of files is Git's own, which crosses them."""
    for path in (
        "apps/web/charts/sub/x.yaml",
        "apps/api/x.yaml",
        "conf/eu/c.yaml",
        "conf/us/deep/c.yaml",
        "conf/c.yaml",
    ):
        (tmp_path / "repo" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / path).write_text("")  # an empty file says only where it is
    dot = "." if go else ""
    text = f"""
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {{name: globs, namespace: argocd}}
spec:
  goTemplate: {str(go).lower()}
  generators:
    - git: {{repoURL: "https://git.example.com/shop.git", revision: main, directories: [{{path: "apps/**"}}]}}
    - git: {{repoURL: "https://git.example.com/shop.git", revision: main, files: [{{path: "conf/*/c.yaml"}}]}}
  template:
    metadata: {{name: "{{{{{dot}path.basename}}}}"}}
    spec:
      project: shop
      source: {{repoURL: "https://git.example.com/shop.git", path: x, targetRevision: main}}
      destination: {{name: eu1, namespace: x}}
"""
    items, told = expanded(tmp_path, text)
    assert [one["metadata"]["name"] for one in items] == ["api", "web", "eu", "deep"]
    assert "`*` is `**` here" in told


@pytest.mark.parametrize("after", [True, False])
def test_a_parameter_called_cluster_is_the_sets_own(tmp_path: Path, *, after: bool) -> None:
    """Argo CD has none of that name, and people call their own so."""
    generators = ["- clusters: {}", "- list: {elements: [{cluster: a, url: b}]}"]
    text = f"""
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {{name: own, namespace: argocd}}
spec:
  generators:
    - matrix:
        generators:
          {generators[not after]}
          {generators[after]}
  template:
    metadata: {{name: "{{{{cluster}}}}-{{{{name}}}}"}}
    spec:
      project: shop
      source: {{repoURL: "https://git.example.com/shop.git", path: x, targetRevision: main}}
      destination: {{server: "{{{{server}}}}", namespace: x}}
"""
    items, _ = expanded(tmp_path, text)
    assert [(one["metadata"]["name"], one["spec"]["cluster"]) for one in items] == [
        ("a-eu1", "eu1"),
        ("a-lab1", "lab1"),
    ]


def test_keys_with_dots_are_the_maps_that_they_are_below(tmp_path: Path) -> None:
    """The older templates know flat parameters alone, and so do the elements of their lists."""
    text = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: dots, namespace: argocd}
spec:
  generators:
    - merge:
        mergeKeys: [name, metadata.labels.env]
        generators:
          - clusters: {values: {redis: "false", kept: k}}
          - list: {elements: [{name: lab1, values.redis: "true", metadata.labels.env: dev, values: {more: m}}]}
  template:
    metadata: {name: "{{name}}-{{values.redis}}-{{values.kept}}"}
    spec:
      project: shop
      source: {repoURL: "https://git.example.com/shop.git", path: x, targetRevision: main}
      destination: {server: "{{server}}", namespace: x}
"""
    items, _ = expanded(tmp_path, text)
    assert [one["metadata"]["name"] for one in items] == ["eu1-false-k", "lab1-true-k"]


def test_a_merge_of_more_than_our_kinds_take_is_bracketed(tmp_path: Path) -> None:
    later = "\n".join(
        f"            - list: {{elements: [{{name: eu1, values: {{last: v{at}}}}}]}}" for at in range(20)
    )
    text = f"""
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {{name: many, namespace: argocd}}
spec:
  goTemplate: true
  generators:
    - merge:
        mergeKeys: [name]
        generators:
            - clusters: {{values: {{last: none}}}}
{later}
  template:
    metadata: {{name: "{{{{.name}}}}-{{{{.values.last}}}}"}}
    spec:
      project: shop
      source: {{repoURL: "https://git.example.com/shop.git", path: x, targetRevision: main}}
      destination: {{server: "{{{{.server}}}}", namespace: x}}
"""
    items, _ = expanded(tmp_path, text)
    assert [one["metadata"]["name"] for one in items] == ["eu1-v19", "lab1-none"]
    ((_, obj),) = [each for each in converted(text).objects if each[1]["kind"] == "ApplicationSet"]
    validate_set(obj["spec"], set_key="shop/many")
