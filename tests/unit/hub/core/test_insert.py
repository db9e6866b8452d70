from __future__ import annotations

import json
from typing import Any

import pytest

from hub.core.children import validate_children
from hub.core.expand import expand
from hub.core.expansion import ClusterFacts, ExpandRequest, Expansion, ExpansionError, InvalidChild
from hub.core.insert import InputMisused, check_places, with_inputs, with_known

SOURCE = {"repoURL": "https://git.example.com/a", "path": "app"}
HOSTILE = "x'\"\n- op: remove\n  path: /spec\nevil: {{ inputs.db }}{{ cluster.name }}{% raw %}"


def spec_of(**more: Any) -> dict[str, Any]:
    inputs = [{"as": "db", "name": "database", "output": "endpoint"}]
    return {"cluster": "eu1", "sources": [SOURCE], "inputs": inputs} | more


def helm(values: Any) -> list[dict[str, Any]]:
    return [SOURCE | {"helm": {"values": values}}]


@pytest.mark.parametrize(
    ("values", "gives"),
    [
        ({"host": "{{ inputs.db }}"}, {"host": {"ip": "10.0.0.1", "ports": [5432]}}),
        ({"port": "{{inputs.db.ports[0]}}"}, {"port": 5432}),
        ({"url": "pg://{{ inputs.db.ip }}:{{ inputs.db.ports[0] }}/x"}, {"url": "pg://10.0.0.1:5432/x"}),
        ({"list": ["{{ inputs.db.ip }}"]}, {"list": ["10.0.0.1"]}),
        ({"text": "{{ .Values.inputs.db }}"}, {"text": "{{ .Values.inputs.db }}"}),
        ("host: {{ inputs.db.ip }}\nport: '{{ inputs.db.ports[0] }}'\n", {"host": "10.0.0.1", "port": 5432}),
    ],
)
def test_a_value_takes_the_place_of_its_reference_with_its_type(values: Any, gives: Any) -> None:
    spec = spec_of(sources=helm(values))
    check_places(spec)
    filled = with_inputs(spec, {"db": {"ip": "10.0.0.1", "ports": [5432]}})
    assert filled["sources"][0]["helm"]["values"] == gives


@pytest.mark.parametrize("quoted", ["{{ inputs.db }}", "'{{ inputs.db }}'", '"{{ inputs.db }}"'])
def test_s8_a_value_is_data_in_values_and_patches_and_never_read_or_rendered_again(quoted: str) -> None:
    spec = spec_of(
        sources=[
            *helm(f"a:\n  b: {quoted}\n"),
            SOURCE | {"jinja": {"enabled": True, "values": {"c": "{{ inputs.db }}"}}},
            SOURCE | {"kustomize": {"patches": [{"patch": f"- op: add\n  path: /d\n  value: {quoted}\n"}]}},
        ],
        patches=[{"patch": f"kind: X\nmetadata: {{name: x}}\nspec:\n  e: before {quoted.strip(chr(39))}\n"}]
        if quoted.startswith("{")
        else [],
    )
    check_places(spec)
    filled = with_inputs(spec, {"db": HOSTILE})
    assert filled["sources"][0]["helm"]["values"] == {"a": {"b": HOSTILE}}
    assert filled["sources"][1]["jinja"]["values"] == {"c": HOSTILE}
    patch = json.loads(filled["sources"][2]["kustomize"]["patches"][0]["patch"])
    assert patch == [{"op": "add", "path": "/d", "value": HOSTILE}]
    if filled["patches"]:
        assert json.loads(filled["patches"][0]["patch"])["spec"] == {"e": f"before {HOSTILE}"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"cluster": "{{ inputs.db }}"}, "spec.cluster: inputs go into source values"),
        ({"namespace": "{{ inputs.db }}"}, "spec.namespace"),
        ({"dependsOn": [{"name": "{{ inputs.db }}"}]}, r"spec.dependsOn\[0\].name"),
        ({"common": {"labels": {"a": "{{ inputs.db }}"}}}, "spec.common.labels.a"),
        ({"sources": [SOURCE | {"path": "{{ inputs.db }}"}]}, r"spec.sources\[0\].path"),
        (
            {"sources": [SOURCE | {"helm": {"parameters": [{"name": "a", "value": "{{ inputs.db }}"}]}}]},
            "value",
        ),
        ({"sources": helm({"a": "{{ inputs.other }}"})}, "no input is called other"),
        ({"sources": helm({"a": "{{ inputs.db | upper }}"})}, "with nothing else within the braces"),
        ({"sources": helm({"{{ inputs.db }}": 1})}, "no key of a map"),
    ],
)
def test_references_elsewhere_and_to_nothing_are_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputMisused, match=says):
        check_places(spec_of(**more))


