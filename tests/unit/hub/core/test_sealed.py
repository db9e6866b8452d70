from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from agent.contract.canonical import canonical_json
from agent.contract.handover import PREFIX, key_id
from agent.contract.health import HealthState, SyncState
from hub.api.flow import Input, Output
from hub.api.project import ProjectSpec
from hub.core.graph import AppGraph
from hub.core.inputs import Bound, bind
from hub.core.insert import InputMisused, check_places
from hub.core.model import AppNode, ClusterView, Fleet, Observed
from hub.core.outputs import Exported, exported
from hub.core.sealed import producers_of, recipients, secrets_of

KEYS = {name: base64.b64encode(name.encode() * 8).decode() for name in ("near", "far1", "far2")}
RULE = Output.model_validate(
    {
        "name": "password",
        "sealed": True,
        "object": {"kind": "Secret", "name": "credentials"},
        "value": "data.password",
    }
)
FLEET = Fleet(
    clusters={name: ClusterView(name, sealing_key=key) for name, key in KEYS.items()},
    projects={"shop": ProjectSpec(trusted=True), "other": ProjectSpec(trusted=True)},
)


def given_input(**fields: Any) -> Input:
    spec = {"as": "db", "name": "database", "output": "password", "clusters": {"names": ["near"]}}
    return Input.model_validate(spec | {"secret": {"name": "db", "key": "password"}} | fields)


def report(mark: str = "a", digest: str = "new", *, text: str = "sealed:v1:x", key: str = "far1") -> Observed:
    handover = {"consumer": "shop/backend", "key": key_id(base64.b64decode(KEYS[key])), "digest": digest}
    return Observed(
        release=1,
        digest=digest,
        health=HealthState.HEALTHY,
        sync=SyncState.SYNCED,
        observed_at="then",
        sealed_outputs=({"name": "password", "mark": mark, "handovers": [handover | {"text": text}]},),
    )


def told(seen: Observed, *held: Exported) -> tuple[Exported, ...]:
    return exported([RULE], held, seen, released=seen.digest, revision="c0ffee", producer="shop/database")


def database(*outputs: Exported) -> AppNode:
    seen = report()
    return AppNode(
        key="shop/database",
        cluster="near",
        target="new",
        released="new",
        release=1,
        observed=seen,
        exports={"password": ()},
        sealed=frozenset({"password"}),
        outputs=outputs or told(seen),
    )


def backend(*inputs: Input, cluster: str = "far1", key: str = "shop/backend") -> AppNode:
    one = inputs or (given_input(),)
    edges = tuple(each.edge() for each in one)
    return AppNode(key=key, cluster=cluster, depends_on=edges, inputs=one)


def graph_of(*nodes: AppNode) -> AppGraph:
    graph = AppGraph()
    for each in nodes:
        graph.upsert(each)
    return graph


def found(node: AppNode, producer: AppNode) -> Any:
    result = bind(node, graph_of(producer, node), FLEET)
    return result if isinstance(result, Bound) else [(each.edge, each.message) for each in result]


def test_what_is_relayed_is_for_this_app_and_its_clusters_key() -> None:
    result = found(backend(), database())
    assert (dict(result.values), result.relays["db"].text) == ({}, "sealed:v1:x")
    assert result.origins == {"db": ("shop/database",)}
    waits = [("Dependency", "input db: password is not sealed for it yet")]
    assert found(backend(key="shop/web"), database()) == waits
    assert found(backend(cluster="far2"), database()) == waits, "its key is another"
    assert Bound.from_json(result.to_json(at="then")) == result


def test_a_sealed_output_goes_into_a_secret_and_a_plain_one_does_not() -> None:
    plain = Input.model_validate(
        {"as": "db", "name": "database", "output": "password", "clusters": {"names": ["near"]}}
    )
    ((edge, said),) = found(backend(plain), database())
    assert (edge, "say in which `secret`" in said) == ("Invalid", True)
    ((edge, said),) = found(backend(), replace(database(), sealed=frozenset()))
    assert (edge, "is not sealed" in said) == ("Invalid", True)


