"""Field sets, marks and patches of a takeover, as values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.apply.adopt import handover_patch, in_order, paths_of, plan_entry, subtract, tools_of
from agent.contract.adoption import AdoptionChange, AdoptionEntry
from agent.contract.manifest import ObjectRef

OURS = "axletree-11111111-22222222"
REF = ObjectRef("", "ConfigMap", "shop", "web")
FIELDS = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from([f"f:{name}" for name in "abc"]), inner, max_size=3),
    max_leaves=12,
)


def entry(manager: str, fields: dict[str, Any], operation: str = "Apply", **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def live(*entries: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "resourceVersion": "7", "managedFields": list(entries), **metadata},
        "data": {"a": "1", "b": "2"},
    }


DATA = {"f:data": {"f:a": {}}}


@pytest.mark.parametrize(
    ("manager", "operation", "tool"),
    [
        ("kubectl-client-side-apply", "Update", "kubectl"),
        ("kubectl", "Apply", "kubectl"),
        ("helm", "Apply", "Helm"),
        ("argocd-controller", "Apply", "Argo CD"),
        ("kustomize-controller", "Apply", "Flux"),
        ("axletree-33333333-44444444", "Apply", "another hub's agent"),
        ("work-agent", "Apply", "Open Cluster Management"),
    ],
)
def test_a13_who_else_manages_an_object_is_told_by_name(manager: str, operation: str, tool: str) -> None:
    assert tools_of(live(entry(OURS, DATA), entry(manager, DATA, operation)), OURS) == (tool,)


@pytest.mark.parametrize(
    "manager", ["kube-controller-manager", "kubectl-edit", "kubectl-rollout", "axletree-agent", OURS]
)
def test_controllers_people_and_ourselves_are_no_tools(manager: str) -> None:
    obj = live(entry(OURS, DATA), entry(manager, DATA))
    assert tools_of(obj, OURS) == ()
    assert handover_patch(obj, {"metadata": {}}, OURS) == []


def test_status_that_a_tool_wrote_is_not_taken_from_it() -> None:
    obj = live(entry(OURS, DATA), entry("helm", {"f:status": {}}, "Update", subresource="status"))
    assert tools_of(obj, OURS) == ()


def test_an_object_that_we_have_not_applied_is_not_handed_over() -> None:
    assert handover_patch(live(entry("helm", DATA)), {"metadata": {}}, OURS) == []


def test_a_mark_that_the_bundle_has_itself_stays() -> None:
    obj = live(
        entry(OURS, DATA),
        entry("helm", DATA),
        labels={"app.kubernetes.io/managed-by": "Helm"},
        annotations={"meta.helm.sh/release-name": "web", "note": "x"},
    )
    wanted = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}
    patch = handover_patch(obj, wanted, OURS)
    assert [step["path"] for step in patch] == [
        "/metadata/resourceVersion",
        "/metadata/managedFields",
        "/metadata/annotations/meta.helm.sh~1release-name",
    ]
    assert patch[1]["value"] == [entry(OURS, DATA)]
    removed = [step["path"] for step in handover_patch(obj, {"metadata": {}}, OURS)]
    assert "/metadata/labels/app.kubernetes.io~1managed-by" in removed


def test_argo_cds_label_is_its_mark_only_where_argo_cd_owns_it() -> None:
    labels = {"app.kubernetes.io/instance": "shop"}
    owned = {"f:metadata": {"f:labels": {"f:app.kubernetes.io/instance": {}}}}
    theirs = live(entry(OURS, DATA), entry("argocd-controller", owned), labels=labels)
    a_charts = live(entry(OURS, DATA), entry("argocd-controller", DATA), labels=labels)
    paths = [[step["path"] for step in handover_patch(obj, {}, OURS)] for obj in (theirs, a_charts)]
    assert ["/metadata/labels/app.kubernetes.io~1instance" in each for each in paths] == [True, False]


def test_what_another_tool_owns_alone_stays_and_what_kubectl_applied_goes() -> None:
    both = {"f:data": {"f:a": {}, "f:b": {}}}
    proposed = live(entry(OURS, DATA))
    stays = plan_entry(REF, live=live(entry("helm", both)), proposed=proposed, manager=OURS)
    assert (stays.change, stays.left, stays.paths) == (AdoptionChange.SAME, [".data.b"], [])
    applied = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"a": "1", "b": "2"}}'}
    kubectls = live(entry("kubectl-client-side-apply", both, "Update"), annotations=applied)
    goes = plan_entry(REF, live=kubectls, proposed=proposed, manager=OURS)
    assert (goes.change, goes.left, goes.paths) == (AdoptionChange.DIFFERS, [], ["-.data.b"])


def test_refusals_prunes_and_restarts_come_first() -> None:
    rows = [
        AdoptionEntry(ref="a", change=AdoptionChange.SAME),
        AdoptionEntry(ref="b", change=AdoptionChange.DIFFERS),
        AdoptionEntry(ref="c", change=AdoptionChange.DIFFERS, restarts=True),
        AdoptionEntry(ref="d", change=AdoptionChange.PRUNE),
        AdoptionEntry(ref="e", change=AdoptionChange.REFUSED),
    ]
    assert [row.ref for row in in_order(rows)] == ["e", "d", "c", "b", "a"]


@given(FIELDS, FIELDS)
def test_what_is_left_of_a_field_set_is_its_own_and_not_the_others(left: Any, right: Any) -> None:
    rest = set(paths_of(subtract(left, right)))
    assert rest <= set(paths_of(left))
    assert rest.isdisjoint(paths_of(right))
    assert subtract(left, left) == {}
    assert set(paths_of(subtract(left, {}))) == set(paths_of(left))
