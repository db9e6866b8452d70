"""The generated CRDs: what is checked in is what the models say, and every trap of pydantic's schema is avoided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from hub.api.application import ApplicationSpec
from hub.api.applicationset import ApplicationSetSpec
from hub.api.dependency import Dependency
from hub.api.generators import GitGenerator
from hub.api.project import ProjectSpec
from hub.api.registry import APPLICATION, CLUSTER, KINDS
from hub.api.schema import PLACES, crd, crds, files, structural, write
from hub.api.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[4]


def _nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from _nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from _nodes(schema["additionalProperties"], f"{path}{{}}")


def _schema(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_the_checked_in_files_are_what_the_models_say(place: str) -> None:
    there = {path.name: path.read_text() for path in (_ROOT / place).glob("*.axletree.dev.yaml")}
    assert there == files(), "run `make crds`"


def test_writing_removes_the_crds_of_kinds_that_are_no_more(tmp_path: Path) -> None:
    old = tmp_path / "things.axletree.dev.yaml"
    old.write_text("")
    other = tmp_path / "kustomization.yaml"
    other.write_text("")
    assert {path.name for path in write(tmp_path)} == set(files())
    assert not old.exists()
    assert other.exists()


def test_files_read_back_as_the_manifests() -> None:
    assert [yaml.safe_load(text) for text in files().values()] == crds()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_node_is_structural(kind: Any) -> None:
    for path, node in _nodes(_schema(crd(kind))):
        assert not node.keys() & {
            "$ref",
            "$defs",
            "title",
            "allOf",
            "oneOf",
            "propertyNames",
            "x-preserve",
        }, path
        assert node.get("default", ...) is not None, path
        untyped = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
        assert "type" in node or untyped, path
        assert not ("properties" in node and "additionalProperties" in node), path


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_list_map_and_string_of_spec_is_bounded(kind: Any) -> None:
    for path, node in _nodes(_schema(crd(kind))["properties"]["spec"], "spec"):
        match node.get("type"):
            case "array":
                assert "maxItems" in node, path
            case "string":
                assert "maxLength" in node or "enum" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


def test_defaults_are_in_spec_and_not_in_status() -> None:
    schema = _schema(crd(APPLICATION))["properties"]
    assert schema["spec"]["properties"]["sync"]["properties"]["prune"]["default"] is True
    assert not [path for path, node in _nodes(schema["status"], "status") if "default" in node]


def test_docstrings_are_descriptions() -> None:
    spec = _schema(crd(CLUSTER))["properties"]["spec"]["properties"]
    assert spec["accepted"]["description"].startswith("Double opt-in")


def test_a_union_is_refused_when_the_schema_is_made() -> None:
    with pytest.raises(TypeError, match="no unions"):
        structural({"anyOf": [{"type": "integer"}, {"type": "string"}]})


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        (Dependency, {}, "exactly one of name, selector, applicationSet"),
        (Dependency, {"name": "a", "clusters": {}}, "exactly one of scope, selector, names"),
        (GitGenerator, {"repoURL": "https://h/x"}, "exactly one of directories, files"),
        (ApplicationSetSpec, {"generators": [{}]}, "exactly one of list, clusters, git, scmProvider"),
        (ProjectSpec, {"trusted": True, "serviceAccount": "x"}, "exactly one of serviceAccount"),
        (Source, {"repoURL": "https://u:p@h/x"}, "repoURL"),
        (Source, {"repoURL": "https://h/x", "path": "a/.."}, "path"),
        (ApplicationSpec, {"cluster": "a", "sources": []}, "sources"),
    ],
)
def test_the_models_refuse_what_the_api_server_does(model: Any, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(value)


def test_paths_of_kinds() -> None:
    assert APPLICATION.path("shop", "web", "status") == (
        "/apis/axletree.dev/v1alpha1/namespaces/shop/applications/web/status"
    )
    assert CLUSTER.path("ignored", "eu1") == "/apis/axletree.dev/v1alpha1/clusters/eu1"
    assert APPLICATION.path() == "/apis/axletree.dev/v1alpha1/applications"
