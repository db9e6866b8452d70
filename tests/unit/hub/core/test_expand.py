from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.children import InvalidSet, expand_request, validate_children, validate_set
from hub.core.clustersets import ANNOTATION_SERVER
from hub.core.expand import expand, label_value
from hub.core.expansion import (
    ClusterFacts,
    DuplicateName,
    ExpandRequest,
    Expansion,
    ExpansionError,
    GeneratorError,
    InvalidChild,
    Listing,
    TemplateError,
    UnknownCluster,
)
from hub.core.model import ClusterSetView, ClusterView, Fleet
from hub.core.needs import GitFilesNeed, GitListingNeed, Needs

REPO = "https://git.example.com/shop/apps"
CLUSTERS = tuple(ClusterFacts(name, values={"replicas": at}) for at, name in enumerate(("eu1", "eu2", "us1")))


def template(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-{{ cluster.name }}", "labels": {"n": "{{ cluster.values.replicas }}"}},
        "spec": {
            "cluster": "{{ cluster.name }}",
            "sources": [{"repoURL": REPO, "path": "web"}],
            **spec,
        },
    }


def request(spec: dict[str, Any], **more: Any) -> ExpandRequest:
    return ExpandRequest("shop", "apps", spec, **{"clusters": CLUSTERS, **more})


def done(asked: ExpandRequest) -> Expansion:
    result = expand(asked)
    assert isinstance(result, Expansion)
    return result


def failure(spec: dict[str, Any], kind: type[ExpansionError]) -> ExpansionError:
    with pytest.raises(kind) as caught:
        validate_children(done(request(spec)).children, set_key="shop/apps")
    return caught.value


def test_one_child_a_cluster() -> None:
    result = done(request({"generators": [{"clusters": {}}], "template": template()}))
    assert [child.name for child in result.children] == ["web-eu1", "web-eu2", "web-us1"]
    assert result.children[1].manifest == {
        "apiVersion": "axletree.dev/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "web-eu2",
            "namespace": "shop",
            "labels": {"n": "1", "axletree.dev/application-set": "apps", "axletree.dev/cluster": "eu2"},
        },
        "spec": {"cluster": "eu2", "sources": [{"repoURL": REPO, "path": "web"}]},
    }
    assert [spec.cluster for spec in validate_children(result.children, set_key="shop/apps")] == [
        "eu1",
        "eu2",
        "us1",
    ]


def test_asks_for_what_it_must_read_then_finishes() -> None:
    files = {"git": {"repoURL": REPO, "revision": "main", "files": [{"path": "**/app.json"}]}}
    spec = {
        "generators": [{"matrix": {"generators": [{"clusters": {}}, files]}}],
        "template": template(namespace="{{ team }}")
        | {"metadata": {"name": "{{ team }}-{{ cluster.name }}"}},
    }
    first = request(spec)
    assert expand(first) == Needs(listings=(GitListingNeed(REPO, "main"),))
    listings = {(REPO, "main"): Listing("c0ffee", files=("a/app.json", "b/app.json", "b/x"), dirs=("a", "b"))}
    second = request(spec, listings=listings)
    assert expand(second) == Needs(files=(GitFilesNeed(REPO, "main", ("a/app.json", "b/app.json")),))
    contents = {(REPO, "main", f"{team}/app.json"): json.dumps({"team": team}) for team in "ab"}
    result = done(request(spec, listings=listings, contents=contents))
    assert [child.name for child in result.children[:3]] == ["a-eu1", "b-eu1", "a-eu2"]
    assert result.revisions == {f"{REPO}@main": "c0ffee"}


def test_typed_values_and_patches() -> None:
    spec = {
        "generators": [
            {"clusters": {"names": ["eu1"]}},
            {"clusters": {"names": ["us1"]}, "template": {"spec": {"namespace": "own"}}},
        ],
        "template": template(sync={"retry": {"limit": "{{ cluster.values.replicas }}"}}),
        "templatePatch": "{% if cluster.name == 'us1' %}\nspec:\n  sync: {prune: false}\n{% endif %}",
    }
    eu1, us1 = (child.manifest["spec"] for child in done(request(spec)).children)
    assert eu1["sync"] == {"retry": {"limit": 0}}
    assert "namespace" not in eu1
    assert us1["sync"] == {"retry": {"limit": 2}, "prune": False}
    assert us1["namespace"] == "own"


