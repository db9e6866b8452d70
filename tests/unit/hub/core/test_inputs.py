from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.health import HealthState, SyncState
from hub.api.flow import Input, Output
from hub.api.project import ProjectSpec
from hub.core.derive import application_status
from hub.core.graph import AppGraph
from hub.core.inputs import LIMIT, WINDOW, Bound, bind, pace
from hub.core.model import AppNode, ClusterView, Fleet, Observed
from hub.core.outputs import Exported, exported, refused_by, schema_problem
from hub.core.rollout import blockers, decide, why_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRUSTED = ProjectSpec(trusted=True)


def given_input(**fields: Any) -> Input:
    return Input.model_validate(
        {"as": "db", "selector": {"matchLabels": {"app": "database"}}, "output": "url"} | fields
    )


def database(cluster: str = "eu1", value: str | None = "1", **fields: Any) -> AppNode:
    outputs = () if value is None else (Exported("url", json.dumps(value), "new", "c0ffee", "then"),)
    node = AppNode(
        key=f"shop/database-{cluster}",
        cluster=cluster,
        labels={"app": "database"},
        target="new",
        released="new",
        release=1,
        observed=Observed(release=1, digest="new", health=HealthState.HEALTHY, sync=SyncState.SYNCED),
        exports={"url": ()},
        outputs=outputs,
    )
    return replace(node, **fields)


def backend(*inputs: Input, **fields: Any) -> AppNode:
    one = inputs or (given_input(),)
    key = fields.pop("key", "shop/backend-eu1")
    return AppNode(
        key=key, cluster="eu1", depends_on=tuple(each.edge() for each in one), inputs=one, **fields
    )


def fleet(*stale: str, **projects: ProjectSpec) -> Fleet:
    clusters = {name: ClusterView(name, stale=name in stale) for name in ("eu1", "eu2")}
    return Fleet(clusters=clusters, projects={"shop": TRUSTED, **projects})


def bound(node: AppNode, *others: AppNode, where: Fleet | None = None) -> Any:
    graph = AppGraph()
    for each in (*others, node):
        graph.upsert(each)
    found = bind(node, graph, where or fleet())
    return dict(found.values) if isinstance(found, Bound) else [(each.edge, each.message) for each in found]


def test_a_value_is_one_where_one_app_is_meant_and_a_list_by_cluster_else() -> None:
    both = database("eu2", "2"), database("eu1", "1")
    assert bound(backend(), *both) == {"db": "1"}
    assert bound(backend(given_input(clusters={"scope": "All"})), *both) == {"db": ["1", "2"]}
    assert bound(backend(given_input(clusters={"names": ["eu2"]})), *both) == {"db": "2"}
    assert bound(backend(given_input(clusters={"names": ["eu1", "eu2"]})), *both) == {"db": ["1", "2"]}
    named = given_input(selector=None, name="database-eu2", clusters={"scope": "Any"})
    assert bound(backend(named), *both) == {"db": "2"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"target": "newer"}, "database@eu1 is not released to its target yet"),
        ({"target_problem": "Render: bad"}, "database@eu1: Render: bad"),
        ({"outputs": (Exported("url", '"0"', "old"),)}, "has not told its output url yet"),
        ({"outputs": ()}, "has not told its output url yet"),
    ],
)
def test_i6_a_value_is_taken_when_its_producer_is_healthy_at_its_own_target(
    fields: dict[str, Any], says: str
) -> None:
    ((edge, message),) = bound(backend(), database(**fields))
    assert edge == "Dependency"
    assert says in message
    ((edge, _),) = bound(backend(given_input(default="x")), database(**fields))
    assert edge == "Dependency"  # a default is for what is not there, not for what comes later


