from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.errors import (
    DuplicateObject,
    NamespaceOnClusterScoped,
    ObjectInvalid,
    ServiceAccountMissing,
)
from agent.apply.plan import Unseen
from agent.apply.result import Action
from agent.contract.names import ANNOTATION_APP, APPLYSET_PART_OF
from tests.integration.apply.rig import App, did

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.apply.inventory import Inventory

pytestmark = pytest.mark.cluster


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def deployment(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "creationTimestamp": None},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "creationTimestamp": None},
                "spec": {
                    "containers": [
                        {
                            "name": "web",
                            "image": "web:1",
                            "ports": [{"containerPort": 80}],
                            "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                            **container,
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def crd(
    group: str, *, kind: str = "Gadget", plural: str = "gadgets", scope: str = "Namespaced"
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}
                            },
                        }
                    },
                }
            ],
        },
    }


def gadget(group: str, name: str = "one") -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": {"size": 3}}


async def test_a1_definition_and_resource_in_one_bundle(app: App) -> None:
    group = f"{app.namespace}.example.com"
    result = await app.run([gadget(group), crd(group)])
    assert result.ok, result.failed
    assert did(result) == {
        f"CustomResourceDefinition/gadgets.{group}": Action.CREATED,
        "Gadget/one": Action.CREATED,
    }
    again = await app.run([gadget(group), crd(group)])
    assert set(did(again).values()) == {Action.UNCHANGED}


async def test_a2_definition_whose_names_are_taken_skips_its_resources(
    app: App, make_app: Callable[[str], App]
) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([crd(group)])).ok
    other = make_app("other")
    rival = crd(group, plural="widgets")
    rival["spec"]["names"]["kind"] = "Gadget"
    result = await other.run([rival, gadget(group, "two"), config_map("apart")])
    found = {entry.ref.kind: entry for entry in result.entries}
    assert (found["CustomResourceDefinition"].action, found["CustomResourceDefinition"].reason) == (
        Action.FAILED,
        "NamesNotAccepted",
    )
    assert not result.transient
    assert (found["Gadget"].action, found["Gadget"].reason) == (Action.SKIPPED, "DefinitionFailed")
    assert found["ConfigMap"].action is Action.CREATED


async def test_a3_namespace_and_its_objects_in_any_order(app: App) -> None:
    inside = config_map()
    inside["metadata"]["namespace"] = f"{app.namespace}-x"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{app.namespace}-x"}}
    result = await app.run([inside, space], create_namespace=False)
    assert result.ok, result.failed
    assert set(did(result).values()) == {Action.CREATED}


async def test_a4_terminating_namespace_is_transient_and_prunes_nothing(app: App) -> None:
    assert (await app.run([config_map("old"), config_map("held")])).ok
    held = app.path("configmaps", "held")
    await app.client.merge_patch(held, {"metadata": {"finalizers": ["example.com/hold"]}})
    await app.client.delete(f"/api/v1/namespaces/{app.namespace}")
    result = await app.run([config_map("new")])
    (failed,) = result.failed
    assert (failed.reason, failed.transient) == ("NamespaceTerminating", True)
    assert len(app.inventory.entries) == 3
    assert not any(entry.action is Action.PRUNED for entry in result.entries)
    await app.client.merge_patch(held, {"metadata": {"finalizers": None}})


async def test_a5_defaults_the_namespace_and_refuses_one_on_a_cluster_scoped_kind(app: App) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": app.namespace, "namespace": "default"},
    }
    with pytest.raises(NamespaceOnClusterScoped, match="cluster-scoped"):
        await app.run([config_map(), role])
    assert app.saves == []
    assert await app.get(f"/api/v1/namespaces/{app.namespace}") is None
    assert (await app.run([config_map()])).ok
    assert await app.has_config_map("settings")


async def test_a6_an_unknown_kind_fails_alone_and_nothing_is_pruned(app: App) -> None:
    assert (await app.run([config_map("old")])).ok
    result = await app.run([config_map("new"), gadget("nobody.example.com")])
    (failed,) = result.failed
    assert (failed.ref.kind, failed.reason, failed.transient) == ("Gadget", "NoMatch", True)
    assert await app.has_config_map("new")
    assert await app.has_config_map("old")