def test_template_errors_say_set_generator_field_line_and_params() -> None:
    spec = {
        "generators": [{"list": {"elements": []}}, {"clusters": {}}],
        "template": template(sources=[{"repoURL": REPO, "path": "a/\n{{ cluster.valus.x }}"}]),
    }
    error = failure(spec, TemplateError)
    assert error.reason == "TemplateError"
    assert str(error).startswith("set shop/apps: generators[1]: spec.sources[0].path: line 2: ")
    assert "'valus'" in str(error)
    assert '"name": "eu1"' in str(error)
    assert len(error.params) <= 300


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"template": template(cluster="eu9")}, UnknownCluster, 'no cluster "eu9"; did you mean "eu'),
        (
            {"template": template(dependson=[])},
            InvalidChild,
            'spec.dependson: unknown field; did you mean "dependsOn"?',
        ),
        (
            {"template": template(sources=[{"repoURL": REPO, "pth": "x"}])},
            InvalidChild,
            'spec.sources[0].pth: unknown field; did you mean "path"?',
        ),
        (
            {"template": template(dependsOn=[{"name": "a", "clusters": {"scop": "Same"}}])},
            InvalidChild,
            'spec.dependsOn[0].clusters.scop: unknown field; did you mean "scope"?',
        ),
        (
            {"template": template(namespace="{{ 3 }}")},
            InvalidChild,
            "spec.namespace: input should be a valid string",
        ),
        ({"template": template(namespace="Shop")}, InvalidChild, "spec.namespace"),
        ({"template": template(sources=[])}, InvalidChild, "spec.sources"),
        ({"template": template() | {"metadata": {"name": "Web"}}}, InvalidChild, "metadata.name"),
        (
            {"template": template() | {"metadata": {"name": "x"}}},
            DuplicateName,
            'two children are called "x"',
        ),
        ({"templatePatch": "metadata: {namespace: other}"}, InvalidChild, "metadata.namespace"),
        ({"templatePatch": "a: {{ x }"}, TemplateError, "templatePatch: line 1"),
        ({"templatePatch": "ok: 1\na: [\n"}, TemplateError, "templatePatch: line"),
        ({"templatePatch": "[]"}, InvalidChild, "no map"),
        ({"templatePatch": "sepc: {}"}, InvalidChild, 'unknown field "sepc"; did you mean "spec"?'),
        (
            {"generators": [{"clusers": {}}]},
            GeneratorError,
            'unknown field "clusers"; did you mean "clusters"?',
        ),
        ({"generators": [{}]}, GeneratorError, "exactly one of"),
    ],
)
def test_bad_input(change: dict[str, Any], kind: type[ExpansionError], message: str) -> None:
    error = failure({"generators": [{"clusters": {}}], "template": template(), **change}, kind)
    assert message in str(error)
    assert str(error).startswith("set shop/apps: generators[0]: ")


def test_duplicate_names_show_both_params() -> None:
    elements = [{"a": 1, "c": "eu1"}, {"a": 2, "c": "eu1"}]
    spec = {
        "generators": [{"list": {"elements": elements}}],
        "template": template(cluster="{{ c }}") | {"metadata": {"name": "{{ c }}"}},
    }
    text = str(failure(spec, DuplicateName))
    assert '{"a": 1, "c": "eu1"}' in text
    assert '{"a": 2, "c": "eu1"}' in text


def test_errors_and_results_cross_the_wire() -> None:
    asked = request(
        {"generators": [{"clusters": {}}], "template": template()},
        listings={(REPO, "main"): Listing("c", ("f",), ("d",))},
        contents={(REPO, "main", "f"): "x"},
    )
    again = ExpandRequest.from_wire(json.loads(json.dumps(asked.to_wire())))
    assert again.to_wire() == json.loads(json.dumps(asked.to_wire()))
    assert again.listings == {(REPO, "main"): Listing("c", ["f"], ["d"])}  # type: ignore[arg-type]
    result = done(again)
    assert Expansion.from_wire(json.loads(json.dumps(result.to_wire()))) == result
    needs = Needs((GitListingNeed("a", "b"),), (GitFilesNeed("a", "b", ("c",)),))
    assert Needs.from_wire(json.loads(json.dumps(needs.to_wire()))) == needs
    error = UnknownCluster("what", set_key="a/b", generator=1, path="x", line=2, params="{}")
    copy = ExpansionError.from_wire(json.loads(json.dumps(error.to_wire())))
    assert type(copy) is UnknownCluster
    assert str(copy) == str(error)


@pytest.mark.parametrize("part", [False, True])
def test_a_child_that_names_a_cluster_which_is_being_removed_is_not_made_again(*, part: bool) -> None:
    spec = {"generators": [{"list": {"elements": [{"name": "web"}]}}], "template": template(cluster="eu1")}
    spec["template"]["metadata"] = {"name": "web"}
    clusters = (ClusterFacts("eu1", eligible=False, leaving=True), ClusterFacts("us1"))
    with pytest.raises(UnknownCluster, match='no cluster "eu1"'):
        expand(request(spec, clusters=clusters, part=part))


