"""Options of an app and its objects: what others may change, what is replaced, recreated, or left alone."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.options import CONFIRM_RECREATE
from agent.apply.result import COMPLETED, Action
from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_KEEP
from agent.contract.options import IgnoreDifference, SyncOption
from tests.integration.apply.rig import App, did

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.cluster
APPS, BATCH = "/apis/apps/v1", "/apis/batch/v1"


def workload(
    kind: str = "Deployment", /, *, app: str = "web", image: str = "web:1", **spec: Any
) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    fixed: dict[str, Any] = {"selector": {"matchLabels": {"app": app}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": {**fixed, **spec}}


def job(image: str = "migrate:1", **spec: Any) -> dict[str, Any]:
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"template": pod, **spec},
    }


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def service(**spec: Any) -> dict[str, Any]:
    fixed = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {**fixed, **spec}}


async def scaled(app: App, replicas: int) -> None:
    """As an autoscaler does it."""
    path = app.path("deployments", "web", APPS)
    await app.client.merge_patch(
        path, {"spec": {"replicas": replicas}}, subresource="scale", field_manager="hpa"
    )


@pytest.mark.parametrize(
    "rule",
    [
        IgnoreDifference(kind="Deployment", json_pointers=["/spec/replicas"]),
        IgnoreDifference(managers=["hpa"]),
    ],
    ids=["path", "manager"],
)
async def test_a12_an_autoscaler_keeps_the_replicas_that_it_chose(app: App, rule: IgnoreDifference) -> None:
    policy = {"ignore_differences": [rule]}
    await app.run([workload(replicas=2)], **policy)
    path = app.path("deployments", "web", APPS)
    assert (await app.need(path))["spec"]["replicas"] == 2
    await scaled(app, 5)
    assert did(await app.run([workload(replicas=2)], **policy)) == {"Deployment/web": Action.UNCHANGED}
    await app.run([workload(replicas=3, image="web:2")], **policy)
    live = await app.need(path)
    assert live["spec"]["replicas"] == 5
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    app.restart()
    assert did(await app.run([workload(replicas=3, image="web:2")], **policy)) == {
        "Deployment/web": Action.UNCHANGED
    }
    await app.run([workload(replicas=2)])
    assert (await app.need(path))["spec"]["replicas"] == 2


async def test_replace_drops_what_others_added_and_a_second_apply_writes_nothing(app: App) -> None:
    obj = config_map(a="1")
    obj["metadata"]["annotations"] = {"axletree.dev/sync-options": "Replace"}
    await app.run([obj])
    path = app.path("configmaps", "settings")
    await app.client.merge_patch(path, {"data": {"a": "2", "theirs": "x"}})
    await app.run([obj])
    assert (await app.need(path))["data"] == {"a": "1"}
    before = (await app.need(path))["metadata"]["resourceVersion"]
    assert did(await app.run([obj])) == {"ConfigMap/settings": Action.UNCHANGED}
    app.restart()
    assert did(await app.run([obj])) == {"ConfigMap/settings": Action.UNCHANGED}
    assert (await app.need(path))["metadata"]["resourceVersion"] == before


async def test_if_not_present_makes_it_once_and_leaves_it_alone(app: App) -> None:
    policy = {"options": [SyncOption.IF_NOT_PRESENT]}
    await app.run([config_map(a="1")], **policy)
    path = app.path("configmaps", "settings")
    await app.client.merge_patch(path, {"data": {"a": "theirs"}})
    assert did(await app.run([config_map(a="2")], **policy)) == {"ConfigMap/settings": Action.UNCHANGED}
    assert (await app.need(path))["data"] == {"a": "theirs"}
    await app.client.delete(path)
    await app.run([config_map(a="2")], **policy)
    assert (await app.need(path))["data"] == {"a": "2"}


async def test_a21_a_selector_that_changes_is_recreated_only_where_that_is_asked(app: App) -> None:
    assert (await app.run([workload()])).ok
    path = app.path("deployments", "web", APPS)
    before = (await app.need(path))["metadata"]["uid"]
    assert [each.reason for each in (await app.run([workload(app="other")])).failed] == ["ImmutableField"]
    result = await app.run([workload(app="other")], options=[SyncOption.RECREATE])
    assert did(result) == {"Deployment/web": Action.CREATED}
    live = await app.need(path)
    assert live["metadata"]["uid"] != before
    assert app.inventory.entries[result.entries[0].ref].uid == live["metadata"]["uid"]


async def test_a21_what_a_finalizer_holds_is_made_again_when_it_is_gone(app: App) -> None:
    held = workload()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await app.run([held])
    (waits,) = (await app.run([workload(app="other")], options=[SyncOption.RECREATE])).failed
    assert (waits.reason, waits.transient) == ("Terminating", True)
    path = app.path("deployments", "web", APPS)
    await app.client.json_patch(path, [{"op": "remove", "path": "/metadata/finalizers"}])
    await app.gone(path)
    assert did(await app.run([workload(app="other")], options=[SyncOption.RECREATE])) == {
        "Deployment/web": Action.CREATED
    }


async def test_a22_a_cluster_ip_that_changes_is_told_and_recreated_where_asked(app: App) -> None:
    await app.run([service()])
    path = app.path("services", "web")
    before = (await app.need(path))["spec"]["clusterIP"]
    network, _, last = before.rpartition(".")
    other = f"{network}.{(int(last) + 57) % 200 + 20}"
    (failed,) = (await app.run([service(clusterIP=other)])).failed
    assert (failed.reason, failed.transient) == ("ImmutableField", False), failed.message
    assert (await app.run([service(clusterIP=other)], options=[SyncOption.RECREATE])).ok
    assert (await app.need(path))["spec"]["clusterIP"] == other


async def test_a23_a_jobs_template_that_changes_is_told_and_recreated_where_asked(app: App) -> None:
    await app.run([job()])
    (failed,) = (await app.run([job("migrate:2")])).failed
    assert (failed.reason, "template" in failed.message) == ("ImmutableField", True)
    assert did(await app.run([job("migrate:2")], options=[SyncOption.RECREATE])) == {
        "Job/migrate": Action.CREATED
    }


def storage_class(name: str, provisioner: str) -> dict[str, Any]:
    metadata = {"name": name}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": metadata,
        "provisioner": provisioner,
    }


def role_binding(role: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "web"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "web"}],
    }


def secret(value: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "immutable": True,
        "stringData": {"a": value},
    }


def claim(mode: str) -> dict[str, Any]:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def stateful_set(service_name: str) -> dict[str, Any]:
    return workload("StatefulSet", serviceName=service_name)


async def test_a24_what_cannot_be_changed_is_told_by_kind_and_asks_twice_where_data_is(app: App) -> None:
    name = f"class-{app.namespace}"
    first = [
        storage_class(name, "a.io/x"),
        role_binding("a"),
        secret("1"),
        claim("ReadWriteOnce"),
        stateful_set("a"),
    ]
    changed = [
        storage_class(name, "b.io/x"),
        role_binding("b"),
        secret("2"),
        claim("ReadOnlyMany"),
        stateful_set("b"),
    ]
    assert (await app.run(first)).ok
    failed = (await app.run(changed)).failed
    assert {each.ref.kind: (each.reason, each.transient) for each in failed} == {
        each["kind"]: ("ImmutableField", False) for each in changed
    }
    failed = (await app.run(changed, options=[SyncOption.RECREATE])).failed
    assert sorted(each.ref.kind for each in failed) == ["PersistentVolumeClaim", "StatefulSet"]
    assert all(CONFIRM_RECREATE in each.message for each in failed)
    changed[4]["metadata"]["annotations"] = {CONFIRM_RECREATE: "web"}
    failed = (await app.run(changed, options=[SyncOption.RECREATE])).failed
    assert [each.ref.kind for each in failed] == ["PersistentVolumeClaim"]
    await app.delete_all()


async def test_a27_a_suspended_job_is_applied_and_released_in_place(app: App) -> None:
    await app.run([job(suspend=True)])
    path = app.path("jobs", "migrate", BATCH)
    before = (await app.need(path))["metadata"]["uid"]
    result = await app.run([job(suspend=True)])
    assert [(each.action, each.reason == COMPLETED) for each in result.entries] == [(Action.UNCHANGED, False)]
    assert did(await app.run([job(suspend=False)])) == {"Job/migrate": Action.CONFIGURED}
    live = await app.need(path)
    assert (live["metadata"]["uid"], live["spec"]["suspend"]) == (before, False)


async def test_a15_a_list_that_is_replaced_whole_is_ours_as_a_whole(app: App) -> None:
    args = workload()
    args["spec"]["template"]["spec"]["containers"][0]["args"] = ["--a", "--b"]
    await app.run([args])
    path = app.path("deployments", "web", APPS)
    added = [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--theirs"}]
    await app.client.json_patch(path, added)
    assert did(await app.run([args])) == {"Deployment/web": Action.CONFIGURED}
    live = await app.need(path)
    assert live["spec"]["template"]["spec"]["containers"][0]["args"] == ["--a", "--b"]
    assert did(await app.run([args])) == {"Deployment/web": Action.UNCHANGED}


async def test_a20_an_account_that_stands_last_is_there_before_what_runs_as_it(app: App) -> None:
    """The admission plugin refuses Pods whose ServiceAccount does not exist."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "runner"},
        "spec": {"serviceAccountName": "runner", "containers": [{"name": "main", "image": "x"}]},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    result = await app.run([pod, account])
    assert result.ok, result.failed
    assert [entry.ref.kind for entry in result.entries] == ["ServiceAccount", "Pod"]


