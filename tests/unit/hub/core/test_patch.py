from __future__ import annotations

from typing import Any

import pytest

from hub.core.expand import expand
from hub.core.expansion import ClusterFacts, ExpandRequest, Expansion, ExpansionError
from hub.core.patch import PatchError, strategic_merge

SPEC = {
    "spec": {
        "sources": [{"path": "a"}],
        "sync": {"prune": True, "mode": "Auto"},
        "outputs": [{"name": "url", "value": "x"}, {"name": "ip", "value": "y"}],
    }
}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"sync": {"mode": "Manual"}}, {"sync": {"prune": True, "mode": "Manual"}}),
        ({"sync": {"mode": None}}, {"sync": {"prune": True}}),
        ({"sync": None}, {"sync": ...}),
        ({"sync": {"$patch": "replace", "prune": False}}, {"sync": {"prune": False}}),
        ({"sync": {"$patch": "delete"}}, {"sync": ...}),
        ({"sources": [{"path": "b"}]}, {"sources": [{"path": "b"}]}),
        (
            {"outputs": [{"name": "ip", "value": "z"}, {"name": "url", "$patch": "delete"}, {"name": "n"}]},
            {"outputs": [{"name": "ip", "value": "z"}, {"name": "n"}]},
        ),
        ({"new": {"deep": {"a": None, "b": 1}}}, {"new": {"deep": {"b": 1}}}),
    ],
)
def test_strategic_merge(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    merged = strategic_merge(SPEC, {"spec": patch})["spec"]
    for key, value in expected.items():
        assert merged.get(key, ...) == value
    assert {key: value for key, value in merged.items() if key not in expected} == {
        key: value for key, value in SPEC["spec"].items() if key not in expected
    }


@pytest.mark.parametrize(
    "patch", [{"$patch": "x"}, {"$retainKeys": ["a"]}, {"outputs": [{}]}, {"outputs": ["a"]}]
)
def test_a_patch_that_cannot_be_read(patch: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        strategic_merge(SPEC, {"spec": patch})


def expanded(patch: str, **spec: Any) -> Expansion:
    template = {
        "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"cluster": "{{ name }}", "sources": [{"repoURL": "https://h/x"}], **spec},
    }
    clusters = (
        ClusterFacts("eu1", annotations={"axletree.dev/server": "https://eu1:6443"}),
        ClusterFacts("eu2", eligible=False),
    )
    result = expand(
        ExpandRequest(
            "shop",
            "apps",
            {"generators": [{"clusters": {}}], "template": template, "templatePatch": patch},
            clusters=clusters,
        )
    )
    assert isinstance(result, Expansion)
    return result


def test_a_patch_is_a_template_and_merges() -> None:
    patch = """
    {% if name == "eu1" %}
    metadata: {labels: {ring: "0", a: null}}
    spec:
      sync: {mode: Manual}
    {% endif %}
    """
    (child,) = expanded(patch, sync={"prune": False}).children
    assert child.manifest["metadata"]["labels"]["ring"] == "0"
    assert "a" not in child.manifest["metadata"]["labels"]
    assert child.manifest["spec"]["sync"] == {"prune": False, "mode": "Manual"}


@pytest.mark.parametrize(
    "patch",
    [
        "metadata: {namespace: other}",
        "metadata: {$patch: replace, name: web, namespace: other}",
        "metadata: {finalizers: [x]}",
        "metadata: {ownerReferences: []}",
        "apiVersion: v1\nkind: Secret",
        "kind: Project",
        "status: {sync: {}}",
        "spec: {$patch: delete}",
        "$patch: delete",
        "spec: {cluster: eu3}",
        "- a",
    ],
)
def test_s11_a_patch_cannot_leave_its_project(patch: str) -> None:
    with pytest.raises(ExpansionError):
        expanded(patch)


def test_s11_a_patch_cannot_take_a_child_to_another_set() -> None:
    patch = "metadata: {labels: {axletree.dev/application-set: other, axletree.dev/cluster: x}}"
    (child,) = expanded(patch).children
    assert child.manifest["metadata"]["labels"]["axletree.dev/application-set"] == "apps"
    assert child.manifest["metadata"]["labels"]["axletree.dev/cluster"] == "eu1"


def test_a_cluster_may_be_called_by_its_address() -> None:
    (child,) = expanded("spec: {cluster: 'https://eu1:6443'}").children
    assert child.manifest["spec"]["cluster"] == "eu1"
    assert child.manifest["metadata"]["labels"]["axletree.dev/cluster"] == "eu1"