def test_the_fleet_as_generators_see_it() -> None:
    fleet = Fleet(
        clusters={
            "b": ClusterView("b"),
            "a": ClusterView("a", accepted=False),
            "c": ClusterView("c", removing=True),
        },
        cluster_sets={"s": ClusterSetView("s", clusters=("b",))},
    )
    asked = expand_request("shop", "apps", {}, fleet)
    seen = [(one.name, one.eligible, one.leaving) for one in asked.clusters]
    assert seen == [("a", False, False), ("b", True, False), ("c", False, True)]


def test_a_set_is_checked_whole_where_no_api_server_did() -> None:
    spec = {"generators": [{"clusters": {"clustrSet": "x"}}], "template": template()}
    with pytest.raises(InvalidSet, match=r'clustrSet: unknown field; did you mean "clusterSet"\?'):
        validate_set(spec, set_key="shop/apps")
    validate_set({"generators": [{"clusters": {}}], "template": template()}, set_key="shop/apps")


def test_long_names_fit_into_labels() -> None:
    assert label_value("a" * 63) == "a" * 63
    assert len(label_value("a" * 64)) <= 63
    assert label_value("a" * 64) != label_value("a" * 65)


NAMES = st.text("abc", min_size=1, max_size=4)


@given(names=st.lists(NAMES, unique=True, max_size=8), seed=st.randoms())
def test_expansion_is_deterministic(names: list[str], seed: Any) -> None:
    spec = {
        "generators": [
            {"matrix": {"generators": [{"clusters": {}}, {"list": {"elements": [{"x": "1"}, {"x": "2"}]}}]}}
        ],
        "template": template() | {"metadata": {"name": "{{ x }}-{{ cluster.name }}"}},
    }
    shuffled = list(names)
    seed.shuffle(shuffled)
    one = expand(request(spec, clusters=tuple(ClusterFacts(name, values={"replicas": 1}) for name in names)))
    two = expand(
        request(spec, clusters=tuple(ClusterFacts(name, values={"replicas": 1}) for name in shuffled))
    )
    assert one == two
    assert isinstance(one, Expansion)
    assert [child.name for child in one.children] == [
        f"{x}-{name}" for name in sorted(names) for x in ("1", "2")
    ]


def test_the_order_in_which_the_fleet_is_told_makes_no_difference() -> None:
    repo, chance = "https://h/x", random.Random(3)
    chosen = {"clusters": {"selector": {"matchLabels": {"ring": "1"}}}}
    git = {"git": {"repoURL": repo, "revision": "m", "directories": [{"path": "apps/*"}]}}
    named = {"list": {"elements": [{"name": "k1", "z": "1"}, {"name": "zz", "z": "2"}]}}
    merged = {"merge": {"mergeKeys": ["name"], "mode": "Outer", "generators": [{"clusters": {}}, named]}}
    merged |= {"template": {"metadata": {"name": "m-{{ name }}"}, "spec": {"cluster": "https://k2"}}}
    spec = {
        "generators": [{"matrix": {"generators": [chosen, git]}}, merged],
        "template": {
            "metadata": {"name": "{{ path.basename }}-{{ name }}"},
            "spec": {"cluster": "{{ name }}", "sources": [{"repoURL": repo}]},
        },
    }
    clusters = [
        ClusterFacts(f"k{at}", {"ring": str(at % 2)}, {ANNOTATION_SERVER: f"https://k{at}"}, {"at": at})
        for at in range(6)
    ]
    dirs = ["apps", "apps/a", "apps/b", "apps/c"]
    found = set()
    for _ in range(20):
        chance.shuffle(clusters)
        chance.shuffle(dirs)
        listings = {(repo, "m"): Listing("c", (), tuple(dirs))}
        found.add(repr(done(request(spec, clusters=tuple(clusters), listings=listings))))
    assert len(found) == 1


def test_an_address_that_several_clusters_have_is_nobodys() -> None:
    spec = {
        "generators": [{"list": {"elements": [{"n": "x"}]}}],
        "template": {
            "metadata": {"name": "x"},
            "spec": {"cluster": "https://s", "sources": [{"repoURL": "https://h"}]},
        },
    }
    both = tuple(ClusterFacts(name, annotations={ANNOTATION_SERVER: "https://s"}) for name in ("a", "b"))
    with pytest.raises(UnknownCluster, match="several clusters have the address https://s"):
        expand(request(spec, clusters=both))
    (child,) = done(request(spec, clusters=both[:1])).children
    assert child.manifest["spec"]["cluster"] == "a"


@pytest.mark.parametrize("name", ["a..b", "a.-b", "a-.b", ".a"])
def test_a_name_that_the_api_server_would_refuse_is_told_by_the_expansion(name: str) -> None:
    spec = {
        "generators": [{"list": {"elements": [{}]}}],
        "template": {
            "metadata": {"name": name},
            "spec": {"cluster": "eu1", "sources": [{"repoURL": "https://h"}]},
        },
    }
    with pytest.raises(InvalidChild, match="is no name"):
        expand(request(spec))