async def test_a45_an_app_that_does_not_prune_keeps_what_its_bundle_dropped(app: App) -> None:
    other = config_map(a="1")
    other["metadata"]["name"] = "other"
    await app.run([config_map(a="1"), other])
    result = await app.run([config_map(a="2")], prune=False)
    assert did(result) == {"ConfigMap/settings": Action.CONFIGURED}
    assert await app.has_config_map("other")
    assert len(app.inventory.entries) == 2
    await app.run([config_map(a="2")])
    assert not await app.has_config_map("other")


async def test_a30_a_delete_that_admission_denies_is_tried_again(app: App) -> None:
    name = f"guard-{app.namespace}"
    api = "/apis/admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": app.namespace}}
    await app.run([config_map(a="1"), {**config_map(), "metadata": {"name": "canary"}}])
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "not today"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    await app.client.create(f"{api}/validatingadmissionpolicies", policy)
    await app.client.create(f"{api}/validatingadmissionpolicybindings", binding)
    try:

        async def denied() -> bool:
            try:
                await app.client.delete(app.path("configmaps", "canary"), dry_run=True)
            except ApiError:
                return True
            return False

        await app.until(denied)
        result = await app.run([{**config_map(), "metadata": {"name": "canary"}}])
        assert not result.ok
        assert "not today" in result.failed[0].message
        assert await app.has_config_map("settings")
        assert len(app.inventory.entries) == 2
    finally:
        await app.client.delete(f"{api}/validatingadmissionpolicybindings/{name}")
        await app.client.delete(f"{api}/validatingadmissionpolicies/{name}")

    async def pruned() -> bool:
        await app.run([{**config_map(), "metadata": {"name": "canary"}}])
        return not await app.has_config_map("settings")

    await app.until(pruned)


