from __future__ import annotations

from typing import Any

import pytest

from agent.apply.errors import ObjectInvalid
from agent.apply.hooks import Cleanup, Phase, groups, named, split, under_way
from agent.contract.bundle import ApplyPolicy, Bundle


def job(name: str = "migrate", **annotations: str) -> dict[str, Any]:
    keys = {key.replace("__", "/").replace("_", "-"): value for key, value in annotations.items()}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": keys}}


@pytest.mark.parametrize(
    ("key", "words", "phases"),
    [
        ("axletree.dev/hook", "PreSync", {Phase.PRE_SYNC}),
        ("axletree.dev/hook", "PostSync, SyncFail", {Phase.POST_SYNC, Phase.SYNC_FAIL}),
        ("argocd.argoproj.io/hook", "PreDelete", {Phase.PRE_DELETE}),
        ("helm.sh/hook", "pre-install,pre-upgrade", {Phase.PRE_SYNC}),
        ("helm.sh/hook", "post-upgrade", {Phase.POST_SYNC}),
        ("helm.sh/hook", "pre-delete", {Phase.PRE_DELETE}),
    ],
)
def test_the_annotations_of_argo_cd_and_helm_mean_the_same(key: str, words: str, phases: set[Phase]) -> None:
    members, hooks = split([job(**{key.replace("/", "__").replace("-", "_"): words})])
    assert not members
    assert hooks[0].phases == phases


def test_tests_and_rollbacks_never_run_and_sync_hooks_are_kept_applied() -> None:
    assert split([job(helm_sh__hook="x")]) == ([job(helm_sh__hook="x")], [])
    for word in ("test", "pre-rollback", "post-delete"):
        assert split([job(**{"helm.sh__hook": word})]) == ([], [])
    assert split([job(**{"argocd.argoproj.io__hook": "Skip"})]) == ([], [])
    kept = job(**{"argocd.argoproj.io__hook": "Sync"})
    assert split([kept]) == ([kept], [])
    installed = job(**{"helm.sh__hook": "crd-install"})
    assert split([installed]) == ([installed], [])


def test_our_annotation_goes_before_the_others_and_weights_order() -> None:
    both = job("b", **{"axletree.dev__hook": "PostSync", "helm.sh__hook": "pre-install"})
    early = job("a", **{"helm.sh__hook": "pre-install", "helm.sh__hook_weight": "-5"})
    late = job("c", **{"argocd.argoproj.io__hook": "PreSync", "argocd.argoproj.io__sync_wave": "3"})
    _, hooks = split([late, both, early])
    names = [[hook.ref.name for hook in group] for group in groups(hooks, Phase.PRE_SYNC)]
    assert names == [["a"], ["c"]]
    with pytest.raises(ObjectInvalid):
        split([job(**{"helm.sh__hook": "pre-install", "helm.sh__hook_weight": "heavy"})])


def test_delete_policies_are_read_in_both_spellings() -> None:
    wanted = {"helm.sh__hook": "pre-install", "helm.sh__hook_delete_policy": "hook-succeeded,hook-failed"}
    assert split([job(**wanted)])[1][0].cleanup == {Cleanup.SUCCEEDED, Cleanup.FAILED}
    argo = {"argocd.argoproj.io__hook": "PreSync", "argocd.argoproj.io__hook_delete_policy": "HookSucceeded"}
    assert split([job(**argo)])[1][0].cleanup == {Cleanup.SUCCEEDED}


def test_hooks_are_never_on_the_wire() -> None:
    _, hooks = split([job(**{"helm.sh__hook": "pre-install"})])
    assert "hooks" not in Bundle(policy=ApplyPolicy(), objects=[], hooks=hooks).wire()


def test_a_run_that_never_started_is_not_under_way() -> None:
    assert not under_way({"kind": "Job", "status": {"active": 1, "ready": 0}})
    assert under_way({"kind": "Job", "status": {"active": 1, "ready": 1}})
    assert not under_way({"kind": "Job", "status": {"succeeded": 1}})
    assert under_way({"kind": "Pod", "status": {"phase": "Running"}})
    assert not under_way({"kind": "Pod"})


def test_a_hook_with_a_generated_name_gets_one_that_stays_and_nothing_else_does() -> None:
    generated = {**job(axletree_dev__hook="x"), "metadata": {"generateName": "migrate-"}}
    assert named(generated) is generated
    generated["metadata"]["annotations"] = {"argocd.argoproj.io/hook": "PreSync"}
    first = named(generated)
    assert first["metadata"]["name"].startswith("migrate-")
    assert "generateName" not in first["metadata"]
    assert named({**generated, "spec": {"changed": True}})["metadata"] == first["metadata"]
    assert named(first) is first
    long = {**generated, "metadata": {**generated["metadata"], "generateName": "m" * 80}}
    assert len(named(long)["metadata"]["name"]) <= 63
    assert len(split([first])[1]) == 1