def test_a_missing_input_names_what_is_missing_and_a_default_takes_its_place() -> None:
    missing = database(exports={})
    assert bound(backend(), missing) == [("MissingInput", "input db: database@eu1 has no output url")]
    assert bound(
        backend(
            given_input(default=[1]),
        ),
        missing,
    ) == {"db": [1]}
    assert bound(backend())[0][0] == "MissingInput"
    assert bound(backend(given_input(default="none"))) == {"db": "none"}
    unread = database(outputs=(Exported("url", digest="new", problem="gives nothing", problem_at="new"),))
    assert bound(backend(), unread) == [("MissingInput", "input db: database@eu1: url: gives nothing")]
    last = database(outputs=(Exported("url", '"1"', "old", problem="gives nothing", problem_at="new"),))
    assert bound(backend(), last) == {"db": "1"}
    two = database(), replace(database(), key="shop/another")
    assert "2 apps match" in bound(backend(), *two)[0][1]


@pytest.mark.parametrize(
    ("on_stale", "gives"),
    [("UseLast", {"db": "1"}), ("Wait", [("Stale", "")]), ("Fail", [("Failed", "")])],
)
def test_f48_of_a_producer_that_is_away_the_last_good_value_holds_or_not(on_stale: str, gives: Any) -> None:
    found = bound(backend(given_input(onStale=on_stale)), database(target="newer"), where=fleet("eu1"))
    assert (found if isinstance(found, dict) else [(edge, "") for edge, _ in found]) == gives
    never = bound(backend(), database(value=None), where=fleet("eu1"))
    assert [edge for edge, _ in never] == ["MissingInput"]


def test_another_projects_output_needs_its_leave_and_its_projects() -> None:
    other = given_input(namespace="data")
    theirs = database(key="data/database", exports={"url": ("shop",)})
    closed = replace(theirs, exports={"url": ()})
    open_ = fleet(data=ProjectSpec(trusted=True, allow_edges_from=["shop"]))
    assert bound(backend(other), theirs, where=open_) == {"db": "1"}
    assert bound(backend(other), replace(theirs, exports={"url": ("*",)}), where=open_) == {"db": "1"}
    assert bound(backend(other), closed, where=open_)[0][0] == "Project"
    assert bound(backend(other), theirs, where=fleet(data=TRUSTED))[0][0] == "Project"


@pytest.mark.parametrize(
    ("withdrawn", "where", "edge"),
    [
        ({"exports": {"url": ()}}, {"data": ["shop"]}, "Project"),
        ({"exports": {}}, {"data": ["shop"]}, "MissingInput"),
        ({"deleting": True}, {"data": ["shop"]}, "MissingInput"),
        ({"sealed": frozenset({"url"})}, {"data": ["shop"]}, "Invalid"),
        ({}, {"data": []}, "Project"),
    ],
)
def test_f48_an_app_that_runs_says_when_its_input_is_given_no_more_as_onstale_wants_it(
    withdrawn: dict[str, Any], where: dict[str, list[str]], edge: str
) -> None:
    theirs = database(key="data/database", exports={"url": ("shop",)})
    projects = {name: ProjectSpec(trusted=True, allow_edges_from=allowed) for name, allowed in where.items()}
    found = {}
    for on_stale in ("UseLast", "Wait", "Fail"):
        graph = AppGraph()
        one = given_input(namespace="data", onStale=on_stale)
        seen = Observed(release=1, digest="b", health=HealthState.HEALTHY, sync=SyncState.SYNCED)
        node = backend(one, target="b", released="b", release=1, observed=seen)
        graph.upsert(theirs)
        graph.upsert(node)
        assert blockers(node.key, graph, fleet(data=ProjectSpec(allow_edges_from=["shop"]))) == ()
        graph.upsert(replace(theirs, **withdrawn))
        held = blockers(node.key, graph, fleet(**projects))
        status = application_status(node, held, generation=1, now="now")
        assert status["sync"]["state"] == "Synced"
        assert "input db: " in status["sync"]["message"] or edge == "Project"
        conditions = {each["type"]: each for each in status["conditions"]}
        (blocker,) = status["blockedBy"]
        assert conditions["Ready"]["message"]
        assert conditions["Ready"]["message"] == blocker["message"]
        found[on_stale] = blocker["edge"], *(each["status"] for each in conditions.values())
    terminal = edge != "MissingInput"
    assert found == {
        "UseLast": (edge, "True", "False", "False"),
        "Wait": (edge, "False", str(not terminal), str(terminal)),
        "Fail": ("Failed", "False", "False", "True"),
    }


