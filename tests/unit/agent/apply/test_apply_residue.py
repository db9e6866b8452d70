from __future__ import annotations

from typing import Any

from agent.apply.residue import removed_fields, residue, stays
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
    (found,) = residue(REF, removed, after=after, fresh=fresh)
    assert (found.path, found.wanted, found.live) == (".spec.clusterIP", "(not there)", '"10.0.0.7"')


def test_what_went_or_belongs_to_someone_else_is_none() -> None:
    gone = live({"ports": []}, ("axle", {"f:spec": {"f:ports": {}}}))
    removed = removed_fields(FIELDS, gone, "axle")
    assert not stays(removed, gone)
    theirs = live({"clusterIP": "10.0.0.7"}, ("other", {"f:spec": {"f:clusterIP": {}}}))
    assert "f:clusterIP" not in removed_fields(FIELDS, theirs, "axle")["f:spec"]
    assert removed_fields(None, theirs, "axle") == {}
    assert removed_fields({"f:metadata": {"f:labels": {"f:a": {}}}}, theirs, "axle") == {}
