"""What goes wrong on a spoke's API server: told, nothing pruned, and made good when it passes."""

from __future__ import annotations

from typing import Any

import pytest

from agent.apply.result import Action
from agent.contract.errors import ApiError
from tests.integration.apply.rig import App, did

pytestmark = pytest.mark.cluster
ADMISSION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def crd(group: str, *, served: tuple[str, ...] = ("v1",)) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": name in served, "storage": name == "v1", "schema": schema}
        for name in ("v1", "v2")
    ]
    names = {"kind": "Gadget", "plural": "gadgets"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


def gadget(group: str, version: str = "v1", size: int = 1) -> dict[str, Any]:
    metadata = {"name": "one"}
    return {
        "apiVersion": f"{group}/{version}",
        "kind": "Gadget",
        "metadata": metadata,
        "spec": {"size": size},
    }


async def test_f38_a_webhook_that_is_down_stops_its_kinds_only_and_nothing_is_pruned(app: App) -> None:
    name = f"down.{app.namespace}.example.com"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
    hook = {
        "name": name,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    assert (await app.run([config_map(), config_map("old")])).ok
    await app.client.create(ADMISSION, {**kind, "metadata": {"name": name}, "webhooks": [hook]})
    try:

        async def down() -> bool:
            try:
                await app.client.merge_patch(app.path("configmaps", "old"), {"data": {"n": "x"}})
            except ApiError:
                return True
            return False

        await app.until(down)
        result = await app.run([config_map(a="2"), account("web")])
        (failed,) = result.failed
        assert (failed.reason, failed.transient) == ("WebhookFailed", True)
        assert did(result)["ServiceAccount/web"] is Action.CREATED
        assert await app.has_config_map("old")
    finally:
        await app.client.delete(f"{ADMISSION}/{name}")

    async def good() -> bool:
        return (await app.run([config_map(a="2"), account("web")])).ok

    await app.until(good)
    assert not await app.has_config_map("old")


async def test_f39_a_definition_deleted_underneath_comes_back_with_its_objects(app: App) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([crd(group), gadget(group)])).ok
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
    await app.client.delete(path)
    await app.gone(path)

    async def good() -> bool:
        return (await app.run([crd(group), gadget(group)])).ok

    await app.until(good)
    assert (await app.need(f"/apis/{group}/v1/namespaces/{app.namespace}/gadgets/one"))["spec"] == {"size": 1}


async def test_f40_a_namespace_that_does_not_go_is_waited_for_and_made_again(app: App) -> None:
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    assert (await app.run([config_map(), held])).ok
    path = f"/api/v1/namespaces/{app.namespace}"
    await app.client.delete(path)

    async def emptied() -> bool:
        return not await app.has_config_map("settings")

    await app.until(emptied)
    result = await app.run([config_map(), held])
    assert not result.ok
    assert {entry.reason for entry in result.failed} <= {"NamespaceTerminating", "Terminating"}
    assert result.transient
    assert len(app.inventory.entries) == 2
    await app.client.json_patch(
        app.path("configmaps", "held"), [{"op": "remove", "path": "/metadata/finalizers"}]
    )
    await app.gone(path)
    assert (await app.run([config_map(), held])).ok
    await app.client.json_patch(
        app.path("configmaps", "held"), [{"op": "remove", "path": "/metadata/finalizers"}]
    )


async def test_f41_an_exceeded_quota_is_told_and_passes_when_it_is_raised(app: App) -> None:
    assert (await app.run([config_map()])).ok

    async def limit(count: int) -> None:
        """The controller that fills the status in does not run here."""
        hard = {"count/services": str(count)}
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "quota"},
            "spec": {"hard": hard},
        }
        path = app.path("resourcequotas", "quota")
        await app.client.apply(path, quota, field_manager="admin", force=True)
        used = {"count/services": "0"}
        await app.client.merge_patch(path, {"status": {"hard": hard, "used": used}}, subresource="status")

    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]},
    }
    await limit(0)
    probe = {**service, "metadata": {"name": "probe"}}

    async def full() -> bool:
        """Whether admission has the quota: a round before that would go through, and prune."""
        params = {"dryRun": "All"}
        try:
            await app.client.request("POST", app.path("services", "").rstrip("/"), params=params, body=probe)
        except ApiError as error:
            return "exceeded quota" in str(error)
        return False

    await app.until(full)
    result = await app.run([config_map("other"), service])
    assert [(entry.reason, entry.transient) for entry in result.failed] == [("QuotaExceeded", True)]
    assert await app.has_config_map("settings")
    await limit(5)

    async def good() -> bool:
        return (await app.run([config_map("other"), service])).ok

    await app.until(good)
    assert not await app.has_config_map("settings")


