from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.inventory import Inventory
from agent.apply.plan import CONFIRM_DELETE
from agent.apply.result import COMPLETED, Action
from agent.contract.manifest import ObjectRef
from agent.contract.names import ANNOTATION_APP, ANNOTATION_KEEP, APPLYSET_PART_OF
from tests.integration.apply.rig import App, did

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.cluster


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": "1"},
    }


def space(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def crd(group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


def gadget(group: str, name: str) -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": name}}


def job(image: str = "migrate:1") -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "m", "image": image}]}}
        },
    }


async def two_maps(app: App) -> None:
    assert (await app.run([config_map("stays"), config_map("goes")])).ok


async def names(app: App) -> list[str]:
    listing = await app.client.list(f"/api/v1/namespaces/{app.namespace}/configmaps")
    return sorted(
        item["metadata"]["name"] for item in listing.items if item["metadata"]["name"] != "kube-root-ca.crt"
    )


async def test_prunes_what_left_the_bundle_and_shrinks_the_inventory(app: App) -> None:
    await two_maps(app)
    result = await app.run([config_map("stays")])
    assert did(result) == {"ConfigMap/stays": Action.UNCHANGED, "ConfigMap/goes": Action.PRUNED}
    assert await names(app) == ["stays"]
    assert [ref.name for ref in app.inventory.entries] == ["stays"]
    assert app.saves[-1] == app.inventory


async def test_keeps_what_left_the_bundle_in_the_inventory_while_pruning_is_off(app: App) -> None:
    await two_maps(app)
    assert (await app.run([config_map("stays")], prune=False)).ok
    assert await names(app) == ["goes", "stays"]
    assert len(app.inventory.entries) == 2