async def test_a11_what_admission_adds_and_changes_is_no_fight(app: App) -> None:
    """It adds a field, or makes another value of ours: applied once; no write follows, restarts included."""
    name = f"mutate-{app.namespace}"
    api = "/apis/admissionregistration.k8s.io/v1"
    operations = ["CREATE", "UPDATE"]
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": app.namespace}}
    expression = """[
        JSONPatch{op: "add", path: "/data/extra", value: "added"},
        JSONPatch{op: "replace", path: "/data/a", value: object.data.a == "1" ? "1" : "theirs"}
    ]"""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    await app.run([{**config_map(a="1"), "metadata": {"name": "canary"}}])
    await app.client.create(f"{api}/mutatingadmissionpolicies", policy)
    await app.client.create(f"{api}/mutatingadmissionpolicybindings", binding)
    canary = {**config_map(a="1"), "metadata": {"name": "probe"}}
    probe = app.path("configmaps", "probe")

    async def mutates() -> bool:
        made = await app.client.apply(probe, canary, field_manager="tests", dry_run=True)
        return "extra" in made["data"]

    try:
        await app.until(mutates)
        for value, live in (("1", "1"), ("2", "theirs")):
            wanted = [config_map(a=value), {**config_map(a="1"), "metadata": {"name": "canary"}}]
            assert (await app.run(wanted)).ok
            before = await app.config_map("settings")
            assert before["data"] == {"a": live, "extra": "added"}
            for restart in (False, True):
                if restart:
                    app.restart()
                result = await app.run(wanted)
                assert {entry.action for entry in result.entries} == {Action.UNCHANGED}
                told = {
                    each.path: (each.wanted, each.live) for entry in result.entries for each in entry.residue
                }
                assert told == ({} if value == live else {".data.a": ('"2"', '"theirs"')})
                after = await app.config_map("settings")
                assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    finally:
        await app.client.delete(f"{api}/mutatingadmissionpolicybindings/{name}")
        await app.client.delete(f"{api}/mutatingadmissionpolicies/{name}")


