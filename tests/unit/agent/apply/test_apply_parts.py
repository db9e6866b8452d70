from __future__ import annotations

from typing import Any

import pytest

from agent.apply.errors import InventoryCorrupt, ObjectInvalid
from agent.apply.failures import explain
from agent.apply.inventory import EMPTY, Entry, Inventory, from_secret, to_secret
from agent.apply.order import Stage, deletion_levels, stages
from agent.apply.prepare import declared_scopes, identity, prepare
from agent.contract.errors import ApiError, TransientError
from agent.contract.manifest import GroupKind, ObjectRef
from agent.contract.names import (
    ANNOTATION_APP,
    APPLYSET_GROUP_KINDS,
    APPLYSET_ID,
    APPLYSET_PART_OF,
    APPLYSET_TOOLING,
)

REF = ObjectRef("", "ConfigMap", "shop", "a")
WEB = ObjectRef("apps", "Deployment", "shop", "web")
SECRET = ObjectRef("", "Secret", "shop", "login")


def secret_of(inventory: Inventory) -> dict[str, Any]:
    return to_secret(
        inventory, name="inv", namespace="axletree-agent", applyset="applyset-x-v1", labels={"l": "v"}
    )


def test_inventory_survives_its_secret() -> None:
    inventory = Inventory.of([Entry(WEB, "v1", "u2", done="d"), Entry(REF, "v1", "u1"), Entry(SECRET, "v1")])
    secret = secret_of(inventory)
    assert from_secret(secret) == inventory
    assert secret["metadata"]["labels"] == {"l": "v", APPLYSET_ID: "applyset-x-v1"}
    assert secret["metadata"]["annotations"] == {
        APPLYSET_TOOLING: "axletree/v1",
        APPLYSET_GROUP_KINDS: "ConfigMap,Deployment.apps,Secret",
    }
    again = Inventory.of(sorted(inventory.entries.values(), key=lambda entry: entry.uid))
    assert secret_of(again) == secret


def test_a_large_inventory_fits_into_a_secret() -> None:
    refs = [
        ObjectRef("apps", "Deployment", "some-namespace", f"some-long-name-{index}") for index in range(5000)
    ]
    secret = secret_of(Inventory.of(Entry(ref, "v1", f"{index:032x}") for index, ref in enumerate(refs)))
    assert len(secret["data"]["inventory"]) < 700_000


@pytest.mark.parametrize(
    "data", [None, {}, {"inventory": "!"}, {"inventory": "AAAA"}, {"inventory": "H4sIAA=="}]
)
def test_f24_a_broken_inventory_is_not_an_empty_one(data: Any) -> None:
    with pytest.raises(InventoryCorrupt):
        from_secret({"metadata": {"name": "inv"}, "data": data})


def test_inventory_changes_make_new_ones_only_where_something_differs() -> None:
    one = EMPTY.union([Entry(REF, "v1")])
    assert EMPTY.entries == {}
    assert one.union([Entry(REF, "v1")]) is one
    assert one.updated([Entry(REF, "v1")]) is one
    known = one.updated([Entry(REF, "v1", "u")])
    assert known.entries[REF].uid == "u"
    assert known.union([Entry(REF, "v2")]) is known
    assert known.without([WEB]) is known
    assert known.without([REF]) == EMPTY
    assert known.completed(REF, "d").entries[REF].done == "d"
    assert known.completed(WEB, "d") is known


def test_stages_go_from_namespaces_to_webhooks_and_deletion_back() -> None:
    kinds = [
        GroupKind("apiregistration.k8s.io", "APIService"),
        GroupKind("apps", "Deployment"),
        GroupKind("example.com", "Gadget"),
        GroupKind("", "ServiceAccount"),
        GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"),
        GroupKind("", "Namespace"),
    ]
    ordered = stages(kinds, kind=lambda kind: kind)
    assert [stage for stage, _ in ordered] == list(Stage)
    assert [[kind.kind for kind in group] for _, group in ordered][3] == ["Deployment", "Gadget"]
    assert [[kind.kind for kind in level] for level in deletion_levels(kinds, kind=lambda kind: kind)] == [
        ["APIService"],
        ["Gadget"],
        ["Deployment"],
        ["ServiceAccount"],
        ["CustomResourceDefinition"],
        ["Namespace"],
    ]


def test_prepare_stamps_and_drops_what_only_a_server_sets() -> None:
    pasted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "uid": "u",
            "resourceVersion": "5",
            "creationTimestamp": None,
            "managedFields": [],
            "labels": {"mine": "1"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "status": {"x": 1},
    }
    item = prepare(pasted, ref=REF, applyset="applyset-x-v1", app="ns/app")
    assert item.manifest == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "namespace": "shop",
            "labels": {"mine": "1", APPLYSET_PART_OF: "applyset-x-v1"},
            "annotations": {ANNOTATION_APP: "ns/app"},
        },
    }
    assert pasted["metadata"]["labels"] == {"mine": "1"}