@pytest.mark.parametrize(("on_stale", "edges"), [("UseLast", []), ("Wait", []), ("Fail", ["Failed"])])
def test_f48_of_a_producer_that_is_away_an_app_that_runs_fails_only_where_it_asked(
    on_stale: str, edges: list[str]
) -> None:
    graph = AppGraph()
    graph.upsert(database())
    node = backend(given_input(onStale=on_stale), target="b", released="b", release=1)
    graph.upsert(node)
    assert [each.edge for each in blockers(node.key, graph, fleet("eu1"))] == edges
    graph.upsert(replace(node, pinned="person"))
    assert blockers(node.key, graph, fleet("eu1")) == ()


def test_what_a_healthy_producer_does_not_give_is_the_root_and_not_its_health() -> None:
    graph = AppGraph()
    graph.upsert(database(exports={}))
    graph.upsert(backend())
    (held,) = blockers("shop/backend-eu1", graph, fleet())
    assert held.root == "backend@eu1: input db: database@eu1 has no output url"


def test_an_app_without_its_inputs_is_not_released_and_names_the_root() -> None:
    graph = AppGraph()
    for node in (database(target="newer", target_problem="Render: no such path"), backend()):
        graph.upsert(node)
    assert decide(["shop/backend-eu1"], graph, fleet()) == ()
    assert [each.edge for each in blockers("shop/backend-eu1", graph, fleet())] == ["Dependency"]
    assert "no such path" in why_root("shop/backend-eu1", graph, fleet())


def test_an_input_is_an_edge_and_may_close_a_cycle() -> None:
    graph = AppGraph()
    back = given_input(selector={"matchLabels": {"app": "backend"}})
    graph.upsert(replace(database(), inputs=(back,), depends_on=(back.edge(),)))
    graph.upsert(replace(backend(), labels={"app": "backend"}))
    assert graph.cycle_of("shop/backend-eu1")


def test_f48_flapping_is_told_and_holds_no_new_release() -> None:
    graph = AppGraph()
    graph.upsert(database())
    flapping = backend(target="a", released="a", release=1, flapping="its inputs changed 6 times")
    graph.upsert(flapping)
    assert [each.edge for each in blockers(flapping.key, graph, fleet())] == ["InputsFlapping"]
    graph.upsert(replace(flapping, target="b"))
    assert len(decide([flapping.key], graph, fleet())) == 1


@given(st.lists(st.integers(0, 3000), max_size=60))
def test_f48_no_app_takes_more_than_six_new_values_in_ten_minutes(asked: list[int]) -> None:
    taken: list[datetime] = []
    for second in sorted(asked):
        now = NOW + timedelta(seconds=second)
        until = pace(taken, now)
        if until is None:
            taken.append(now)
        else:
            assert until > now
            assert pace(taken, until) is None
    for moment in taken:
        assert sum(moment - WINDOW < each <= moment for each in taken) <= LIMIT


# -- what is kept of reports


def rule(**fields: Any) -> Output:
    return Output.model_validate(
        {"name": "url", "object": {"kind": "Service", "name": "db"}, "value": "spec.clusterIP"} | fields
    )


def report(
    *outputs: dict[str, Any], digest: str = "new", health: HealthState = HealthState.HEALTHY
) -> Observed:
    return Observed(
        release=1, digest=digest, sync=SyncState.SYNCED, health=health, observed_at="now", outputs=outputs
    )


def kept(*held: Exported, seen: Observed | None, **fields: Any) -> tuple[Exported, ...]:
    return exported([rule(**fields)], held, seen, released="new", revision="c0ffee")


OLD = Exported("url", '"0"', "old", "beef", "then")