async def test_f42_rights_that_were_taken_away_are_told_and_nothing_is_pruned(app: App) -> None:
    name = f"deployer-{app.namespace}"
    home = "/api/v1/namespaces/axletree-agent"
    if await app.get(home) is None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "axletree-agent"}}
        await app.client.apply(home, space, field_manager="admin")
    await app.client.create(f"{home}/serviceaccounts", account(name))
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "axletree-agent"}],
    }
    await app.client.create(f"{RBAC}/clusterrolebindings", role)

    async def applied(*names: str, a: str) -> bool:
        return (await app.run([config_map(each, a=a) for each in names], service_account=name)).ok

    async def first() -> bool:
        return await applied("settings", "old", a="1")

    await app.until(first)
    await app.client.delete(f"{RBAC}/clusterrolebindings/{name}")
    # A round before the authorizer knows would go through, and prune.
    user = f"system:serviceaccount:axletree-agent:{name}"
    await app.allowed(user, wanted=False, namespace=app.namespace, verb="patch", resource="configmaps")
    result = await app.run([config_map(a="2")], service_account=name)
    assert [entry.reason for entry in result.failed] == ["Forbidden"]
    assert await app.has_config_map("old")
    assert len(app.inventory.entries) == 2
    await app.client.create(f"{RBAC}/clusterrolebindings", role)

    async def again() -> bool:
        return await applied("settings", a="2")

    await app.until(again)
    assert not await app.has_config_map("old")
    await app.client.delete(f"{RBAC}/clusterrolebindings/{name}")


async def test_f43_a_version_that_is_no_longer_served_is_told_and_its_objects_stay(app: App) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([crd(group, served=("v1", "v2")), gadget(group)])).ok
    path = f"/apis/{group}/v2/namespaces/{app.namespace}/gadgets/one"
    before = (await app.need(path))["metadata"]["uid"]
    app.restart()

    async def refused() -> bool:
        result = await app.run([crd(group, served=("v2",)), gadget(group, size=2), config_map()])
        return {(entry.ref.kind, entry.reason) for entry in result.failed} == {("Gadget", "NoMatch")}

    await app.until(refused)
    assert (await app.need(path))["metadata"]["uid"] == before

    async def good() -> bool:
        return (await app.run([crd(group, served=("v2",)), gadget(group, "v2", size=3)])).ok

    await app.until(good)
    live = await app.need(path)
    assert (live["metadata"]["uid"], live["spec"]) == (before, {"size": 3})


async def test_a6_f37_a_group_whose_server_is_away_stops_its_kinds_only_and_nothing_is_pruned(
    app: App,
) -> None:
    group = f"{app.namespace}.example.com"
    definition, service = crd(group), f"{APISERVICES}/v1.{group}"
    other = {**gadget(group), "metadata": {"name": "old"}}
    assert (await app.run([definition, gadget(group), other, config_map("old")])).ok
    # From now on an aggregated API server answers for the group, and it is not there.
    taken = {
        "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": None}},
        "spec": {
            "service": {"name": "nobody", "namespace": app.namespace, "port": 443},
            "insecureSkipTLSVerify": True,
        },
    }
    await app.client.merge_patch(service, taken)

    async def away() -> bool:
        try:
            await app.client.get(f"/apis/{group}/v1")
        except ApiError as error:
            return error.status == 503
        return False

    await app.until(away)
    held = len(app.inventory.entries)
    for restarted in (False, True):  # also one that has never seen the group answer
        if restarted:
            app.restart()
        result = await app.run([definition, gadget(group), config_map("new", a=str(restarted))])
        assert [failed.ref.kind for failed in result.failed] == ["Gadget"], result.failed
        assert result.failed[0].transient
        assert not any(entry.action is Action.PRUNED for entry in result.entries)
        assert (await app.config_map("new"))["data"] == {"a": str(restarted)}
        assert await app.has_config_map("old")
        assert len(app.inventory.entries) == held + 1
    await app.client.delete(service)

    async def whole() -> bool:
        return not await away() and (await app.run([definition, gadget(group), config_map("new")])).ok

    await app.until(whole)
    gadgets = f"/apis/{group}/v1/namespaces/{app.namespace}/gadgets"
    await app.gone(f"{gadgets}/old")
    assert await app.get(f"{gadgets}/one") is not None
    assert not await app.has_config_map("old")


async def test_a8_an_object_is_one_in_every_version_and_group_that_shows_it(app: App) -> None:
    group = f"{app.namespace}.example.com"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "said"},
        "involvedObject": {"kind": "ConfigMap", "namespace": app.namespace, "name": "x"},
        "type": "Normal",
        "reason": "Told",
    }
    one, said = (f"/apis/{group}/v1/namespaces/{app.namespace}/gadgets/one", app.path("events", "said"))
    assert (await app.run([crd(group), gadget(group), event])).ok
    before = [(await app.need(path))["metadata"]["uid"] for path in (one, said)]
    moved = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "said"},
        "regarding": event["involvedObject"],
        "type": "Normal",
        "reason": "Told",
    }
    both = crd(group, served=("v1", "v2"))  # where v2, which comes then, is the one that is preferred
    for bundle in (
        [both, gadget(group), moved],
        [both, gadget(group, "v2"), moved],
        [both, gadget(group), event],
    ):
        result = await app.run(bundle)
        assert result.ok, result.failed
        assert not any(entry.action is Action.PRUNED for entry in result.entries)
        assert [(await app.need(path))["metadata"]["uid"] for path in (one, said)] == before
        await app.served(f"{group}/v2", "Gadget")
        app.restart()
    assert (await app.run([both])).ok
    for path in (one, said):
        await app.gone(path)
