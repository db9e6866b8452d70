from __future__ import annotations

import copy
from typing import Any

import pytest

from agent.apply.fields import (
    MAX_PATHS,
    differences,
    fingerprint,
    last_writer,
    own_fields,
    owns_label,
    suspects,
    trim,
)
from agent.apply.takeover import needs_takeover, takeover_patch

MANAGER = "axletree-test"
DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "args": ["-v"],
                        "ports": [{"containerPort": 80}],
                        "env": [],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {
                            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
                        },
                    }
                },
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        },
    },
}


def live() -> dict[str, Any]:
    obj = copy.deepcopy(DESIRED)
    obj["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "managedFields": [
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": copy.deepcopy(FIELDS)},
        ],
    }
    pod = obj["spec"]["template"]["spec"]
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"].append({"name": "sidecar", "image": "injected"})
    pod["dnsPolicy"] = "ClusterFirst"
    obj["status"] = {"replicas": 2}
    return obj


def container(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a10_defaults_and_what_others_add_are_not_suspect() -> None:
    assert suspects(DESIRED, live(), MANAGER) == ()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda obj: obj["spec"].update(replicas=3), ".spec.replicas"),
        (
            lambda obj: container(obj).update(image="web:2"),
            '.spec.template.spec.containers[{"name":"web"}].image',
        ),
        (
            lambda obj: container(obj).update(args=["-q"]),
            '.spec.template.spec.containers[{"name":"web"}].args',
        ),
        (lambda obj: obj["metadata"]["labels"].pop("app"), ".metadata.labels.app"),
        (
            lambda obj: obj["spec"]["template"]["spec"]["containers"].pop(0),
            '.spec.template.spec.containers[{"name":"web"}]',
        ),
    ],
)
def test_a_changed_or_removed_value_is_suspect(change: Any, path: str) -> None:
    obj = live()
    before = fingerprint(obj, MANAGER)
    change(obj)
    assert suspects(DESIRED, obj, MANAGER) == (path,)
    assert fingerprint(obj, MANAGER) != before


def test_a13_a_field_that_another_manager_took_is_suspect() -> None:
    obj = live()
    before = fingerprint(obj, MANAGER)
    del obj["metadata"]["managedFields"][1]["fieldsV1"]["f:spec"]["f:replicas"]
    assert suspects(DESIRED, obj, MANAGER) == (".spec.replicas",)
    assert fingerprint(obj, MANAGER) != before


def test_a_field_that_left_the_bundle_is_suspect() -> None:
    desired = copy.deepcopy(DESIRED)
    del desired["spec"]["replicas"]
    assert suspects(desired, live(), MANAGER) == (".spec.replicas",)


def test_a10_another_spelling_is_suspect_but_does_not_change_the_fingerprint() -> None:
    desired, obj = copy.deepcopy(DESIRED), live()
    desired["spec"]["replicas"] = "2"
    assert suspects(desired, obj, MANAGER) == (".spec.replicas",)
    touched = copy.deepcopy(obj)
    touched["status"] = {"replicas": 1}
    touched["spec"]["template"]["spec"]["dnsPolicy"] = "Default"
    touched["metadata"]["resourceVersion"] = "8"
    assert fingerprint(touched, MANAGER) == fingerprint(obj, MANAGER)


def test_sets_are_compared_by_member() -> None:
    fields = {"f:metadata": {"f:finalizers": {'v:"a"': {}}}}
    obj = {"metadata": {"finalizers": ["b", "a"], "managedFields": [_applied(fields)]}}
    assert suspects({"metadata": {"finalizers": ["a"]}}, obj, MANAGER) == ()
    obj["metadata"]["finalizers"] = ["b"]
    assert suspects({"metadata": {"finalizers": ["a"]}}, obj, MANAGER) != ()


def test_an_object_that_we_never_applied_is_suspect_as_a_whole() -> None:
    obj = live()
    obj["metadata"]["managedFields"].pop()
    assert suspects(DESIRED, obj, MANAGER) == ("",)
    assert own_fields(obj, MANAGER) is None
    assert fingerprint(obj, MANAGER) is None


