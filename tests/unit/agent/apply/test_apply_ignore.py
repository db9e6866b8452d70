from __future__ import annotations

from typing import Any

import pytest

from agent.apply.errors import ObjectInvalid
from agent.apply.ignore import Ignored, carried, effective, needs_managers
from agent.apply.options import CONFIRM_RECREATE, options_of
from agent.apply.prepare import kept
from agent.contract.bundle import ApplyPolicy
from agent.contract.manifest import ref_of
from agent.contract.options import IgnoreDifference, SyncOption

US = "axletree-test"


def deployment(replicas: int = 2, image: str = "web:1") -> dict[str, Any]:
    containers = [{"name": "main", "image": image}, {"name": "side", "image": "side:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
    }


def live(
    obj: dict[str, Any], *, ours: dict[str, Any], theirs: dict[str, Any] | None = None
) -> dict[str, Any]:
    entries = [{"manager": US, "operation": "Apply", "fieldsV1": ours}]
    if theirs is not None:
        entries.append({"manager": "hpa", "operation": "Update", "fieldsV1": theirs})
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def ignored(*paths: str, pointers: tuple[str, ...] = (), managers: tuple[str, ...] = ()) -> Ignored:
    return Ignored.of(pointers=pointers, paths=paths, managers=managers)


CONTAINERS: dict[str, Any] = {
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {"f:containers": {'k:{"name":"side"}': {".": {}, "f:name": {}, "f:image": {}}}}
        },
    }
}


def test_a12_what_others_own_is_left_out_and_what_is_ours_stays_as_it_is() -> None:
    rule = ignored(pointers=("/spec/replicas",))
    theirs = effective(deployment(2), live(deployment(7), ours={}), US, rule)
    assert "replicas" not in theirs["spec"]
    ours = effective(deployment(2), live(deployment(7), ours={"f:spec": {"f:replicas": {}}}), US, rule)
    assert ours["spec"]["replicas"] == 7


@pytest.mark.parametrize(
    "path",
    [
        ".spec.template.spec.containers[*].image",
        "$.spec.template.spec.containers[?(@.name=='main')].image",
        "spec.template['spec'].containers[0].image",
        "$['spec'].template.spec.containers[?(@.name == \"main\")].image",
    ],
)
def test_json_paths_reach_items_of_lists(path: str) -> None:
    found = effective(deployment(), live(deployment(image="web:2"), ours=CONTAINERS), US, ignored(path))
    main, side = found["spec"]["template"]["spec"]["containers"]
    assert "image" not in main
    assert side["image"] == "side:1"


def test_what_a_manager_owns_is_its_own() -> None:
    rule = ignored(managers=("hpa",))
    obj = live(
        deployment(7), ours={"f:metadata": {"f:labels": {"f:a": {}}}}, theirs={"f:spec": {"f:replicas": {}}}
    )
    found = effective(deployment(2), obj, US, rule)
    assert "replicas" not in found["spec"]
    assert found["metadata"] == {"name": "web", "labels": {"a": "b"}}
    assert not needs_managers(obj, US, rule)
    obj["metadata"]["managedFields"][1].pop("fieldsV1")
    assert needs_managers(obj, US, rule)


def test_a_copy_without_the_field_sets_of_others_is_asked_nothing_about_them() -> None:
    """As a watch keeps it; the same for a manager that owns nothing."""
    rule = ignored(managers=("hpa",))
    for theirs in ({}, None):
        obj = live(deployment(7), ours={}, theirs={})
        obj["metadata"]["managedFields"][1]["fieldsV1"] = theirs
        assert effective(deployment(2), obj, US, rule) == deployment(2)
    del obj["metadata"]["managedFields"][1]["fieldsV1"]
    assert effective(deployment(2), obj, US, rule) == deployment(2)