def test_who_takes_what_is_in_the_assignment_of_the_producers_cluster() -> None:
    nodes = [
        database(),
        backend(),
        backend(cluster="far2", key="shop/web"),
        backend(cluster="far2", key="other/x"),
    ]
    graph = graph_of(*nodes)
    assert [(each["consumer"], each["key"]) for each in recipients("near", graph, FLEET)] == [
        ("shop/backend", KEYS["far1"]),
        ("shop/web", KEYS["far2"]),
    ]
    assert recipients("far1", graph, FLEET) == []
    assert list(producers_of("shop/web", graph)) == ["shop/database"]
    assert list(producers_of("shop/database", graph)) == []


def test_a_value_that_is_sealed_again_is_no_new_value() -> None:
    (first,) = told(report())
    (again,) = told(report("a", text="sealed:v1:y"), first)
    assert again == first
    (moved,) = told(report("b", text="sealed:v1:z"), first)
    assert (moved.mark, moved.relays[0].text) == ("b", "sealed:v1:z")
    before = found(backend(), database(first))
    assert before.text == found(backend(), database(again)).text
    assert before.text != found(backend(), database(moved)).text
    (later,) = told(report("a", digest="newer"), first)
    assert (later.digest, later.relays) == ("newer", first.relays)
    (failed,) = told(
        replace(report(), sealed_outputs=({"name": "password", "problem": "gives nothing"},)), first
    )
    assert (failed.mark, failed.problem) == ("a", "gives nothing")
    assert Exported.from_json(first.to_json()) == first
    assert "value" not in first.to_json()


def test_s9_what_is_reported_in_the_clear_under_a_sealed_name_is_not_taken() -> None:
    seen = replace(report(), sealed_outputs=None, outputs=({"name": "password", "value": '"hunter2!"'},))
    assert told(seen) == ()
    plain = Exported("password", '"hunter2!"', "new", "c0ffee", "then")
    assert told(seen, plain) == (), "nor kept, where it was declared otherwise before"


def test_the_secret_differs_in_the_digest_where_value_or_taker_do() -> None:
    relays = found(backend(), database()).relays
    (one,) = secrets_of([given_input()], relays, key=b"k" * 32)
    assert one.obj["metadata"] == {"name": "db"}
    assert one.obj["data"]["password"].startswith(PREFIX)
    content = json.loads(base64.urlsafe_b64decode(one.obj["data"]["password"].removeprefix(PREFIX)))
    assert content == {
        "producer": "shop/database",
        "name": "password",
        "digest": "new",
        "text": "sealed:v1:x",
    }
    other = {"db": replace(relays["db"], consumer="shop/web")}
    assert secrets_of([given_input()], other, key=b"k" * 32)[0].masks != one.masks
    again = {"db": replace(relays["db"], text="sealed:v1:y", digest="newer")}
    assert secrets_of([given_input()], again, key=b"k" * 32)[0].masks == one.masks
    assert canonical_json(one.identity)


@pytest.mark.parametrize(
    "fields",
    [{"default": "x"}, {"name": None, "selector": {"matchLabels": {"a": "b"}}, "clusters": {"scope": "All"}}],
)
def test_a_sealed_input_is_of_one_app_without_a_default(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a sealed input is of one app"):
        given_input(**fields)


@pytest.mark.parametrize(
    "fields", [{"external": True, "object": None, "value": None}, {"schema": {"type": "string"}}]
)
def test_a_sealed_output_is_read_by_the_agent_and_checked_by_nobody(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a sealed output is read by the agent"):
        Output.model_validate(RULE.to_json() | fields)


def test_a_sealed_input_is_in_its_secret_and_nowhere_else() -> None:
    spec = {
        "inputs": [given_input().to_json()],
        "sources": [{"helm": {"valuesObject": {"password": "{{ inputs.db }}"}}}],
    }
    with pytest.raises(InputMisused, match="db is sealed"):
        check_places(spec)