async def test_a13_a_field_that_another_manager_took_is_a_failure_where_that_is_asked(app: App) -> None:
    options = [SyncOption.FAIL_ON_CONFLICT]
    assert (await app.run([config_map(a="1")], options=options)).ok
    path = app.path("configmaps", "settings")
    await app.client.apply(path, config_map(a="theirs"), field_manager="their-tool", force=True)
    result = await app.run([config_map(a="2")], options=options)
    (failed,) = result.failed
    assert (failed.reason, failed.transient) == ("FieldConflict", False)
    assert "their-tool" in failed.message
    assert (await app.config_map("settings"))["data"] == {"a": "theirs"}
    assert (await app.run([config_map(a="2")])).ok
    assert (await app.config_map("settings"))["data"] == {"a": "2"}


async def test_a17_an_immutable_field_that_leaves_the_bundle_and_stays_is_residual_drift(app: App) -> None:
    address = "10.96.200.177"
    assert (await app.run([service(clusterIP=address, sessionAffinity="None")])).ok
    result = await app.run([service()])
    (entry,) = result.entries
    assert result.ok
    assert [(each.path, each.wanted, each.live) for each in entry.residue] == [
        (".spec.clusterIP", "(not there)", f'"{address}"')
    ]
    (again,) = (await app.run([service()])).entries
    assert (again.action, again.residue) == (Action.UNCHANGED, entry.residue)
    app.restart()
    (again,) = (await app.run([service()])).entries
    assert again.residue == entry.residue, "a restart does not forget it"


@pytest.mark.parametrize(
    ("rule", "bundle_says"),
    [
        (IgnoreDifference(kind="Deployment", json_pointers=["/spec/replicas"]), True),
        (IgnoreDifference(kind="Deployment", json_pointers=["/spec/replicas"]), False),
        (IgnoreDifference(managers=["hpa"]), True),  # a scaled default has no owner that could be named
    ],
    ids=["path", "path that the bundle does not have", "manager"],
)
async def test_a12_replacing_the_whole_object_leaves_what_is_ignored_and_what_holds_it(
    app: App, rule: IgnoreDifference, *, bundle_says: bool
) -> None:
    policy = {"ignore_differences": [rule], "options": [SyncOption.REPLACE]}
    more = {"replicas": 2} if bundle_says else {}
    await app.run([workload(**more)], **policy)
    path = app.path("deployments", "web", APPS)
    await scaled(app, 5)
    held = {"metadata": {"finalizers": ["example.com/hold"], "annotations": {"theirs": "x"}}}
    await app.client.merge_patch(path, held)
    assert (await app.run([workload(image="web:2", **more)], **policy)).ok
    live = await app.need(path)
    assert live["spec"]["replicas"] == 5
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert live["metadata"]["finalizers"] == ["example.com/hold"]
    assert "theirs" not in live["metadata"]["annotations"]
    version = live["metadata"]["resourceVersion"]
    app.restart()
    await app.run([workload(image="web:2", **more)], **policy)
    assert (await app.need(path))["metadata"]["resourceVersion"] == version
    await app.client.merge_patch(path, {"metadata": {"finalizers": None}})