def test_a12_what_replaces_an_object_has_what_is_ignored_as_it_is_live() -> None:
    injected = {"name": "proxy", "image": "proxy:1"}
    there = deployment(replicas=5)
    there["metadata"] |= {"finalizers": ["example.com/hold"], "annotations": {"theirs": "x"}}
    there["spec"]["template"]["spec"]["containers"][0]["args"] = ["-v", "theirs"]
    there["spec"]["template"]["spec"]["containers"].append(injected)
    containers = {'k:{"name":"proxy"}': {".": {}, "f:name": {}, "f:image": {}}}
    owned = {
        "f:spec": {"f:template": {"f:spec": {"f:containers": containers}}},
        "f:status": {"f:replicas": {}},
    }
    there = live(there | {"status": {"replicas": 5}}, ours={}, theirs=owned)
    rule = ignored(
        ".spec.template.spec.containers[?(@.name=='main')].args[1]",
        ".metadata.name",
        pointers=("/spec/replicas", "/metadata/annotations/theirs", "/spec/nowhere"),
        managers=("hpa",),
    )
    wanted = deployment(image="web:2")
    wanted["spec"]["template"]["spec"]["containers"][0]["args"] = ["-q", "ours"]
    body = carried(wanted, there, rule)
    main, side, proxy = body["spec"]["template"]["spec"]["containers"]
    assert (body["spec"]["replicas"], "status" in body) == (5, False)
    assert main == {"name": "main", "image": "web:2", "args": ["-q", "theirs"]}
    assert (side["image"], proxy) == ("side:1", injected)
    assert body["metadata"] == {
        "name": "web",
        "labels": {"a": "b"},
        "annotations": {"theirs": "x"},
        "finalizers": ["example.com/hold"],
    }
    assert wanted["spec"]["replicas"] == 2


def test_what_names_an_object_is_never_ignored() -> None:
    rule = ignored(".kind", ".metadata.name", ".metadata.labels", ".spec.template.spec.containers[*].name")
    assert effective(deployment(), live(deployment(), ours={}), US, rule) == deployment()
    assert effective(
        deployment(), live({**deployment(), "spec": {}}, ours={}), US, ignored(".spec.replicas")
    ) == (deployment())


@pytest.mark.parametrize("path", ["", "$", ".a..b", ".a[?(@.b > 1)]", ".a[1:2]", "a b"])
def test_paths_that_do_not_read_are_refused(path: str) -> None:
    with pytest.raises(ObjectInvalid):
        ignored(path)
    with pytest.raises(ObjectInvalid):
        ignored(pointers=("spec",))


def test_options_come_from_the_app_and_from_annotations_ours_or_of_argo_cd() -> None:
    def options(policy: ApplyPolicy | None = None, **annotations: str) -> Any:
        obj = deployment()
        keys = {"ours": "axletree.dev/sync-options", "argo": "argocd.argoproj.io/sync-options"}
        obj["metadata"]["annotations"] = {keys[key]: value for key, value in annotations.items()}
        return options_of(obj, ref_of(obj), policy or ApplyPolicy())

    assert options(ours="Replace, IfNotPresent").replace
    assert options(ours="Replace, IfNotPresent").if_not_present
    assert options(argo="Replace=true,Force=true").recreate
    assert not options(ours="", argo="Replace=true").replace
    assert options(ApplyPolicy(options=[SyncOption.RECREATE])).recreate
    rule = IgnoreDifference(kind="Deploy*", name="web", json_pointers=["/spec/replicas"])
    assert options(ApplyPolicy(ignore_differences=[rule])).ignored
    other = IgnoreDifference(name="api", json_pointers=["/spec/replicas"])
    assert not options(ApplyPolicy(ignore_differences=[other])).ignored


def test_a24_what_holds_data_is_recreated_only_when_asked_twice() -> None:
    claim: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
    }
    policy = ApplyPolicy(options=[SyncOption.RECREATE])
    assert (
        options_of(claim, ref_of(claim), policy).recreate,
        options_of(claim, ref_of(claim), policy).unconfirmed,
    ) == (
        False,
        True,
    )
    claim["metadata"]["annotations"] = {CONFIRM_RECREATE: "other"}
    assert not options_of(claim, ref_of(claim), policy).recreate
    claim["metadata"]["annotations"] = {CONFIRM_RECREATE: "data"}
    assert options_of(claim, ref_of(claim), policy).recreate


@pytest.mark.parametrize(
    ("key", "value", "keeps"),
    [
        ("axletree.dev/keep", "true", True),
        ("helm.sh/resource-policy", "keep", True),
        ("argocd.argoproj.io/sync-options", "Prune=false", True),
        ("argocd.argoproj.io/sync-options", "Validate=false, Delete=false", True),
        ("argocd.argoproj.io/sync-options", "Replace=true", False),
        ("axletree.dev/keep", "false", False),
        ("axletree.dev/keep", "No", False),
        ("axletree.dev/keep", "ture", True),
        ("axletree.dev/keep", "until March", True),
    ],
)
def test_a33_keep_annotations_of_helm_and_argo_cd_count(key: str, value: str, keeps: bool) -> None:  # noqa: FBT001
    assert kept({"metadata": {"annotations": {key: value}}}) is keeps
