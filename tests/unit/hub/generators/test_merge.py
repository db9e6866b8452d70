from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hub.core.expansion import ClusterFacts, ExpansionError, GeneratorError
from hub.core.needs import ExternalNeed
from hub.core.templating import TemplateEngine
from hub.generators.context import Context
from hub.generators.dispatch import generate
from hub.generators.external import MATCH_KEY

if TYPE_CHECKING:
    from hub.core.params import Params

SERVER = "axletree.dev/server"
CLUSTERS = (
    ClusterFacts("eu1", {"env": "prod"}, {SERVER: "https://eu1:6443"}),
    ClusterFacts("eu2", {"env": "prod"}),
    ClusterFacts("gone", eligible=False),
)


def run(generator: dict[str, Any], **more: Any) -> list[Params]:
    return generate(generator, Context(TemplateEngine(), clusters=CLUSTERS, **more))


def listed(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"list": {"elements": list(elements)}}


def merge(*generators: dict[str, Any], keys: tuple[str, ...] = ("k",), **more: Any) -> dict[str, Any]:
    return {"merge": {"mergeKeys": list(keys), "generators": list(generators), **more}}


BASE = listed({"k": 1, "v": {"a": 1, "b": 1}, "l": [1, 2]}, {"k": 2, "v": {"a": 2}})
OVER = listed({"k": 3, "v": {"a": 3}}, {"k": 1, "v": {"a": 9}, "l": [7]})


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (None, [(1, {"a": 9, "b": 1}), (2, {"a": 2})]),
        ("Left", [(1, {"a": 9, "b": 1}), (2, {"a": 2})]),
        ("Inner", [(1, {"a": 9, "b": 1})]),
        ("Outer", [(1, {"a": 9, "b": 1}), (2, {"a": 2}), (3, {"a": 3})]),
    ],
)
def test_merge_joins_in_the_first_generators_order(
    mode: str | None, expected: list[tuple[int, dict[str, int]]]
) -> None:
    rows = run(merge(BASE, OVER, **({"mode": mode} if mode else {})))
    assert [(row["k"], row["v"]) for row in rows] == expected
    assert rows[0]["l"] == [7], "lists are replaced"


def test_merge_of_three_and_dotted_keys_and_values() -> None:
    spec = merge(
        {"clusters": {"values": {"size": "small", "region": "eu-{{ name }}"}}},
        listed({"values": {"region": "eu-eu1", "size": "large"}}),
        listed({"values": {"region": "eu-eu2"}, "extra": True}),
        keys=("values.region",),
        values={"tag": "{{ name }}-{{ values.size }}"},
    )
    rows = run(spec)
    assert [(row["name"], row["values"]["tag"], row.get("extra")) for row in rows] == [
        ("eu1", "eu1-large", None),
        ("eu2", "eu2-small", True),
    ]
    assert "server" not in rows[1]


def test_merge_by_server_as_argo_cd_writes_it() -> None:
    spec = merge({"clusters": {}}, listed({"server": "https://eu1:6443", "x": 1}), keys=("server",))
    with pytest.raises(GeneratorError, match='a parameter set has no "server"'):
        run(spec)
    spec["merge"]["generators"][0]["selector"] = {
        "matchExpressions": [{"key": "server", "operator": "Exists"}]
    }
    assert [(row["name"], row["x"]) for row in run(spec)] == [("eu1", 1)]


def test_merge_and_matrix_nest_in_each_other_at_any_depth() -> None:
    inner: dict[str, Any] = {"matrix": {"generators": [{"clusters": {}}, listed({"app": "a"}, {"app": "b"})]}}
    for _ in range(3):
        inner = {"matrix": {"generators": [inner, listed({"deep": True})]}}
    rows = run(merge(inner, listed({"name": "eu2", "app": "b", "on": 1}), keys=("name", "app")))
    assert [(row["name"], row["app"], row.get("on")) for row in rows] == [
        ("eu1", "a", None),
        ("eu1", "b", None),
        ("eu2", "a", None),
        ("eu2", "b", 1),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (merge(BASE), "merge.generators: at least two"),
        (merge(BASE, OVER, keys=()), "merge.mergeKeys: at least one key"),
        (merge(BASE, OVER, mode="left"), "merge.mode: one of Left, Inner, Outer"),
        (merge(BASE, OVER, mergekeys=["k"]), 'unknown field "mergekeys"; did you mean "mergeKeys"'),
        (
            merge(BASE, listed({"k": 1}, {"k": 1})),
            'merge.generators[1]: two parameter sets have the same {"k": 1}',
        ),
        (merge(BASE, listed({"j": 1})), 'merge.generators[1]: a parameter set has no "k"'),
    ],
)
def test_merge_refuses(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        run(spec)
    assert message in str(caught.value)


def test_elements_yaml_may_come_from_what_was_read_before() -> None:
    before = listed({"key": {"components": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]}})
    for text in ("{{ key.components | to_yaml }}", "{{ key.components }}"):
        rows = run({"matrix": {"generators": [before, {"list": {"elementsYaml": text}}]}})
        assert [(row["name"], row["n"]) for row in rows] == [("a", 1), ("b", 2)]
    assert run({"list": {"elements": [{"a": 1}], "elementsYaml": "- {a: 2}\n"}}) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("text", ["a: 1", "- 1", "- {a: ", "3"])
def test_elements_yaml_that_is_no_list_of_maps(text: str) -> None:
    with pytest.raises(GeneratorError, match=r"list\.elementsYaml"):
        run({"list": {"elementsYaml": text}})


def test_flat_list_gives_one_set_with_all_clusters() -> None:
    (row,) = run({"clusters": {"flatList": True, "values": {"v": "{{ name }}!"}}})
    assert [(one["name"], one["values"]["v"]) for one in row["clusters"]] == [
        ("eu1", "eu1!"),
        ("eu2", "eu2!"),
    ]


def test_keys_that_are_no_identifiers_are_reached_through_params() -> None:
    (row,) = run({"list": {"elements": [{"my-key": 3}], "values": {"x": "{{ params['my-key'] }}"}}})
    assert row["values"] == {"x": 3}


def test_what_must_be_asked_is_written_down_and_used_when_it_is_known() -> None:
    context = Context(TemplateEngine(), clusters=CLUSTERS)
    spec = {
        "plugin": {
            "configMapRef": {"name": "p"},
            "input": {"parameters": {"a": "b"}},
            "values": {"x": "{{ n }}"},
        }
    }
    assert generate(spec, context) == []
    (need,) = context.wanted.external
    assert need == ExternalNeed(
        "plugin", '{"configMapRef": {"name": "p"}, "input": {"parameters": {"a": "b"}}}'
    )
    assert run(spec, external={need: [{"n": 1}]}) == [
        {"n": 1, "generator": {"input": {"parameters": {"a": "b"}}}, "values": {"x": 1}}
    ]


def test_decisions_choose_clusters_in_the_fleets_order() -> None:
    spec = {"clusterDecisionResource": {"configMapRef": "ocm", "name": "p"}}
    need = ExternalNeed("clusterDecisionResource", '{"configMapRef": "ocm", "name": "p"}')
    rows = [{MATCH_KEY: one, "reason": "r"} for one in ("gone", "eu2", "eu1")]
    found = run(spec, external={need: rows})
    assert [(row["name"], row["reason"]) for row in found] == [("eu1", "r"), ("eu2", "r")]
    assert run(spec, external={need: [{MATCH_KEY: "not-joined"}]}) == []