def test_trimming_keeps_what_the_comparison_needs() -> None:
    obj = live()
    trimmed = trim(obj, MANAGER)
    ours, other = trimmed["metadata"]["managedFields"]
    assert ours == obj["metadata"]["managedFields"][1]
    assert other.keys() == {"manager", "time"}, "of the others, only who wrote last"
    assert fingerprint(trimmed, MANAGER) == fingerprint(obj, MANAGER)
    assert len(obj["metadata"]["managedFields"]) == 2


def test_a_label_is_owned_by_who_applied_it() -> None:
    assert owns_label(live(), MANAGER, "app")
    assert not owns_label(live(), MANAGER, "other")
    assert not owns_label(live(), "someone", "app")


def test_drift_is_told_by_path_and_never_by_value() -> None:
    before, after = live(), live()
    after["metadata"]["resourceVersion"] = "9"
    assert differences(before, after, FIELDS) == ()
    after["spec"]["replicas"] = 5
    container(after)["args"] = ["-v", "--password=hunter2"]
    paths = differences(before, after, FIELDS)
    assert paths == (".spec.replicas", '.spec.template.spec.containers[{"name":"web"}].args')


def test_drift_names_only_what_the_bundle_sets() -> None:
    before, after = live(), live()
    after["status"] = {"replicas": 1}
    after["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    after["spec"]["template"]["spec"]["containers"][1]["image"] = "injected:2"
    assert differences(before, after, FIELDS) == ()


def test_drift_is_bounded() -> None:
    names = [f"k{index}" for index in range(MAX_PATHS * 2)]
    fields = {"f:data": {f"f:{name}": {} for name in names}}
    assert (
        len(differences({"metadata": {}, "data": dict.fromkeys(names, "x")}, {"metadata": {}}, fields)) == 1
    )
    data = {"metadata": {}, "data": dict.fromkeys(names, "x")}
    other = {"metadata": {}, "data": dict.fromkeys(names, "y")}
    assert len(differences(data, other, fields)) == MAX_PATHS


def test_who_wrote_last_is_told_and_a_status_is_no_writing() -> None:
    obj = live()
    ours = obj["metadata"]["managedFields"][1] | {"time": "2026-01-01T10:00:00Z"}
    kubectl = {
        "manager": "kubectl-edit",
        "operation": "Update",
        "time": "2026-01-01T10:00:05Z",
        "fieldsV1": {},
    }
    status = kubectl | {"manager": "controller", "subresource": "status", "time": "2026-01-01T10:00:09Z"}
    obj["metadata"]["managedFields"] = [ours, kubectl, status]
    assert last_writer(obj, MANAGER) == "kubectl-edit"
    assert last_writer(trim(obj, MANAGER), MANAGER) == "kubectl-edit"
    obj["metadata"]["managedFields"] = [ours | {"time": "2026-01-01T10:01:00Z"}, kubectl]
    assert last_writer(obj, MANAGER) == ""


def test_a14_takeover_moves_the_fields_of_kubectl_and_drops_its_annotation() -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    theirs = {"f:data": {"f:a": {}, "f:gone": {}}, "f:metadata": {"f:annotations": {f"f:{last}": {}}}}
    obj = {
        "metadata": {
            "resourceVersion": "5",
            "annotations": {last: "{}"},
            "managedFields": [
                {"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1": theirs},
                _applied({"f:data": {"f:a": {}, "f:b": {}}}),
                {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {}},
            ],
        }
    }
    assert needs_takeover(obj)
    test, replaced, removed = takeover_patch(obj, MANAGER)
    assert test["value"] == "5"
    assert [entry["manager"] for entry in replaced["value"]] == [MANAGER, "hpa"]
    assert replaced["value"][0]["fieldsV1"]["f:data"] == {"f:a": {}, "f:b": {}, "f:gone": {}}
    assert replaced["value"][0]["fieldsV1"]["f:metadata"]["f:annotations"] == {}
    assert removed["path"] == "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"
    assert obj["metadata"]["managedFields"][1]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    assert not needs_takeover(live())


def _applied(fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
