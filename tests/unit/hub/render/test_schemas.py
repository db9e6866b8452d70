from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.kube.yaml import load_all
from hub.render.schemas import SchemaMismatch, check_schemas

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [size, mode, port]
              properties:
                size: {type: integer, minimum: 1, exclusiveMinimum: true}
                mode: {type: string, enum: [Fast, Slow], default: Fast}
                port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
                name: {type: string, pattern: "^[a-z]+$", nullable: true}
                labels: {type: object, additionalProperties: {type: string}}
                free: {type: object, x-kubernetes-preserve-unknown-fields: true}
                list: {type: array, maxItems: 2, items: {type: object, properties: {a: {type: string}}}}
                one: {type: object, properties: {x: {type: string}, z: {type: string}},
                      oneOf: [{required: [x]}, {required: [z]}]}
                template: {type: object, x-kubernetes-embedded-resource: true,
                           properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
"""
GOOD: dict[str, Any] = {"size": 2, "port": 80}


def bundle(spec: Any, version: str = "v1") -> list[Manifest]:
    widget = {
        "apiVersion": f"example.com/{version}",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": spec,
    }
    return [widget, *load_all(CRD)]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"mode": "Slow", "port": "http", "name": None, "labels": {"a": "b"}},
        {"free": {"anything": [1, {"x": None}]}, "list": [{"a": "x"}, {}]},
        {"one": {"z": "1"}, "template": {"apiVersion": "v1", "kind": "X", "metadata": {}, "spec": {"a": 1}}},
    ],
)
def test_what_the_crd_takes_passes(more: dict[str, Any]) -> None:
    check_schemas(bundle(GOOD | more), where="repo")


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({"size": "hunter2"}, ".spec.size"),
        ({"size": 1}, ".spec.size"),
        ({"mode": "hunter2"}, ".spec.mode"),
        ({"port": 1.5}, ".spec.port"),
        ({"name": "hunter2"}, ".spec.name"),
        ({"nmae": "x"}, ".spec"),
        ({"labels": {"a": 1}}, ".spec.labels.a"),
        ({"list": [{"b": "x"}]}, ".spec.list[0]"),
        ({"list": [{}, {}, {}]}, ".spec.list"),
        ({"one": {"x": "1", "z": "2"}}, ".spec.one"),
        ({"port": None}, ".spec"),
    ],
)
def test_what_it_refuses_is_told_without_the_value(more: dict[str, Any], at: str) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        check_schemas(bundle(GOOD | more), where="repo")
    assert f"w: {at}: " in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_kinds_and_versions_that_nobody_brings_are_the_spokes() -> None:
    check_schemas(bundle({"x": 1})[:1], where="repo")
    check_schemas(bundle({"x": 1}, version="v2"), where="repo")


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"properties": []}, [], "text", {"pattern": "("}])
def test_a_schema_that_does_not_read_is_the_api_servers_to_refuse(schema: Any) -> None:
    found = bundle(GOOD)
    found[1]["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    check_schemas(found, where="repo")