async def test_a7_the_same_object_twice_is_refused_before_any_write(app: App) -> None:
    other = config_map()
    other["metadata"]["namespace"] = app.namespace
    with pytest.raises(DuplicateObject):
        await app.run([config_map(), other])
    assert app.saves == []


@pytest.mark.parametrize("restart", [False, True])
async def test_a9_second_apply_writes_nothing(app: App, *, restart: bool) -> None:
    objects = [config_map(), deployment(), _service(), _secret()]
    first = await app.run(objects)
    assert first.ok, first.failed
    assert set(did(first).values()) == {Action.CREATED}
    assert len(app.saves) == 2
    before = {entry.ref: entry.resource_version for entry in first.entries}
    if restart:
        app.restart()
    second = await app.run(objects)
    assert set(did(second).values()) == {Action.UNCHANGED}
    for entry in second.entries:
        # Controllers write status: only what is ours must stand still.
        if entry.ref.kind != "Deployment":
            assert before[entry.ref] == entry.resource_version
        else:
            assert entry.live["metadata"]["generation"] == 1
    assert len(app.saves) == 2


async def test_a9_a_change_of_one_object_costs_one_write(app: App) -> None:
    names = [f"m{index}" for index in range(5)]
    first = await app.run([config_map(name) for name in names])
    seen = {entry.ref: entry.live for entry in first.entries}
    app.saves.clear()
    changed = [config_map(name, a="2" if name == "m3" else "1") for name in names]
    app.client.asked.clear()
    result = await app.run(changed, view=lambda ref: seen.get(ref, Unseen.ABSENT))
    assert [key for key, action in did(result).items() if action is Action.CONFIGURED] == ["ConfigMap/m3"]
    assert [method for method, _ in app.client.asked] == ["PATCH"]
    assert app.saves == []


async def test_a10_defaults_and_other_spellings_are_no_drift(app: App) -> None:
    objects = [deployment(), _service()]
    first = await app.run(objects)
    deadline = asyncio.get_running_loop().time() + 30
    app.restart()
    drifts = await app.applier.check(objects, app.policy(), inventory=app.inventory, deadline=deadline)
    assert drifts == ()
    # What the watch shows later, with the status written and nothing of ours touched, asks nobody.
    live = {entry.ref: entry.live for entry in first.entries}
    app.client.asked.clear()
    for manifest in live.values():
        manifest["metadata"]["resourceVersion"] = str(int(manifest["metadata"]["resourceVersion"]) + 10**6)
    assert (
        await app.applier.check(
            objects, app.policy(), inventory=app.inventory, deadline=deadline, view=lambda ref: live[ref]
        )
        == ()
    )
    assert app.client.asked == []


async def test_drift_is_told_by_path_and_corrected(app: App) -> None:
    objects = [config_map(a="1"), deployment()]
    assert (await app.run(objects)).ok
    await app.client.merge_patch(app.path("configmaps", "settings"), {"data": {"a": "9", "other": "x"}})
    path = app.path("deployments", "web", "/apis/apps/v1")
    await app.client.merge_patch(path, {"spec": {"replicas": 7}})
    deadline = asyncio.get_running_loop().time() + 30
    drifts = await app.applier.check(objects, app.policy(), inventory=app.inventory, deadline=deadline)
    assert {drift.ref.kind: drift.paths for drift in drifts} == {
        "ConfigMap": (".data.a",),
        "Deployment": (".spec.replicas",),
    }
    result = await app.run(objects)
    assert set(did(result).values()) == {Action.CONFIGURED}
    assert (await app.config_map("settings"))["data"] == {"a": "1", "other": "x"}
    await app.client.delete(app.path("configmaps", "settings"))
    drifts = await app.applier.check(objects, app.policy(), inventory=app.inventory, deadline=deadline)
    assert [(drift.ref.name, drift.missing) for drift in drifts] == [("settings", True)]
    assert did(await app.run(objects))["ConfigMap/settings"] is Action.CREATED


