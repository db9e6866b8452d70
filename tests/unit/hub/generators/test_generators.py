from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hub.api.applicationset import ApplicationSetSpec
from hub.core.expansion import (
    ClusterFacts,
    ClusterSetFacts,
    ExpansionError,
    GeneratorError,
    Listing,
    UnknownCluster,
    UnknownClusterSet,
)
from hub.core.needs import GitListingNeed
from hub.core.templating import TemplateEngine
from hub.generators.context import Context
from hub.generators.dispatch import generate

if TYPE_CHECKING:
    from hub.core.params import Params

REPO = "https://git.example.com/apps"
CLUSTERS = (
    ClusterFacts("eu1", {"env": "prod", "ring": "0"}, {"note": "x"}, {"domain": "eu1.example.com", "n": 2}),
    ClusterFacts("eu2", {"env": "prod"}, {}, {"domain": "eu2.example.com", "n": 1}),
    ClusterFacts("gone", {"env": "prod"}, eligible=False),
    ClusterFacts("hub", {"env": "prod"}),
    ClusterFacts("lab", {"env": "dev"}),
)
SETS = {
    "prod": ClusterSetFacts("prod", {"matchLabels": {"env": "prod"}}),
    "named": ClusterSetFacts("named", None, ("lab", "hub")),
    "all": ClusterSetFacts("all", {}),
}
LISTING = Listing(
    "c0ffee",
    files=("apps/a/app.yaml", "apps/b/app.yaml", "root.yaml"),
    dirs=(".github", ".github/x", "apps", "apps/a", "apps/a/deep", "apps/b", "apps/b_C"),
)


def run(generator: dict[str, Any], **files: str) -> list[Params]:
    return generate(
        generator,
        Context(
            TemplateEngine(),
            clusters=CLUSTERS,
            cluster_sets=SETS,
            listings={(REPO, "main"): LISTING},
            contents={(REPO, "main", path): content for path, content in files.items()},
        ),
    )


def names(generator: dict[str, Any]) -> list[str]:
    return [row["cluster"]["name"] for row in run(generator)]


def git(**spec: Any) -> dict[str, Any]:
    return {"git": {"repoURL": REPO, "revision": "main", **spec}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["eu1", "eu2", "lab"]),
        ({"selector": {}}, ["eu1", "eu2", "lab"]),
        ({"selector": {"matchLabels": {"env": "prod"}}}, ["eu1", "eu2"]),
        ({"selector": {"matchLabels": {"axletree.dev/hub": "true"}}}, ["hub"]),
        (
            {"selector": {"matchExpressions": [{"key": "axletree.dev/hub", "operator": "DoesNotExist"}]}},
            ["eu1", "eu2", "lab"],
        ),
        (
            {"selector": {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}]}},
            ["eu1", "eu2"],
        ),
        ({"names": ["hub", "gone"]}, ["hub"]),
        ({"names": ["lab"], "selector": {"matchLabels": {"ring": "0"}}}, ["eu1", "lab"]),
        ({"clusterSet": "prod"}, ["eu1", "eu2"]),
        ({"clusterSet": "named"}, ["hub", "lab"]),
        ({"clusterSet": "all"}, ["eu1", "eu2", "lab"]),
        ({"clusterSet": "prod", "selector": {"matchLabels": {"ring": "0"}}}, ["eu1"]),
        ({"clusterSet": "prod", "names": ["lab"]}, ["eu1", "eu2", "lab"]),
    ],
)
def test_clusters_chosen(spec: dict[str, Any], expected: list[str]) -> None:
    assert names({"clusters": spec}) == expected


def test_clusters_params_are_argo_cds_and_ours() -> None:
    row = run({"clusters": {"names": ["eu1"], "values": {"host": "{{ name }}.{{ cluster.values.domain }}"}}})[
        0
    ]
    assert row == {
        "cluster": {
            "name": "eu1",
            "labels": {"env": "prod", "ring": "0"},
            "annotations": {"note": "x"},
            "values": {"domain": "eu1.example.com", "n": 2},
        },
        "name": "eu1",
        "nameNormalized": "eu1",
        "metadata": {"labels": {"env": "prod", "ring": "0"}, "annotations": {"note": "x"}},
        "values": {"host": "eu1.eu1.example.com"},
    }