async def test_a29_an_object_held_by_a_finalizer_stays_in_the_inventory(app: App) -> None:
    await two_maps(app)
    path = app.path("configmaps", "goes")
    await app.client.merge_patch(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    result = await app.run([config_map("stays")])
    assert [ref.name for ref in result.pending] == ["goes"]
    assert (result.ok, result.transient) == (True, True)
    assert len(app.inventory.entries) == 2
    await app.client.merge_patch(path, {"metadata": {"finalizers": None}})
    result = await app.run([config_map("stays")])
    assert result.pending == ()
    assert len(app.inventory.entries) == 1


async def test_a31_an_object_that_someone_made_again_is_left(app: App) -> None:
    await two_maps(app)
    await app.client.delete(app.path("configmaps", "goes"))
    again = config_map("goes", labels={APPLYSET_PART_OF: app.applyset})
    await app.client.create(f"/api/v1/namespaces/{app.namespace}/configmaps", again)
    result = await app.run([config_map("stays")])
    assert [entry.reason for entry in result.entries if entry.action is Action.SKIPPED] == ["Recreated"]
    assert await names(app) == ["goes", "stays"]
    assert len(app.inventory.entries) == 1


async def test_a32_an_object_whose_label_names_another_set_is_left(app: App) -> None:
    await two_maps(app)
    patch = {"metadata": {"labels": {APPLYSET_PART_OF: "applyset-other-v1"}}}
    await app.client.merge_patch(app.path("configmaps", "goes"), patch)
    result = await app.run([config_map("stays")])
    assert [entry.reason for entry in result.entries if entry.action is Action.SKIPPED] == ["NotOurs"]
    assert await names(app) == ["goes", "stays"]
    assert len(app.inventory.entries) == 1


async def test_a32_a_label_that_a_controller_copied_is_not_membership(app: App) -> None:
    await two_maps(app)
    copy = config_map("copy", labels={APPLYSET_PART_OF: app.applyset})
    await app.client.create(f"/api/v1/namespaces/{app.namespace}/configmaps", copy)
    assert (await app.run([config_map("stays")])).ok
    assert await names(app) == ["copy", "stays"]


@pytest.mark.parametrize("where", ["live", "desired"])
async def test_a33_a_keep_annotation_leaves_the_object_unlabelled(app: App, where: str) -> None:
    keep = {"annotations": {ANNOTATION_KEEP: "true"}}
    assert (
        await app.run([config_map("stays"), config_map("goes", **(keep if where == "desired" else {}))])
    ).ok
    if where == "live":
        await app.client.merge_patch(app.path("configmaps", "goes"), {"metadata": keep})
    result = await app.run([config_map("stays")])
    assert [entry.reason for entry in result.entries if entry.action is Action.SKIPPED] == ["Kept"]
    metadata = (await app.config_map("goes"))["metadata"]
    assert APPLYSET_PART_OF not in metadata.get("labels", {})
    assert ANNOTATION_APP not in metadata["annotations"]
    assert len(app.inventory.entries) == 1


async def test_a34_a_namespace_that_holds_members_of_others_is_left(
    app: App, make_app: Callable[[str], App]
) -> None:
    name = f"{app.namespace}-shared"
    assert (await app.run([config_map("stays"), space(name)])).ok
    other = make_app("other")
    assert (await other.run([config_map("theirs", namespace=name)])).ok
    result = await app.run([config_map("stays")])
    (left,) = (entry for entry in result.entries if entry.action is Action.SKIPPED)
    assert (left.reason, "ConfigMap theirs" in left.message) == ("NamespaceInUse", True)
    live = await app.need(f"/api/v1/namespaces/{name}")
    assert live["status"]["phase"] == "Active"
    assert APPLYSET_PART_OF not in live["metadata"]["labels"]


async def test_a34_a_namespace_is_left_for_a_kind_that_its_groups_preferred_version_does_not_have(
    app: App,
) -> None:
    name, group = f"{app.namespace}-mixed", f"{app.namespace}.example.com"
    early = crd(group)
    early["metadata"]["name"] = f"widgets.{group}"
    early["spec"]["names"] = {"kind": "Widget", "plural": "widgets"}
    early["spec"]["versions"][0]["name"] = "v1alpha1"
    assert (await app.run([crd(group), early])).ok
    other = App(app.client, app.namespace, f"{app.namespace}/other")
    widget = {"apiVersion": f"{group}/v1alpha1", "kind": "Widget"}
    theirs = {**widget, "metadata": {"name": "theirs", "namespace": name}}
    assert (await other.run([space(name), config_map("inside", namespace=name)])).ok
    await app.served(f"{group}/v1", "Gadget")
    await app.served(f"{group}/v1alpha1", "Widget")
    assert (await app.client.get(f"/apis/{group}"))["preferredVersion"]["version"] == "v1"
    path = f"/apis/{group}/v1alpha1/namespaces/{name}/widgets"
    await app.client.create(path, theirs)

    async def done() -> bool:
        await other.delete_all()
        return not other.inventory.entries

    await app.until(done)
    assert (await app.need(f"/api/v1/namespaces/{name}"))["status"]["phase"] == "Active"
    assert "deletionTimestamp" not in (await app.need(f"{path}/theirs"))["metadata"]


async def test_a34_an_empty_namespace_goes_after_what_was_in_it(app: App) -> None:
    name = f"{app.namespace}-own"
    assert (await app.run([config_map("stays"), space(name), config_map("inside", namespace=name)])).ok
    confirmed = {"metadata": {"annotations": {CONFIRM_DELETE: name}}}
    await app.client.merge_patch(f"/api/v1/namespaces/{name}", confirmed)

    async def nothing_pending() -> bool:
        return not (await app.run([config_map("stays")])).pending

    await app.until(nothing_pending)
    assert await app.get(f"/api/v1/namespaces/{name}") is None
    assert [ref.name for ref in app.inventory.entries] == ["stays"]


async def test_a35_a_definition_with_foreign_resources_is_left(app: App) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([config_map("stays"), crd(group), gadget(group, "ours")])).ok
    collection = f"/apis/{group}/v1/namespaces/{app.namespace}/gadgets"
    await app.client.create(collection, gadget(group, "theirs"))
    result = await app.run([config_map("stays")])
    assert {entry.ref.name: entry.action for entry in result.entries} == {
        "stays": Action.UNCHANGED,
        "ours": Action.PRUNED,
        f"gadgets.{group}": Action.SKIPPED,
    }
    assert await app.get(f"{collection}/theirs") is not None
    assert await app.get(f"{collection}/ours") is None


async def test_a38_nothing_is_pruned_in_a_round_with_a_failure(app: App) -> None:
    await two_maps(app)
    broken = config_map("broken")
    broken["data"] = {"a": {"b": "c"}}
    result = await app.run([config_map("stays"), broken])
    assert not result.ok
    assert await names(app) == ["goes", "stays"]
    assert {ref.name for ref in app.inventory.entries} == {"goes", "stays", "broken"}