async def test_a_field_that_leaves_the_bundle_leaves_the_object(app: App) -> None:
    assert (await app.run([config_map(a="1", b="2")])).ok
    app.restart()
    assert (await app.run([config_map(a="1")])).ok
    assert (await app.config_map("settings"))["data"] == {"a": "1"}


async def test_a14_an_object_made_by_kubectl_is_taken_over(app: App) -> None:
    assert (await app.run([config_map("first")])).ok
    last = "kubectl.kubernetes.io/last-applied-configuration"
    made = config_map("web", a="1", gone="x")
    made["metadata"]["annotations"] = {last: "{}"}
    collection = f"/api/v1/namespaces/{app.namespace}/configmaps"
    await app.client.create(collection, made, field_manager="kubectl-client-side-apply")
    result = await app.run([config_map("first"), config_map("web", a="1")])
    assert did(result)["ConfigMap/web"] is Action.CONFIGURED
    live = await app.config_map("web")
    assert live["data"] == {"a": "1"}
    assert last not in live["metadata"]["annotations"]
    managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
    assert "kubectl-client-side-apply" not in managers
    again = await app.run([config_map("first"), config_map("web", a="1")])
    assert set(did(again).values()) == {Action.UNCHANGED}


async def test_a16_duplicate_ports_give_a_clear_message(app: App) -> None:
    ports = [{"containerPort": 80}, {"containerPort": 80}]
    (failed,) = (await app.run([deployment(ports=ports)])).failed
    assert failed.reason == "DuplicateListEntries", failed
    assert not failed.transient


async def test_a21_immutable_field_has_a_hint_and_is_not_asked_again(app: App) -> None:
    assert (await app.run([deployment()])).ok
    changed = deployment()
    changed["spec"]["selector"]["matchLabels"] = {"app": "other"}
    changed["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    live = await app.need(app.path("deployments", "web", "/apis/apps/v1"))
    (failed,) = (await app.run([changed], view=lambda _: live)).failed
    assert (failed.reason, failed.transient) == ("ImmutableField", False)
    assert "spec.selector" in failed.message
    app.client.asked.clear()
    (again,) = (await app.run([changed], view=lambda _: live)).failed
    assert again.reason == "ImmutableField"
    assert app.client.asked == []


async def test_a21_a_plain_validation_error_is_not_taken_for_immutable(app: App) -> None:
    (failed,) = (await app.run([deployment(image="")])).failed
    assert failed.reason == "Invalid"
    wrong = config_map()
    wrong["spec"] = {"x": 1}
    (failed,) = (await app.run([wrong])).failed
    assert failed.reason == "Invalid"
    assert "spec" in failed.message


async def test_a28_secret_values_are_in_no_message(app: App) -> None:
    assert (await app.run([_secret(immutable=True)])).ok
    live = await app.need(app.path("secrets", "login"))
    assert live["data"] == {"password": "aHVudGVyMg=="}
    assert "stringData" not in live
    (failed,) = (await app.run([_secret(immutable=True, value="hunter3")])).failed
    assert failed.reason == "ImmutableField"
    wrong = _secret()
    wrong["data"] = {"token": "topsecret!"}
    (failed,) = (await app.run([wrong])).failed
    assert "topsecret" not in f"{failed}"
    wrong["data"] = {"token": ["topsecret"]}
    with pytest.raises(ObjectInvalid) as refused:
        await app.run([wrong])
    assert "topsecret" not in f"{refused.value}"


async def test_a43_without_its_service_account_nothing_is_done(app: App) -> None:
    assert (await app.run([config_map()])).ok
    app.saves.clear()
    with pytest.raises(ServiceAccountMissing, match="axletree-agent/deployer"):
        await app.run([config_map(a="2"), config_map("more")], service_account="deployer")
    assert (await app.config_map("settings"))["data"] == {"a": "1"}
    assert not await app.has_config_map("more")
    with pytest.raises(ServiceAccountMissing):
        await app.delete_all(service_account="deployer")
    assert await app.has_config_map("settings")
    assert app.saves == []


async def test_a43_writes_have_only_the_rights_of_the_service_account(app: App) -> None:
    assert (await app.run([config_map("first")])).ok
    account = f"deployer-{app.namespace}"
    await _account(app, account)
    user = f"system:serviceaccount:axletree-agent:{account}"
    await app.allowed(user, namespace=app.namespace, verb="patch", resource="configmaps")
    objects = [config_map("first"), config_map("allowed"), _secret()]
    result = await app.run(objects, service_account=account)
    assert did(result)["ConfigMap/allowed"] is Action.CREATED
    (failed,) = result.failed
    assert (failed.ref.kind, failed.reason) == ("Secret", "Forbidden")
    assert account in failed.message or failed.ref.kind == "Secret"


async def test_a_namespace_that_somebody_deleted_is_made_again(app: App) -> None:
    assert (await app.run([config_map("one"), config_map("two")])).ok
    path = f"/api/v1/namespaces/{app.namespace}"
    await app.client.delete(path)
    await app.gone(path)
    result = await app.run([config_map("one"), config_map("two"), config_map("three")])
    assert result.ok, result.failed
    assert set(did(result).values()) == {Action.CREATED}


async def test_stamps_membership_outside_the_bundle(app: App) -> None:
    assert (await app.run([config_map()])).ok
    metadata = (await app.config_map("settings"))["metadata"]
    assert metadata["labels"] == {APPLYSET_PART_OF: app.applyset}
    assert metadata["annotations"] == {ANNOTATION_APP: app.name}


async def test_f18_everything_that_is_written_is_in_an_inventory_saved_before(app: App) -> None:
    async def fail(_: Inventory) -> None:
        raise OSError("no room")

    app.save = fail  # type: ignore[assignment,method-assign]
    with pytest.raises(OSError, match="no room"):
        await app.run([config_map()])
    assert not await app.has_config_map("settings")
    del app.save
    assert (await app.run([config_map()])).ok
    (ref,) = app.saves[0].entries
    assert (ref.name, app.saves[0].entries[ref].uid) == ("settings", "")
    assert app.saves[1].entries[ref].uid


async def _account(app: App, name: str) -> None:
    if await app.get("/api/v1/namespaces/axletree-agent") is None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "axletree-agent"}}
        await app.client.create("/api/v1/namespaces", space)
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    await app.client.create("/api/v1/namespaces/axletree-agent/serviceaccounts", body)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{app.namespace}"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    await app.client.create(
        f"{rbac}/roles",
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "r"},
            "rules": rules,
        },
    )
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "axletree-agent"}],
    }
    await app.client.create(f"{rbac}/rolebindings", binding)


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "annotations": {}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}, {"port": 443, "name": "tls"}][:1]},
    }