async def test_a21_what_could_not_be_made_again_or_is_to_be_kept_is_not_deleted_for_it(app: App) -> None:
    policy = {"options": [SyncOption.RECREATE]}
    assert (await app.run([workload()])).ok
    path = app.path("deployments", "web", APPS)
    before = (await app.need(path))["metadata"]["uid"]

    async def refused(obj: dict[str, Any]) -> str:
        (failed,) = (await app.run([obj], **policy)).failed
        live = await app.need(path)
        assert (failed.reason, live["metadata"]["uid"]) == ("RecreateRefused", before)
        assert "deletionTimestamp" not in live["metadata"]
        return failed.message

    assert "spec.replicas" in await refused(workload(app="other", replicas=-1))
    await app.client.merge_patch(path, {"metadata": {"annotations": {ANNOTATION_KEEP: "true"}}})
    assert "keep annotation" in await refused(workload(app="other"))
    await app.client.merge_patch(path, {"metadata": {"annotations": {ANNOTATION_KEEP: None}}})
    async with _denied(app, "CREATE", "deployments"):
        assert "no new ones" in await refused(workload(app="other"))
    assert did(await app.run([workload(app="other")], **policy)) == {"Deployment/web": Action.CREATED}


async def test_a22_a_port_that_the_old_service_still_has_is_no_reason_to_keep_it(app: App) -> None:
    policy = {"options": [SyncOption.RECREATE]}
    ports = [{"port": 80, "nodePort": 30077}]
    assert (await app.run([service(type="NodePort", ports=ports)])).ok
    path = app.path("services", "web")
    before = await app.need(path)
    cluster_ip = "10.96.7.7" if before["spec"]["clusterIP"] != "10.96.7.7" else "10.96.7.8"
    wanted = service(type="NodePort", ports=ports, clusterIP=cluster_ip)
    result = await app.run([wanted], **policy)
    assert result.ok, result.entries
    assert (await app.need(path))["metadata"]["uid"] != before["metadata"]["uid"]


@asynccontextmanager
async def _denied(app: App, operation: str, plural: str) -> AsyncIterator[None]:
    """Have admission refuse an operation in the app's namespace."""
    root, name = "/apis/admissionregistration.k8s.io/v1", app.namespace
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": [operation], "resources": [plural]}
    spec: dict[str, Any] = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no new ones"}],
    }
    await app.client.create(f"{root}/validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec})
    chosen = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    spec = {"policyName": name, "validationActions": ["Deny"], "matchResources": chosen}
    await app.client.create(
        f"{root}/validatingadmissionpolicybindings", {"metadata": {"name": name}, "spec": spec}
    )
    probe = workload() | {"metadata": {"name": "probe"}}

    async def denied(*, wanted: bool) -> bool:
        params = {"dryRun": "All"}
        path = f"{APPS}/namespaces/{app.namespace}/deployments"
        try:
            await app.client.request("POST", path, params=params, body=probe)
        except ApiError:
            return wanted
        return not wanted

    try:
        await app.until(lambda: denied(wanted=True))
        yield
    finally:
        await app.client.delete(f"{root}/validatingadmissionpolicybindings/{name}")
        await app.client.delete(f"{root}/validatingadmissionpolicies/{name}")
    await app.until(lambda: denied(wanted=False))