def test_git_directories() -> None:
    rows = run(
        git(
            directories=[{"path": "apps/*"}, {"path": "apps/a", "exclude": True}],
            values={"p": "{{ path.basename }}"},
        )
    )
    assert rows == [
        {
            "path": {"path": "apps/b", "basename": "b", "basenameNormalized": "b", "segments": ["apps", "b"]},
            "values": {"p": "b"},
        },
        {
            "path": {
                "path": "apps/b_C",
                "basename": "b_C",
                "basenameNormalized": "b-c",
                "segments": ["apps", "b_C"],
            },
            "values": {"p": "b_C"},
        },
    ]
    assert [
        row["x"]["path"]["path"] for row in run(git(directories=[{"path": "**"}], pathParamPrefix="x"))
    ] == [
        "apps",
        "apps/a",
        "apps/a/deep",
        "apps/b",
        "apps/b_C",
    ]


def test_git_files() -> None:
    spec = git(files=[{"path": "apps/*/app.yaml"}])
    rows = run(
        spec, **{"apps/a/app.yaml": "team: x\ncount: 012", "apps/b/app.yaml": "[{team: v}, {team: z}]"}
    )
    assert [(row["team"], row["path"]["path"]) for row in rows] == [
        ("x", "apps/a"),
        ("v", "apps/b"),
        ("z", "apps/b"),
    ]
    assert rows[0]["count"] == 10
    assert rows[0]["path"]["filename"] == "app.yaml"
    assert rows[0]["path"]["filenameNormalized"] == "app.yaml"
    root = run(git(files=[{"path": "*.yaml"}]), **{"root.yaml": "a: 1"})[0]
    assert root["path"]["path"] == "."


def test_git_asks_once_for_what_it_does_not_know() -> None:
    context = Context(TemplateEngine(), clusters=CLUSTERS)
    matrix = {
        "matrix": {
            "generators": [{"clusters": {}}, git(directories=[{"path": "x"}], values={"n": "{{ name }}"})]
        }
    }
    assert generate(matrix, context) == []
    assert context.wanted.listings == {GitListingNeed(REPO, "main")}


def test_matrix_any_number_in_order_and_later_ones_see_earlier_ones() -> None:
    first = {"list": {"elements": [{"env": "prod"}, {"env": "dev"}]}}
    second = {"clusters": {"selector": {"matchLabels": {"env": "{{ env }}"}}}}
    third = {"list": {"elements": [{"at": "{{ cluster.name }}", "n": "{{ cluster.values.n | default(0) }}"}]}}
    rows = run({"matrix": {"generators": [first, second, third]}})
    assert [(row["env"], row["at"], row["n"]) for row in rows] == [
        ("prod", "eu1", 2),
        ("prod", "eu2", 1),
        ("dev", "lab", 0),
    ]
    nested = {"matrix": {"generators": [first, {"matrix": {"generators": [second, third]}}]}}
    assert run(nested) == rows


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"at": "apps/web"}},
        {"matchLabels": {"long": "x" * 80}},
        {"matchExpressions": [{"key": "at", "operator": "NotIn", "values": ["apps/db", "git@host:x.git"]}]},
    ],
)
def test_a_selector_over_params_compares_any_text(selector: dict[str, Any]) -> None:
    """As Argo CD's does: most params are no labels' values."""
    elements = [{"at": "apps/web", "long": "x" * 80}, {"at": "apps/db"}]
    assert run({"list": {"elements": elements}, "selector": selector}) == elements[:1]
    whole = {"generators": [{"list": {"elements": elements}, "selector": selector}]}
    template = {"metadata": {"name": "x"}, "spec": {}}
    assert ApplicationSetSpec.model_validate(whole | {"template": template}).generators[0].selector