def _secret(*, immutable: bool = False, value: str = "hunter2") -> dict[str, Any]:
    extra = {"immutable": True} if immutable else {}
    metadata = {"name": "login"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "stringData": {"password": value},
        **extra,
    }


async def test_a19_a_default_that_a_new_definition_adds_is_no_drift(app: App) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([gadget(group), crd(group)])).ok
    path = f"/apis/{group}/v1/namespaces/{app.namespace}/gadgets/one"
    before = (await app.need(path))["metadata"]
    newer = crd(group)
    schema = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["color"] = {"type": "string", "default": "blue"}
    assert did(await app.run([gadget(group), newer]))["Gadget/one"] is Action.UNCHANGED

    async def defaulted() -> bool:
        return bool((await app.need(path))["spec"].get("color") == "blue")

    await app.until(defaulted)
    for restarted in (False, True):
        if restarted:
            app.restart()
        assert did(await app.run([gadget(group), newer]))["Gadget/one"] is Action.UNCHANGED
    after = (await app.need(path))["metadata"]
    assert (after["resourceVersion"], after["generation"]) == (
        before["resourceVersion"],
        before["generation"],
    )


async def test_a7_an_object_over_a_mebibyte_is_refused_with_its_size_and_the_rest_goes_on(app: App) -> None:
    large = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "large"},
        "data": {"a": "x" * 1_100_000},
    }
    fine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fine"}, "data": {"a": "1"}}
    result = await app.run([large, fine])
    (failed,) = result.failed
    assert (failed.ref.name, failed.reason, failed.transient) == ("large", "Invalid", False)
    assert "1048576" in failed.message
    assert len(failed.message) <= 1100
    assert await app.has_config_map("fine")
