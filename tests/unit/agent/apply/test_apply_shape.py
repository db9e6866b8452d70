"""What a bundle calls an object may be anything: it is refused with its place, and nothing breaks on it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.apply.errors import ObjectInvalid
from agent.apply.shape import well_formed

MAP: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
SECRET = MAP | {"kind": "Secret"}
CRD = MAP | {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (["a"], "object 2 is a list, not a map"),
        (MAP | {"apiVersion": 1}, "object 2 (ConfigMap): apiVersion is a number, not a text"),
        (MAP | {"kind": ["ConfigMap"]}, "kind is a list, not a text"),
        (MAP | {"metadata": ["x"]}, "object 2 (ConfigMap): metadata is a list, not a map"),
        (MAP | {"metadata": {"name": 5}}, "metadata.name is a number, not a text"),
        (MAP | {"metadata": {"name": "a", "namespace": ["b"]}}, "metadata.namespace is a list"),
        (MAP | {"metadata": {"name": "a", "labels": ["b"]}}, "ConfigMap a: metadata.labels is a list"),
        (MAP | {"metadata": {"name": "a", "annotations": "b"}}, "metadata.annotations is a text, not a map"),
        (CRD | {"spec": ["a"]}, "spec is a list, not a map"),
        (CRD | {"spec": {"names": "a"}}, "spec.names is a text, not a map"),
        (SECRET | {"data": ["a"], "stringData": {"b": "c"}}, "Secret web: data is a list, not a map"),
        (SECRET | {"stringData": {"port": 5}}, "stringData.port is a number, not a text: put it in quotes"),
        (SECRET | {"stringData": {"on": True}}, "stringData.on is true or false, not a text"),
    ],
)
def test_a7_what_has_not_the_shape_of_an_object_is_told_with_its_place(obj: Any, said: str) -> None:
    with pytest.raises(ObjectInvalid) as error:
        well_formed([MAP, obj])
    assert said in str(error.value)


def test_a7_what_is_left_out_is_no_matter_of_its_shape() -> None:
    spare = MAP | {"metadata": {"name": "a", "labels": None, "annotations": None, "namespace": None}}
    well_formed([spare, {}, SECRET | {"stringData": {"a": None}}, CRD | {"spec": None}])