def test_selector_filters_flattened_params() -> None:
    spec = git(directories=[{"path": "apps/*"}]) | {"selector": {"matchLabels": {"path.basename": "a"}}}
    assert [row["path"]["path"] for row in run(spec)] == ["apps/a"]
    typed = {
        "list": {"elements": [{"on": True, "n": 1}, {"on": False, "n": 1}]},
        "selector": {"matchLabels": {"on": "true", "n": "1"}},
    }
    assert run(typed) == [{"on": True, "n": 1}]


@pytest.mark.parametrize(
    ("generator", "kind", "message"),
    [
        ({"clusters": {"clusterSet": "prd"}}, UnknownClusterSet, 'no ClusterSet "prd"; did you mean "prod"?'),
        ({"clusters": {"names": ["eu3"]}}, UnknownCluster, 'no cluster "eu3"; did you mean "eu'),
        ({"clusters": {"selector": {"matchLabel": {}}}}, GeneratorError, "matchLabel"),
        ({"clusters": [], "list": {}}, GeneratorError, "exactly one of"),
        (git(), GeneratorError, "exactly one of directories and files"),
        (git(directories=[{"path": "[a"}]), GeneratorError, "not closed"),
        (git(files=[{"path": "root.yaml"}]), GeneratorError, "root.yaml:3:"),
        ({"list": {"elements": [1]}}, GeneratorError, "list.elements[0]: a map is expected"),
        ({"list": {"elements": [], "value": {}}}, GeneratorError, 'unknown field "value"'),
        ({"matrix": {"generators": []}}, GeneratorError, "at least one"),
        (
            {"matrix": {"generators": [{"clusters": {}}, {"list": {"elements": [{"name": "x"}]}}]}},
            GeneratorError,
            'matrix.generators[1]: name has two different values (params: {"cluster"',
        ),
        (
            {"matrix": {"generators": [{"clusters": {}}, {"list": {"elements": [{"a": "{{ nam }}"}]}}]}},
            ExpansionError,
            "matrix.generators[1].list.elements[0].a: line 1: 'nam' is undefined",
        ),
        (
            {"matrix": {"generators": [{"list": {"elements": [{}]}, "template": {}}]}},
            GeneratorError,
            'unknown field "template"',
        ),
    ],
)
def test_bad_generators(generator: dict[str, Any], kind: type[ExpansionError], message: str) -> None:
    with pytest.raises(kind) as caught:
        run(generator, **{"root.yaml": "a: 1\nb: [\n"})
    assert message in str(caught.value)


def test_s7_a_product_is_bounded() -> None:
    many = {"list": {"elements": [{}] * 400}}
    with pytest.raises(ExpansionError, match="400 x 400 or so parameter sets are more than the 100000"):
        run({"matrix": {"generators": [many, many]}})


@pytest.mark.parametrize("after", [True, False])
def test_a_parameter_called_cluster_takes_the_place_of_ours(*, after: bool) -> None:
    own = {"list": {"elements": [{"cluster": "mine"}]}}
    clusters = {"clusters": {"names": ["eu1"]}}
    (row,) = run({"matrix": {"generators": [clusters, own] if after else [own, clusters]}})
    assert (row["cluster"], row["name"], row["metadata"]["labels"]["env"]) == ("mine", "eu1", "prod")
    mapped = {"list": {"elements": [{"cluster": {"name": "eu1", "zone": "z"}}]}}
    (row,) = run({"matrix": {"generators": [mapped, clusters]}})
    assert (row["cluster"]["zone"], row["cluster"]["values"]["n"]) == ("z", 2)
    other = {"list": {"elements": [{"cluster": {"name": "eu2"}}]}}
    with pytest.raises(GeneratorError, match=r"cluster\.name has two different values"):
        run({"matrix": {"generators": [other, clusters]}})
    (row,) = run(clusters)
    text = TemplateEngine().value("{{ {'c': cluster} | to_yaml }}", row)
    assert text.startswith("c:\n  name: eu1\n"), "it is data like any other"