async def test_a39_an_empty_bundle_is_held_unless_it_is_allowed(app: App) -> None:
    await two_maps(app)
    result = await app.run([])
    assert (result.held, result.entries) == ("EmptyBundle", ())
    assert await names(app) == ["goes", "stays"]
    result = await app.run([], allow_empty=True)
    assert (result.held, result.ok) == ("", True)
    assert await names(app) == []
    assert app.inventory == Inventory()


async def test_a41_a_rename_creates_before_it_prunes(app: App) -> None:
    assert (await app.run([config_map("before")])).ok
    app.client.asked.clear()
    assert (await app.run([config_map("after")])).ok
    writes = [(method, path.rpartition("/")[2]) for method, path in app.client.asked if method != "GET"]
    assert writes == [("PATCH", "after"), ("DELETE", "before")]


async def test_a42_an_object_that_moves_to_another_app_is_never_deleted(
    app: App, make_app: Callable[[str], App]
) -> None:
    await two_maps(app)
    uid = (await app.config_map("goes"))["metadata"]["uid"]
    ref = ObjectRef("", "ConfigMap", app.namespace, "goes")
    result = await app.run([config_map("stays")], elsewhere=frozenset({ref}))
    assert [entry.reason for entry in result.entries if entry.ref == ref] == ["Moved"]
    other = make_app("other")
    assert (await other.run([config_map("goes")])).ok
    await two_maps(app)
    assert (await other.run([config_map("goes")])).ok
    assert (await app.run([config_map("stays")])).ok
    assert (await app.config_map("goes"))["metadata"]["uid"] == uid


async def test_a44_what_went_with_its_definition_is_dropped(app: App) -> None:
    group = f"{app.namespace}.example.com"
    assert (await app.run([config_map("stays"), crd(group), gadget(group, "ours")])).ok
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
    await app.client.delete(path)
    await app.gone(path)
    result = await app.run([config_map("stays")])
    assert result.ok, result.failed
    assert [ref.name for ref in app.inventory.entries] == ["stays"]


async def test_delete_all_goes_in_reverse_order_until_nothing_is_left(app: App) -> None:
    group, name = f"{app.namespace}.example.com", f"{app.namespace}-own"
    objects = [space(name), crd(group), gadget(group, "one"), config_map("inside", namespace=name)]
    objects[2]["metadata"]["namespace"] = name
    assert (await app.run(objects)).ok
    app.client.asked.clear()

    async def deleted_all() -> bool:
        assert (await app.delete_all()).ok
        return not app.inventory.entries

    await app.until(deleted_all)
    deleted = [path.rpartition("/")[2] for method, path in app.client.asked if method == "DELETE"]
    assert deleted == ["one", "inside", f"gadgets.{group}", name]
    assert app.saves[-1] == Inventory()


async def test_a26_a_completed_unchanged_job_is_not_run_again(app: App) -> None:
    assert (await app.run([job()])).ok
    path = app.path("jobs", "migrate", "/apis/batch/v1")
    uid = await _complete(app, path)
    app.restart()
    assert did(await app.run([job()])) == {"Job/migrate": Action.UNCHANGED}
    assert (await app.need(path))["metadata"]["uid"] == uid


async def test_a25_a_job_gone_by_its_ttl_is_not_made_again_but_a_new_one_is(app: App) -> None:
    assert (await app.run([job()])).ok
    path = app.path("jobs", "migrate", "/apis/batch/v1")
    await _complete(app, path)
    (ref,) = app.inventory.entries
    live = await app.need(path)
    app.inventory = app.applier.observe(app.inventory, live, ref)
    await app.client.delete(path)
    app.restart()
    result = await app.run([job()])
    assert [(entry.action, entry.reason) for entry in result.entries] == [(Action.SKIPPED, COMPLETED)]
    assert result.ok
    assert await app.get(path) is None
    assert did(await app.run([job("migrate:2")])) == {"Job/migrate": Action.CREATED}


async def _complete(app: App, path: str) -> str:
    live = await app.need(path)
    now = live["metadata"]["creationTimestamp"]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"conditions": conditions, "startTime": now, "completionTime": now, "succeeded": 1}
    await app.client.merge_patch(path, {"status": status}, subresource="status")
    return live["metadata"]["uid"]


def claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata: dict[str, Any] = {"name": "data"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


async def test_a36_a_claim_is_deleted_only_when_a_person_confirms_it(app: App) -> None:
    path = app.path("persistentvolumeclaims", "data")
    assert (await app.run([config_map("stays"), claim()])).ok
    result = await app.run([config_map("stays")])
    assert (result.ok, [ref.name for ref in result.pending]) == (True, ["data"])
    assert [entry.reason for entry in result.unconfirmed] == ["ConfirmDelete"]
    assert await app.get(path) is not None
    assert len(app.inventory.entries) == 2
    await app.delete_all()
    assert [ref.name for ref in app.inventory.entries] == ["data"]
    await app.client.merge_patch(path, {"metadata": {"annotations": {CONFIRM_DELETE: "another"}}})
    assert (await app.delete_all()).unconfirmed
    await app.client.merge_patch(path, {"metadata": {"annotations": {CONFIRM_DELETE: "data"}}})
    await app.delete_all()
    live = await app.get(path)
    assert live is None or "deletionTimestamp" in live["metadata"]  # its protection finalizer


async def test_a36_a_namespace_that_holds_a_claim_waits_for_that(app: App) -> None:
    name = f"{app.namespace}-data"
    held = claim()
    held["metadata"]["namespace"] = name
    assert (await app.run([config_map("stays"), space(name), held])).ok
    result = await app.run([config_map("stays")])
    assert {ref.kind for ref in result.pending} == {"PersistentVolumeClaim", "Namespace"}
    live = await app.need(f"/api/v1/namespaces/{name}")
    assert live["status"]["phase"] == "Active"


async def test_a36_a_namespace_and_a_definition_that_left_the_bundle_are_deleted_only_when_confirmed(
    app: App,
) -> None:
    name, group = f"{app.namespace}-asked", f"{app.namespace}.example.com"
    definition = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
    objects = [space(name), crd(group), gadget(group, "one"), config_map("inside", namespace=name)]
    assert (await app.run([config_map("stays"), *objects])).ok

    asked: list[str] = []

    async def gone() -> bool:
        """One after the other: what goes later waits for what goes first."""
        result = await app.run([config_map("stays")])
        for entry in result.unconfirmed:
            kind = entry.ref.kind
            path = definition if kind == "CustomResourceDefinition" else f"/api/v1/namespaces/{name}"
            assert "deletionTimestamp" not in (await app.need(path))["metadata"]
            assert (await app.run([config_map("stays")])).unconfirmed
            asked.append(kind)
            yes = {"metadata": {"annotations": {CONFIRM_DELETE: entry.ref.name}}}
            await app.client.merge_patch(path, yes)
        return not result.pending

    await app.until(gone)
    assert sorted(asked) == ["CustomResourceDefinition", "Namespace"]
    assert await app.get(f"/api/v1/namespaces/{name}") is None
    assert await app.get(definition) is None


async def test_a36_who_has_an_app_deleted_means_its_namespace_too(app: App) -> None:
    name = f"{app.namespace}-gone"
    assert (await app.run([space(name), config_map("inside", namespace=name)])).ok

    async def gone() -> bool:
        await app.delete_all()
        return not app.inventory.entries

    await app.until(gone)
    assert await app.get(f"/api/v1/namespaces/{name}") is None


@pytest.mark.parametrize("scopes", [("Cluster", "Namespaced"), ("Namespaced", "Cluster")])
async def test_a44_what_was_of_another_scope_went_with_its_definition(
    app: App, scopes: tuple[str, str]
) -> None:
    group = f"{app.namespace}.example.com"
    definition = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
    for scope in scopes:
        declared = crd(group)
        declared["spec"]["scope"] = scope
        assert (await app.run([declared, gadget(group, "one"), config_map("stays")])).ok
        last = await app.run([declared, gadget(group, "one"), config_map("stays")])
        assert (last.ok, set(did(last).values())) == (True, {Action.UNCHANGED})
        if scope == scopes[0]:
            await app.client.delete(definition)
            await app.gone(definition)
    assert len(app.inventory.entries) == 3
    assert {ref.namespace for ref in app.inventory.entries if ref.kind == "Gadget"} == {
        app.namespace if scopes[1] == "Namespaced" else ""
    }