def test_the_newest_good_value_is_kept_with_where_it_came_from() -> None:
    (found,) = kept(OLD, seen=report({"name": "url", "value": '"1"'}))
    assert found == Exported("url", '"1"', "new", "c0ffee", "now")
    assert Exported.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "seen",
    [
        None,
        Observed(release=1, digest="new", sync=SyncState.SYNCED, health=HealthState.HEALTHY),
        report({"name": "url", "value": '"1"'}, health=HealthState.DEGRADED),
        report({"name": "url", "value": '"1"'}, digest="other"),
        report({"name": "other", "value": '"1"'}),
    ],
)
def test_i7_a_report_that_says_nothing_good_changes_nothing(seen: Observed | None) -> None:
    assert kept(OLD, seen=seen) == (OLD,)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"name": "url", "value": "not json"}, "OutputInvalid: it is no JSON value"),
        ({"name": "url", "value": json.dumps("x" * 2000)}, "OutputTooLarge"),
        ({"name": "url", "value": "17"}, "OutputInvalid: the schema refuses it (type)"),
        ({"name": "url", "problem": "OutputUnreadable: gone"}, "OutputUnreadable: gone"),
        ({"name": "url"}, "without a value"),
    ],
)
def test_s8_what_is_no_good_value_is_told_and_does_not_replace_one(
    said: dict[str, Any], problem: str
) -> None:
    (found,) = kept(OLD, seen=report(said), schema={"type": "string"})
    assert (found.text, found.digest) == (OLD.text, OLD.digest)
    assert problem in found.problem
    (first,) = kept(seen=report(said), schema={"type": "string"})
    assert not first.there
    assert Exported.from_json(first.to_json()) == first


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("100.0", "100"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("0.5", "0.5"),
        ("1e21", "1e+21"),
        ('{"a":[7.0]}', '{"a":[7]}'),
    ],
)
def test_s8_a_number_is_kept_as_the_api_server_gives_it_back(raw: str, text: str) -> None:
    """Or it would look like a new value after each restart of the hub, and render its consumers anew."""
    (found,) = kept(seen=report({"name": "url", "value": raw}))
    assert found.text == text


@pytest.mark.parametrize("raw", [str(2**63), "1" * 900, "1e20", "NaN", "1e400", "[" * 40 + "]" * 40])
def test_s8_what_no_status_can_hold_is_refused(raw: str) -> None:
    """One such value would keep the status of its app from being written, with all else that is in it."""
    (found,) = kept(OLD, seen=report({"name": "url", "value": raw}))
    assert found.text == OLD.text
    assert found.problem.startswith("OutputInvalid")


def test_an_output_that_is_no_longer_declared_is_forgotten() -> None:
    assert exported([], [OLD], None, released="new", revision="") == ()


def test_an_external_output_is_what_was_posted_at_any_digest() -> None:
    outside = Output.model_validate({"name": "bucket", "external": True, "schema": {"type": "string"}})
    for seen in (None, report({"name": "bucket", "value": '"forged"'})):
        said = [{"name": "bucket", "value": "b-1", "at": "then"}]
        (found,) = exported([outside], [], seen, released="new", revision="c0ffee", posted=said)
        assert (found.value, found.digest, found.at) == ("b-1", "new", "then")
    (bad,) = exported(
        [outside], [], None, released="new", revision="", posted=[{"name": "bucket", "value": 1}]
    )
    assert not bad.there
    assert exported([outside], [], None, released="new", revision="") == ()
    for fields in (
        {"name": "x"},
        {"name": "x", "external": True, "value": "a", "object": {"kind": "A", "name": "b"}},
    ):
        with pytest.raises(ValueError, match="either external"):
            Output.model_validate(fields)


def test_s8_a_schema_is_bounded_and_fetches_nothing() -> None:
    assert schema_problem({"$ref": "http://127.0.0.1:1/x"})
    assert schema_problem({"pattern": "(?=a)"})
    assert schema_problem({"enum": ["x" * 20000]})
    assert not schema_problem({"type": "string", "pattern": "^(a+)+$"})
    assert refused_by({"type": "string", "pattern": "^(a+)+$"}, "a" * 900 + "!")
    assert "confidential" not in refused_by({"type": "integer"}, "confidential")


@pytest.mark.parametrize("kind", [{"kind": "Secret"}, {"kind": "Secret", "group": ""}])
def test_s9_an_output_is_never_read_from_a_secret(kind: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="never read from a Secret"):
        rule(object={"name": "db"} | kind)
