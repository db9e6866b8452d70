from __future__ import annotations

from typing import Any

from agent.apply.residue import removed_fields, residue, stays, told
from agent.contract.manifest import ObjectRef

REF = ObjectRef("", "Service", "shop", "web")
FIELDS: dict[str, Any] = {
    "f:spec": {"f:clusterIP": {}, "f:type": {}, "f:ports": {'k:{"port":80}': {".": {}, "f:port": {}}}}
}


def live(spec: dict[str, Any], *managers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    entries = [{"manager": name, "operation": "Apply", "fieldsV1": fields} for name, fields in managers]
    return {"metadata": {"managedFields": entries}, "spec": spec}


def test_what_is_owned_by_nobody_any_more_and_there_otherwise_than_in_a_new_object_is_residue() -> None:
    after = live(
        {"clusterIP": "10.0.0.7", "type": "ClusterIP"},
        ("axle", {"f:spec": {"f:ports": FIELDS["f:spec"]["f:ports"]}}),
    )
    removed = removed_fields(FIELDS, after, "axle")
    assert set(removed["f:spec"]) == {"f:clusterIP", "f:type"}
    assert stays(removed, after)
    fresh = live({"clusterIP": "10.0.0.8", "type": "ClusterIP"})
    left = residue(removed, after=after, fresh=fresh)
    assert left == {"f:spec": {"f:clusterIP": {}}}
    (found,) = told(REF, left, after)
    assert (found.path, found.wanted, found.live) == (".spec.clusterIP", "(not there)", '"10.0.0.7"')


def test_what_went_or_belongs_to_someone_else_is_none() -> None:
    gone = live({"ports": []}, ("axle", {"f:spec": {"f:ports": {}}}))
    removed = removed_fields(FIELDS, gone, "axle")
    assert not stays(removed, gone)
    theirs = live({"clusterIP": "10.0.0.7"}, ("other", {"f:spec": {"f:clusterIP": {}}}))
    assert "f:clusterIP" not in removed_fields(FIELDS, theirs, "axle")["f:spec"]
    assert removed_fields(None, theirs, "axle") == {}
    assert removed_fields({"f:metadata": {"f:labels": {"f:a": {}}}}, theirs, "axle") == {}


def test_in_lists_and_in_secrets_it_is_told_by_its_item_and_without_a_value() -> None:
    fields = {"f:data": {"f:a": {}}, "f:ports": {'k:{"port":80}': {"f:node": {}}, 'v:"x"': {}}}
    after = {
        "metadata": {},
        "data": {"a": "c2VjcmV0", "b": "x"},
        "ports": [{"port": 80, "node": 3}, {"port": 81}],
    }
    left = residue(
        fields, after=after, fresh={"metadata": {}, "data": {}, "ports": [{"port": 80, "node": 4}]}
    )
    assert left == {"f:data": {"f:a": {}}, "f:ports": {'k:{"port":80}': {"f:node": {}}}}
    secret = ObjectRef("", "Secret", "shop", "s")
    assert [(each.path, each.live) for each in told(secret, left, after)] == [
        (".data.a", "(hidden)"),
        ('.ports[{"port":80}].node', "(hidden)"),
    ]
    assert told(secret, left, {"metadata": {}, "data": {}}) == ()