def test_a28_string_data_becomes_data() -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "data": {"a": "eA=="},
        "stringData": {"a": "y", "b": "z"},
    }
    item = prepare(obj, ref=SECRET, applyset="x", app="ns/app")
    assert item.manifest["data"] == {"a": "eQ==", "b": "eg=="}
    assert "stringData" not in item.manifest
    assert "eQ==" not in repr(item)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-"}}, "generateName"),
        ({"apiVersion": "v1", "kind": "Pod"}, "no name"),
        ({"apiVersion": "v1", "metadata": {"name": "x"}}, "no kind"),
        ({"kind": "Pod", "metadata": {"name": "x"}}, "no apiVersion"),
    ],
)
def test_a7_an_object_without_an_identity_is_refused(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(ObjectInvalid, match=message):
        identity(obj)


def test_the_bundles_own_definitions_say_the_scope() -> None:
    spec = {"group": "x.io", "scope": "Cluster", "names": {"kind": "Gadget"}}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec}
    assert declared_scopes([crd, {"apiVersion": "v1", "kind": "Pod"}]) == {GroupKind("x.io", "Gadget"): False}


def refused(status: int, message: str, *, reason: str = "", **details: Any) -> ApiError:
    return ApiError(f"ref: {message}", status=status, api_reason=reason, ref="ref", details=details)


IMMUTABLE = {"reason": "FieldValueInvalid", "field": "spec.selector", "message": "field is immutable"}
WRONG = {"reason": "FieldValueRequired", "field": "spec.image", "message": "Required value"}


@pytest.mark.parametrize(
    ("error", "reason", "transient"),
    [
        (refused(422, "no", reason="Invalid", causes=[IMMUTABLE]), "ImmutableField", False),
        (refused(422, "no", reason="Invalid", causes=[WRONG]), "Invalid", False),
        (refused(422, "field is immutable elsewhere", causes=[WRONG]), "Invalid", False),
        (refused(422, "updates to statefulset spec for fields other than x"), "ImmutableField", False),
        (refused(403, "no", causes=[{"reason": "NamespaceTerminating"}]), "NamespaceTerminating", True),
        (refused(403, "exceeded quota: q"), "QuotaExceeded", True),
        (refused(403, "no", reason="Forbidden"), "Forbidden", False),
        (refused(404, "no", kind="namespaces", name="shop"), "NamespaceMissing", True),
        (refused(404, "could not find the requested resource"), "NoMatch", True),
        (refused(409, "no"), "Conflict", True),
        (refused(400, "admission webhook w does not support dry run"), "DryRunUnsupported", False),
        (refused(400, "strict decoding error"), "Invalid", False),
        (refused(500, 'failed calling webhook "w"'), "WebhookFailed", True),
        (refused(500, "failed: duplicate entries for key [port=80]"), "DuplicateListEntries", False),
        (refused(503, "later", reason="ServiceUnavailable"), "ServiceUnavailable", True),
        (refused(413, "too large"), "TooLarge", False),
        (TransientError("gone", reason="ApiUnreachable"), "ApiUnreachable", True),
    ],
)
def test_failures_are_sorted_by_what_may_be_done(error: Any, reason: str, *, transient: bool) -> None:
    failure = explain(error, WEB)
    assert (failure.reason, failure.transient) == (reason, transient)


def test_an_immutable_field_is_named_with_a_hint() -> None:
    message = explain(refused(422, "no", causes=[IMMUTABLE]), WEB).message
    assert "spec.selector cannot be changed in place" in message
    assert "axletree.dev/sync-options: Recreate" in message


def test_a23_a_value_that_fills_pages_hides_neither_the_problem_nor_the_hint() -> None:
    said = f'Invalid value: {{"labels":{{"a":"{"x" * 3000}"}}}}: field is immutable'
    cause = {"reason": "FieldValueInvalid", "field": "spec.template", "message": said}
    text = f'Job.batch "migrate" is invalid: spec.template: {said}'
    message = explain(refused(422, text, reason="Invalid", causes=[cause]), WEB).message
    assert message.startswith('Job.batch "migrate" is invalid: spec.template: Invalid value: {"labels"')
    assert "...: field is immutable. spec.template cannot be changed in place" in message
    assert len(message) < 400


def test_what_the_api_server_says_at_length_keeps_its_beginning_and_its_end() -> None:
    message = explain(refused(400, f"first {'x' * 5000} last", reason="BadRequest"), WEB).message
    assert message.startswith("first x")
    assert message.endswith("x last")
    assert len(message) < 700


def test_a28_messages_about_secrets_name_fields_only() -> None:
    cause = {"field": "data.password", "message": 'Invalid value: "hunter2"'}
    failure = explain(refused(422, 'Invalid value: "hunter2"', reason="Invalid", causes=[cause]), SECRET)
    assert "hunter2" not in failure.message
    assert "data.password" in failure.message


def test_a18_a_webhook_without_dry_runs_is_told_with_what_to_do() -> None:
    """API servers of today refuse to register such a webhook; those of old clusters may still be there."""
    text = "admission webhook guard.example.com does not support dry run"
    failure = explain(refused(400, text, reason="BadRequest"), WEB)
    assert (failure.reason, failure.transient) == ("DryRunUnsupported", False)
    assert "guard.example.com" in failure.message
    assert "sideEffects" in failure.message
