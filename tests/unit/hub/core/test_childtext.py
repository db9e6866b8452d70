from __future__ import annotations

from typing import Any

import pytest

from hub.core.childtext import with_texts
from hub.core.expansion import InvalidChild


def test_text_fields_are_text_and_others_keep_their_type() -> None:
    spec: dict[str, Any] = {
        "cluster": "eu1",
        "sync": {"prune": True, "retry": {"limit": 3}},
        "sources": [
            {
                "revision": 1.2,
                "path": 7,
                "jinja": {"values": {"replicas": 3}},
                "helm": {
                    "valuesObject": {"a": 1},
                    "parameters": [{"name": "a", "value": True}],
                    "valueFiles": [1],
                },
                "kustomize": {"images": [1], "commonLabels": {"v": 1}},
            },
            "not a map",
        ],
    }
    assert with_texts(spec) == {
        "cluster": "eu1",
        "sync": {"prune": True, "retry": {"limit": 3}},
        "sources": [
            {
                "revision": "1.2",
                "path": "7",
                "jinja": {"values": {"replicas": 3}},
                "helm": {
                    "valuesObject": {"a": 1},
                    "parameters": [{"name": "a", "value": "true"}],
                    "valueFiles": ["1"],
                },
                "kustomize": {"images": ["1"], "commonLabels": {"v": "1"}},
            },
            "not a map",
        ],
    }


def test_helm_values_as_text_are_a_map() -> None:
    assert with_texts({"sources": [{"helm": {"values": "a: 1\n"}}]}) == {
        "sources": [{"helm": {"values": {"a": 1}}}]
    }
    assert with_texts({"sources": [{"helm": {"values": ""}}]}) == {"sources": [{"helm": {"values": {}}}]}
    with pytest.raises(InvalidChild, match=r"spec\.sources\[0\]\.helm\.values: line [23]"):
        with_texts({"sources": [{"helm": {"values": "a: 1\nb: [\n"}}]})


@pytest.mark.parametrize("spec", [{}, {"sources": None}, {"sources": {}}, {"sources": [None, {"helm": 1}]}])
def test_what_is_wrong_in_other_ways_is_left_to_the_models(spec: dict[str, Any]) -> None:
    assert with_texts(dict(spec)) == spec
