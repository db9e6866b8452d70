"""One set of Argo CD that uses much at once, as people write them; expanded as it is, and imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner

from hub.cli.main import app
from tests.unit.hub.importers.argo import SECRETS, converted, expanded

if TYPE_CHECKING:
    from pathlib import Path

SET = """
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: addons, namespace: argocd}
spec:
  goTemplate: true
  goTemplateOptions: ["missingkey=error"]
  generators:
    - matrix:
        generators:
          - merge:
              mergeKeys: [name]
              generators:
                - clusters:
                    selector: {matchExpressions: [{key: env, operator: In, values: [prod, dev]}]}
                    values: {tier: '{{ index .metadata.labels "env" | upper }}', replicas: "1"}
                - list: {elements: [{name: eu1, values: {replicas: "3"}}]}
          - git:
              repoURL: https://git.example.com/shop.git
              revision: main
              directories: [{path: "addons/*"}, {path: addons/two, exclude: true}]
              values: {short: '{{ .path.basename | trunc 2 | quote }}'}
          - list:
              elementsYaml: |
                {{- range $i, $slot := list "blue" "green" }}
                - slot: {{ $slot }}
                  number: {{ $i }}
                {{- end }}
      selector:
        matchExpressions:
          - {key: values.tier, operator: NotIn, values: [TEST]}
          - {key: path.basename, operator: Exists}
  template:
    metadata:
      name: '{{ .path.basename }}-{{ .nameNormalized }}-{{ .slot }}'
      annotations:
        at: '{{ range $i, $part := .path.segments }}{{ if $i }}/{{ end }}{{ $part }}{{ end }}'
        id: '{{ printf "%.6s-%s" (sha256sum .name) .slot }}'
        plain: '{{ regexReplaceAll "[^a-z0-9]+" .path.path "-" }}'
        json: '{{ dict "b" (list 1 2) "a" true | toJson }}'
    spec:
      project: shop
      source:
        repoURL: https://git.example.com/shop.git
        targetRevision: main
        path: '{{ .path.path }}'
        helm: {parameters: [{name: replicas, value: '{{ .values.replicas }}'}]}
      destination: {name: '{{ .name }}', namespace: '{{ .path.basename }}'}
      syncPolicy: {automated: {prune: true, selfHeal: true}}
  templatePatch: |
    {{- if eq .metadata.labels.env "prod" }}
    spec:
      syncPolicy: {automated: {prune: false}}
      source:
        helm:
          valueFiles:
          {{- range list "base.yaml" (printf "%s.yaml" .slot) }}
            - {{ . }}
          {{- end }}
    {{- end }}
  ignoreApplicationDifferences:
    - jsonPointers: [/spec/source/targetRevision, /spec/syncPolicy/automated/prune]
  preservedFields: {annotations: [example.com/owner]}
  syncPolicy: {applicationsSync: create-update, preserveResourcesOnDeletion: true}
"""


def test_a_set_as_people_write_them_expands_as_it_is(tmp_path: Path) -> None:
    children, said = expanded(tmp_path, SET)
    names = [child["metadata"]["name"] for child in children]
    assert names == ["one-eu1-blue", "one-eu1-green", "one-lab1-blue", "one-lab1-green"]
    first, _, third, _ = children
    notes = first["metadata"]["annotations"]
    assert notes["at"] == "addons/one"
    assert notes["plain"] == "addons-one"
    assert notes["json"] == '{"a":true,"b":[1,2]}'
    assert notes["id"].endswith("-blue")
    assert len(notes["id"]) == len("123456-blue")
    helm = first["spec"]["sources"][0]["helm"]
    assert helm == {
        "parameters": [{"name": "replicas", "value": "3"}],
        "valueFiles": ["base.yaml", "blue.yaml"],
    }
    assert first["spec"]["sync"]["prune"] is False
    assert third["spec"]["sync"]["prune"] is True
    assert third["spec"]["sources"][0]["helm"] == {"parameters": [{"name": "replicas", "value": "1"}]}
    assert "no equal" not in said


def test_and_its_import_expands_to_the_same(tmp_path: Path) -> None:
    direct, _ = expanded(tmp_path, SET)
    (tmp_path / "argo.yaml").write_text(SET + "---" + SECRETS)
    result = CliRunner().invoke(app, ["import", "argocd", str(tmp_path / "argo.yaml"), "--strict"])
    assert result.exit_code == 0, result.stderr
    assert expanded(tmp_path, result.stdout)[0] == direct
    ((_, obj),) = converted(SET).objects
    assert obj["spec"]["ignoreDifferences"] == [
        {"jsonPointers": ["/spec/sources/0/revision", "/spec/sync/prune"]}
    ]
    assert obj["spec"]["deletion"] == {"policy": "Orphan", "budget": {"max": "0%", "min": 0}}