def test_an_app_without_inputs_has_no_references() -> None:
    check_places(spec_of(inputs=[], namespace="{{ inputs.db }}"))


def test_a_path_that_the_value_does_not_have_is_an_error() -> None:
    with pytest.raises(InputMisused, match="has no host"):
        with_inputs(spec_of(sources=helm({"a": "{{ inputs.db.host }}"})), {"db": "10.0.0.1"})


def expanded(template: dict[str, Any], **more: Any) -> Expansion:
    request = ExpandRequest(
        namespace="shop",
        name="apps",
        spec={
            "generators": [{"clusters": {"names": ["eu1"]}}],
            "template": {"metadata": {"name": "web-{{ cluster.name }}"}, "spec": template},
        }
        | more,
        clusters=(ClusterFacts(name="eu1"),),
    )
    found = expand(request)
    assert isinstance(found, Expansion)
    return found


def test_a_sets_template_keeps_references_for_its_children() -> None:
    found = expanded(
        spec_of(
            cluster="{{ cluster.name }}",
            sources=helm("host: {{ inputs.db.ip }}\nname: {{ cluster.name }}\n"),
            patches=[{"patch": "a: '{{ cluster.name }}/{{ inputs.db }}'"}],
        ),
        templatePatch="spec: {common: {labels: {cluster: '{{ cluster.name }}'}}}",
    )
    (child,) = found.children
    validate_children(found.children, set_key="shop/apps")
    spec = child.manifest["spec"]
    assert spec["patches"] == [{"patch": "a: 'eu1/{{ inputs.db }}'"}]
    assert with_inputs(spec, {"db": {"ip": "10.0.0.1"}})["sources"][0]["helm"]["values"] == {
        "host": "10.0.0.1",
        "name": "eu1",
    }


@pytest.mark.parametrize(
    "text", ["{{ inputs.db | upper }}", "{{ inputs.db ~ 'x' }}", "{% if inputs.db %}x{% endif %}"]
)
def test_a_sets_template_cannot_compute_with_what_it_does_not_know(text: str) -> None:
    with pytest.raises(ExpansionError, match="not known yet here"):
        expanded(spec_of(sources=helm({"a": text})))


def test_a_childs_labels_are_not_made_of_inputs() -> None:
    with pytest.raises(InvalidChild, match="inputs go into source values and patches"):
        validate_children(
            expanded(spec_of(common={"labels": {"a": "{{ inputs.db }}"}})).children, set_key="shop/apps"
        )


def test_a_look_puts_in_what_is_known_and_leaves_the_rest() -> None:
    inputs = [{"as": each, "name": each, "output": "url"} for each in ("db", "queue")]
    spec = spec_of(inputs=inputs, sources=helm({"a": "{{ inputs.db }}", "b": "x {{ inputs.queue }}"}))
    filled = with_known(spec, [{"as": "db", "value": 7, "from": []}])
    assert filled["sources"][0]["helm"]["values"] == {"a": 7, "b": "x {{ inputs.queue }}"}
